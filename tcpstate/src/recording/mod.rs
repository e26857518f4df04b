//! What was shown to a view, in a file, to be shown again: without root, kernel or `/proc`, and the same to the byte.
//!
//! ```text
//! live source -> Report, Event --+--> view                    what is written is what the view is given, after attribution
//!                                +--> Recorder -> Writer -> file, file.1, ...
//! file, file.1, ... -> Recording -> Reader -> Report, Event -> view
//! ```
//!
//! A file begins with a line, [`HEADING`] and the version of what follows: [frames](frame), whose data are
//! [records](wire). The first says what the file is ([`Part`]), the next holds the start report; so each file can be read without those before it.

mod error;
mod files;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

pub use self::{
    error::{Error, Unreadable},
    files::Recording,
    reader::{Reader, Timed},
    recorder::{Limits, News, Recorder},
    wire::Part,
    writer::Writer,
};
use crate::report::{Event, Report};

/// What each file begins with; the version and a line's end follow.
pub const HEADING: &str = "tcpstate recording ";

/// The version that is written, and the only one there is so far.
pub const VERSION: u16 = 1;

/// What a view is shown.
#[derive(Clone, Debug)]
pub enum Record {
    /// The begin, a moment, or the end.
    Report(Box<Report>),
    /// Events, together.
    Events(Vec<Event>),
}

impl Record {
    /// Whether it is the end of the run.
    fn is_end(&self) -> bool {
        matches!(self, Self::Report(report) if matches!(**report, Report::End(_)))
    }
}
