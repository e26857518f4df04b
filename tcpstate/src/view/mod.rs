//! How reports look: one view a form of output. A view holds no loop and no clock; it writes where it is told.

mod json;
mod namespaces;
mod table;

use std::io::{self, Write};

pub use self::{json::Json, table::Table};
use crate::aggregate::Report;

/// A form of output.
pub trait View {
    /// Writes one report, whole.
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()>;
}
