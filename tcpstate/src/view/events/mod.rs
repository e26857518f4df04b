//! Events, one line for each, in each form of output.

pub(super) mod close_reason;
mod csv;
mod json;
mod table;

pub(super) use self::json::{Texts, line as json_line};
pub use self::{
    csv::EventCsv,
    table::{Clock, EventTable},
};
