//! The output formats of events. Each event is one line.

pub(super) mod close_reason;
mod csv;
mod json;
mod table;

pub(super) use self::json::{Texts, line as json_line};
pub use self::{
    csv::EventCsv,
    table::{Clock, EventTable},
};
