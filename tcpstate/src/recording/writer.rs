//! Writes records into one file, frame by frame.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{HEADING, Part, VERSION, frame, wire};
use crate::report::{Event, Report};

/// Records are put together into frames of so many bytes; larger ones would save nothing.
const FRAME: usize = 256 << 10;

/// Writes one file of a recording. What was added is in the file after the next [`Writer::flush`].
#[derive(Debug)]
pub struct Writer<W> {
    file: W,
    /// Bytes in the file, whole frames only.
    length: u64,
    /// Records that are in no frame yet.
    waiting: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn begin(mut file: W, part: &Part) -> io::Result<Self> {
        let mut begin = format!("{HEADING}{VERSION}\n").into_bytes();
        let mut records = Vec::new();
        wire::append_part(part, &mut records);
        frame::append(&records, &mut begin);
        file.write_all(&begin)?;
        Ok(Self { file, length: begin.len() as u64, waiting: Vec::new() })
    }

    /// Adds what a view is shown.
    pub fn add_report(&mut self, at: Duration, report: &Report) {
        wire::append_report(at, report, &mut self.waiting);
    }

    /// Adds events that a view is shown together.
    pub fn add_events(&mut self, at: Duration, events: &[Event]) {
        for events in events.chunks(wire::MAX_EVENTS) {
            wire::append_events(at, events, &mut self.waiting);
        }
    }

    /// Whether there is enough for a frame.
    pub fn has_a_frame(&self) -> bool {
        self.waiting.len() >= FRAME
    }

    /// Bytes that are in no frame yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes in the file, whole frames only.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file; after a failure it may hold a part of a frame behind [`Writer::length`].
    pub fn file_mut(&mut self) -> &mut W {
        &mut self.file
    }

    /// Writes a frame with all that was added. If that fails it still waits.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.waiting.len() > frame::MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut frame = Vec::new();
        frame::append(&self.waiting, &mut frame);
        self.file.write_all(&frame)?;
        self.length += frame.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}
