//! The output formats of connections. Each connection is one line, at the last event of its full
//! socket.

mod csv;
mod json;
mod table;

pub(super) use self::json::{Texts, line as json_line};
pub use self::{csv::ConnectionCsv, table::ConnectionTable};
