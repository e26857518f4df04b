//! Records the input of views, and replays the recorded input. A replay needs no root privileges
//! and reads neither the kernel nor `/proc`. The replayed output equals the original output byte
//! for byte.
//!
//! ```text
//! live source -> Report, Event --+--> view
//!                                +--> Recorder -> Writer -> file, file.1, ...
//! file, file.1, ... -> Recording -> Reader -> Report, Event -> view
//! ```
//!
//! A recording contains the reports and events that the view gets, including the owners of sockets.
//!
//! The first line of a file contains [`HEADING`] and a version. After the heading, the file
//! contains [frames](frame) that contain [records](wire). The first record describes the file
//! ([`Part`]), and the second record is the start report. Each file can be read without the earlier
//! files.

mod budget;
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
    budget::MAX_MEMORY,
    error::{Error, Unreadable},
    files::{Recording, Skipped},
    reader::{Reader, Timed},
    recorder::{Limits, News, Recorder},
    wire::{MAX_FACTS, Part},
    writer::Writer,
};
use crate::report::{Event, Report};

/// The text at the start of each file of a recording. In a file, a version number and a line feed
/// follow the heading text.
pub const HEADING: &str = "tcpstate recording ";

/// The version of the format that tcpstate writes. So far, 1 is the only version of the format.
pub const VERSION: u16 = 1;

/// A record of a recording. Each record is an input of a view.
#[derive(Clone, Debug)]
pub enum Record {
    /// A start report, a snapshot or an end report.
    Report(Box<Report>),
    /// Events that a view gets in one call.
    Events(Vec<Event>),
}

impl Record {
    /// Returns whether this record is the start report of the run.
    fn is_start(&self) -> bool {
        matches!(self, Self::Report(report) if matches!(**report, Report::Start(_)))
    }

    /// Returns whether this record is the end report of the run.
    fn is_end(&self) -> bool {
        matches!(self, Self::Report(report) if matches!(**report, Report::End(_)))
    }
}
