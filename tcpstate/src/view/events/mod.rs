//! A line an event, in each form of output.

mod csv;
mod json;
mod table;

pub(super) use self::json::line as json_line;
pub use self::{
    csv::EventCsv,
    table::{Clock, EventTable},
};

/// The kernel's hook that the line is of. Those of mini sockets will bear others.
const HOOK: &str = "transitions";
