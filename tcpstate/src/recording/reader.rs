//! Reads one file of a recording, up to the end of the file or the first damaged frame.

use std::{
    io::{BufRead, BufReader, Read},
    time::Duration,
};

use minicbor::Decoder;

use super::{
    HEADING, MAX_MEMORY, Part, Record, Unreadable, VERSION,
    budget::{Budget, max_records},
    frame::{self, Damage, Frame},
    wire::{self, Malformed},
};

/// A record, and the time at which it was recorded.
#[derive(Clone, Debug)]
pub struct Timed {
    /// The time since the start of the recording.
    pub at: Duration,
    /// The record.
    pub record: Record,
}

/// Reads one file of a recording. The memory of the reader is limited, because the bytes of the
/// file can be hostile.
pub struct Reader<R> {
    file: BufReader<R>,
    part: Part,
    /// The offset in bytes of the current frame.
    offset: u64,
    frame_length: u64,
    /// The records of the current frame. The reader has already decoded the first `position` bytes
    /// of these records.
    records: Vec<u8>,
    position: usize,
    unknown: u64,
    max_memory: u64,
    /// The size in bytes of the records in all frames up to the current frame.
    expanded: u64,
    /// The memory in bytes of the file's description and the start report. Views keep both.
    kept: u64,
    has_start: bool,
    has_end: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the heading and the description of a file. The reader uses at most [`MAX_MEMORY`]
    /// bytes for a record.
    pub fn open(file: R) -> Result<Self, Unreadable> {
        Self::open_with(file, MAX_MEMORY)
    }

    /// Reads the heading and the description of a file. The reader uses at most `max_memory` bytes
    /// for a record.
    pub fn open_with(file: R, max_memory: u64) -> Result<Self, Unreadable> {
        let mut file = BufReader::with_capacity(1 << 16, file);
        let offset = read_heading(&mut file)?;
        let mut reader = Self {
            file,
            part: Part::default(),
            offset,
            frame_length: 0,
            records: Vec::new(),
            position: 0,
            unknown: 0,
            max_memory,
            expanded: 0,
            kept: 0,
            has_start: false,
            has_end: false,
        };
        match reader.read()? {
            Some(wire::Read::Part(part)) => Ok(Self { part, ..reader }),
            Some(_) => {
                Err(Unreadable::Corrupt { offset, what: "a first record of another kind".into() })
            }
            None => Err(Unreadable::Cut { offset }),
        }
    }

    /// Returns the description of the file.
    #[must_use]
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Returns the number of skipped records of unknown kinds.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Returns the next record, or `None` at the end of the file. After an error no more records
    /// can be read.
    pub fn next_record(&mut self) -> Result<Option<Timed>, Unreadable> {
        loop {
            match self.read()? {
                None => return Ok(None),
                Some(wire::Read::Record(at, record)) => return Ok(Some(Timed { at, record })),
                Some(wire::Read::Unknown) => self.unknown += 1,
                Some(wire::Read::Part(_)) => {
                    let what = "a second beginning".into();
                    return Err(Unreadable::Corrupt { offset: self.offset, what });
                }
            }
        }
    }

    fn read(&mut self) -> Result<Option<wire::Read>, Unreadable> {
        while self.position == self.records.len() {
            self.offset += std::mem::take(&mut self.frame_length);
            // Release the records before the next frame is read.
            self.records = Vec::new();
            let (offset, expanded, max_memory) = (self.offset, self.expanded, self.max_memory);
            let max = |length| max_records(offset + length, max_memory).saturating_sub(expanded);
            let frame = frame::read(&mut self.file, max).map_err(|damage| self.error(damage))?;
            let Some(Frame { records, length }) = frame else { return Ok(None) };
            self.expanded += records.len() as u64;
            (self.records, self.position, self.frame_length) = (records, 0, length);
        }
        self.read_record().map(Some)
    }

    /// Decodes the next record of the current frame.
    fn read_record(&mut self) -> Result<wire::Read, Unreadable> {
        let memory = self.max_memory.saturating_sub(self.records.capacity() as u64 + self.kept);
        let mut budget = Budget::new(memory, self.max_memory);
        let mut decoder = Decoder::new(&self.records[self.position..]);
        let read = wire::read(&mut decoder, &mut budget);
        let read = read.map_err(|malformed| self.undecodable(&malformed, &budget))?;
        self.position += decoder.position();
        if self.has_end {
            let what = "a record after the end".into();
            return Err(Unreadable::Corrupt { offset: self.offset, what });
        }
        self.has_end = matches!(&read, wire::Read::Record(_, record) if record.is_end());
        let is_start = matches!(&read, wire::Read::Record(_, record) if record.is_start());
        if is_start && std::mem::replace(&mut self.has_start, true) {
            let what = "a second start".into();
            return Err(Unreadable::Corrupt { offset: self.offset, what });
        }
        if is_start || matches!(read, wire::Read::Part(_)) {
            self.kept += budget.spent() as u64;
        }
        Ok(read)
    }

    fn undecodable(&self, malformed: &Malformed, budget: &Budget) -> Unreadable {
        let offset = self.offset;
        if budget.is_exhausted() {
            return Unreadable::Memory { offset, max: self.max_memory };
        }
        let what = format!("a record that makes no sense ({malformed})");
        Unreadable::Corrupt { offset, what }
    }

    fn error(&self, damage: Damage) -> Unreadable {
        let offset = self.offset;
        match damage {
            Damage::Cut => Unreadable::Cut { offset },
            Damage::Corrupt(what) => {
                Unreadable::Corrupt { offset, what: format!("{what} that is wrong") }
            }
            Damage::Large { max } => Unreadable::Large { offset, max },
            Damage::Io(error) => Unreadable::Read { offset, error },
        }
    }
}

/// Reads the heading line. Returns the length in bytes of the heading.
fn read_heading(file: &mut impl BufRead) -> Result<u64, Unreadable> {
    let longest = HEADING.len() + "65535\n".len();
    let mut line = Vec::new();
    let read = file.take(longest as u64).read_until(b'\n', &mut line);
    read.map_err(|error| Unreadable::Read { offset: 0, error })?;
    let is_whole = line.ends_with(b"\n") || line.len() == longest;
    if !is_whole && (line.starts_with(HEADING.as_bytes()) || HEADING.as_bytes().starts_with(&line))
    {
        return Err(Unreadable::Cut { offset: 0 });
    }
    let version = line.strip_prefix(HEADING.as_bytes()).and_then(|line| line.strip_suffix(b"\n"));
    let version = version.and_then(|version| std::str::from_utf8(version).ok()?.parse().ok());
    match version {
        Some(VERSION) => Ok(line.len() as u64),
        Some(found) => Err(Unreadable::Version { found }),
        None => Err(Unreadable::NoRecording),
    }
}
