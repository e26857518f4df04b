//! Writes records into one file, frame by frame.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{HEADING, MAX_MEMORY, Part, VERSION, budget::max_records, frame, wire};
use crate::report::{Event, Report};

/// When the waiting records have at least this size in bytes, the recorder writes a frame. A larger
/// size would not make the file smaller.
const FRAME: usize = 256 << 10;

/// Writes one file of a recording. Added records wait in memory until the next [`Writer::flush`]
/// writes the records to the file.
#[derive(Debug)]
pub struct Writer<W> {
    file: W,
    /// The size in bytes of the heading and all complete frames.
    length: u64,
    /// The size in bytes of the records in all complete frames.
    expanded: u64,
    /// The records that are not in a frame yet.
    waiting: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the heading and the description of a file.
    pub fn begin(mut file: W, part: &Part) -> io::Result<Self> {
        let mut begin = format!("{HEADING}{VERSION}\n").into_bytes();
        let mut records = Vec::new();
        wire::append_part(part, &mut records);
        frame::append(&records, &mut begin);
        file.write_all(&begin)?;
        let (length, expanded) = (begin.len() as u64, records.len() as u64);
        Ok(Self { file, length, expanded, waiting: Vec::new() })
    }

    /// Adds a report to the waiting records.
    pub fn add_report(&mut self, at: Duration, report: &Report) {
        wire::append_report(at, report, &mut self.waiting);
    }

    /// Adds events that a view gets in one call to the waiting records.
    pub fn add_events(&mut self, at: Duration, events: &[Event]) {
        for events in events.chunks(wire::MAX_WRITTEN_EVENTS) {
            wire::append_events(at, events, &mut self.waiting);
        }
    }

    /// Returns whether the waiting records are large enough for a frame.
    pub fn has_a_frame(&self) -> bool {
        self.waiting.len() >= FRAME
    }

    /// Returns the size in bytes of the records that are in no frame yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the size in bytes of the heading and all complete frames.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the file. After an error, the file may contain an incomplete frame at the offset
    /// [`Writer::length`].
    pub fn file_mut(&mut self) -> &mut W {
        &mut self.file
    }

    /// Writes a frame that contains all waiting records. If the write fails, the records stay in
    /// memory until the next call.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.waiting.len() > frame::MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut frame = Vec::new();
        frame::append(&self.waiting, &mut frame);
        let expanded = self.expanded + self.waiting.len() as u64;
        // A reader refuses a file that expands too much, so records that compress extremely well
        // are not compressed.
        if expanded > max_records(self.length + frame.len() as u64, MAX_MEMORY) {
            frame.clear();
            frame::append_uncompressed(&self.waiting, &mut frame);
        }
        self.file.write_all(&frame)?;
        self.length += frame.len() as u64;
        self.expanded = expanded;
        self.waiting.clear();
        Ok(())
    }
}
