//! A line an event, in each form of output.

mod csv;
pub(super) mod endings;
mod json;
mod table;

pub(super) use self::json::{Texts, line as json_line};
pub use self::{
    csv::EventCsv,
    table::{Clock, EventTable},
};
