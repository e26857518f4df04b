//! Reads one file of a recording, up to the end of the file or the first damaged frame.

use std::{
    io::{BufRead, BufReader, Read},
    time::Duration,
};

use minicbor::Decoder;

use super::{
    HEADING, Part, Record, Unreadable, VERSION,
    frame::{self, Damage, Frame},
    wire,
};

/// A record, and the time at which it was recorded.
#[derive(Clone, Debug)]
pub struct Timed {
    /// The time since the start of the recording.
    pub at: Duration,
    /// The record.
    pub record: Record,
}

/// Reads one file of a recording. The reader never uses more memory than one frame needs.
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
}

impl<R: Read> Reader<R> {
    /// Reads the heading and the description of a file.
    pub fn open(file: R) -> Result<Self, Unreadable> {
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
            let frame = frame::read(&mut self.file).map_err(|damage| self.error(damage))?;
            let Some(Frame { records, length }) = frame else { return Ok(None) };
            (self.records, self.position, self.frame_length) = (records, 0, length);
        }
        let mut decoder = Decoder::new(&self.records[self.position..]);
        let read = wire::read(&mut decoder).map_err(|malformed| Unreadable::Corrupt {
            offset: self.offset,
            what: format!("a record that makes no sense ({malformed})"),
        })?;
        self.position += decoder.position();
        Ok(Some(read))
    }

    fn error(&self, damage: Damage) -> Unreadable {
        let offset = self.offset;
        match damage {
            Damage::Cut => Unreadable::Cut { offset },
            Damage::Corrupt(what) => {
                Unreadable::Corrupt { offset, what: format!("{what} that is wrong") }
            }
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
