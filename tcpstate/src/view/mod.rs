//! How reports look: one view a form of output. A view holds no loop and no clock; it writes where it is told.

pub mod count;
pub mod doctor;
mod escape;
pub mod explain;
mod json;
mod repaint;
mod table;

use std::io::{self, Write};

pub use self::{escape::escape, json::Json, repaint::repaint, table::Table};
use crate::aggregate::Report;

/// A form of output.
pub trait View {
    /// Writes one report, whole.
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()>;
}
