//! The output formats of events. Each event is one line.

pub(super) mod close_reason;
mod csv;
mod json;
pub(super) mod layout;
mod table;
mod values;

pub use self::{
    csv::EventCsv,
    table::{Clock, EventTable},
};
pub(super) use self::{
    json::{Memo, append as append_json},
    table::{endpoint, place},
    values::{Person, Texts},
};

/// The kinds of lines that a view writes for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLines {
    /// Whether each transition has a line.
    pub transitions: bool,
    /// Whether each connection has a line, at the last event of its full socket.
    pub connections: bool,
}

impl EventLines {
    /// All lines.
    pub const ALL: Self = Self { transitions: true, connections: true };
    /// No lines.
    pub const NONE: Self = Self { transitions: false, connections: false };
}

impl Default for EventLines {
    fn default() -> Self {
        Self { transitions: true, connections: false }
    }
}
