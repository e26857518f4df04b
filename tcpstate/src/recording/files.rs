//! Reads the files of a recording as one sequence of records.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::{Error, Part, Reader, Timed};
use crate::files;

/// Reads the records of a recording, from a given file to the last file.
pub struct Recording {
    reader: Reader<File>,
    file: PathBuf,
    /// The name of the recording's first file, if the name is known. The names of the later files
    /// are derived from the name of the first file.
    base: Option<PathBuf>,
    has_ended: bool,
    /// The number of unknown records in the previous files.
    unknown: u64,
    max_memory: u64,
    skipped: Option<Skipped>,
}

impl Recording {
    /// Opens a recording. The given file is the first file that is read. The reader skips earlier
    /// files and continues with later files. The reader uses at most `max_memory` bytes for a
    /// record.
    pub fn open(file: &Path, max_memory: u64) -> Result<Self, Error> {
        let opened = files::open_or_pipe(file);
        let reader = read(file, opened, max_memory)?;
        let base = base_of(file, reader.part().number);
        Ok(Self {
            reader,
            file: file.to_owned(),
            base,
            has_ended: false,
            unknown: 0,
            max_memory,
            skipped: None,
        })
    }

    /// Returns the description of the current file.
    #[must_use]
    pub fn part(&self) -> &Part {
        self.reader.part()
    }

    /// Returns whether the reader has read the end report of the run.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns the name of the current file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the number of skipped records of unknown kinds.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown + self.reader.unknown()
    }

    /// Returns the file that was skipped, if there is such a file.
    #[must_use]
    pub fn skipped(&self) -> Option<&Skipped> {
        self.skipped.as_ref()
    }

    /// Returns the next record, or `None` at the end of the last file. After an error no more
    /// records can be read.
    pub fn next_record(&mut self) -> Result<Option<Timed>, Error> {
        loop {
            let next = self.reader.next_record();
            let next = next.map_err(|why| Error::Read { file: self.file.clone(), why })?;
            if let Some(timed) = next {
                self.has_ended |= timed.record.is_end();
                return Ok(Some(timed));
            }
            if self.has_ended || !self.open_next()? {
                return Ok(None);
            }
        }
    }

    /// Opens the next file. Returns false if there is no further file of this recording.
    fn open_next(&mut self) -> Result<bool, Error> {
        let Part { id, number, .. } = *self.part();
        let Some(file) = self.base.as_ref().map(|base| name_of(base, number + 1)) else {
            return Ok(false);
        };
        let opened = match files::open(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.skipped = Some(Skipped { file, cause: error.to_string() });
                return Ok(false);
            }
            opened => opened,
        };
        let mut reader = read(&file, opened, self.max_memory)?;
        if (reader.part().id, reader.part().number) != (id, number + 1) {
            let cause = "it belongs to another recording".to_owned();
            self.skipped = Some(Skipped { file, cause });
            return Ok(false);
        }
        // Skip the start report of a later file, because the reader has already returned the start
        // report.
        reader.next_record().map_err(|why| Error::Read { file: file.clone(), why })?;
        self.unknown += self.reader.unknown();
        (self.reader, self.file) = (reader, file);
        Ok(true)
    }
}

/// A file that has the name of the next file, but is not a part of the recording.
#[derive(Debug)]
pub struct Skipped {
    /// The name of the file.
    pub file: PathBuf,
    /// The reason why the file is not a part of the recording.
    pub cause: String,
}

fn read(file: &Path, opened: io::Result<File>, max_memory: u64) -> Result<Reader<File>, Error> {
    let opened = opened.map_err(|error| Error::Open { file: file.to_owned(), error })?;
    let reader = Reader::open_with(opened, max_memory);
    reader.map_err(|why| Error::Read { file: file.to_owned(), why })
}

/// Returns the name of a recording's file, such as `run.tcps`, `run.tcps.1` or `run.tcps.2`.
pub(super) fn name_of(base: &Path, number: u32) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    if number > 0 {
        name.push(format!(".{number}"));
    }
    name.into()
}

/// Returns a file whose name a later file of a recording would have, if such a file exists. `base`
/// is the name of the recording's first file.
pub(super) fn left_over(base: &Path) -> Option<PathBuf> {
    let folder = base.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = folder.unwrap_or(Path::new(".")).read_dir().ok()?;
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let rest = name.as_bytes().strip_prefix(base.file_name()?.as_bytes())?;
            let number: u32 = std::str::from_utf8(rest.strip_prefix(b".")?).ok()?.parse().ok()?;
            (name_of(base, number).file_name() == Some(name.as_os_str())).then_some(number)
        })
        .filter(|&number| number > 0)
        .collect();
    numbers.sort_unstable();
    numbers.first().map(|&number| name_of(base, number))
}

/// Derives the name of the first file from the name of a later file.
fn base_of(file: &Path, number: u32) -> Option<PathBuf> {
    if number == 0 {
        return Some(file.to_owned());
    }
    let suffix = format!(".{number}");
    let name = file.file_name()?.to_str()?.strip_suffix(&suffix)?;
    Some(file.with_file_name(OsString::from(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_files_are_numbered_after_the_first() {
        let base = Path::new("/tmp/run.tcps");
        for (number, name) in
            [(0, "/tmp/run.tcps"), (1, "/tmp/run.tcps.1"), (12, "/tmp/run.tcps.12")]
        {
            assert_eq!(name_of(base, number), Path::new(name));
            assert_eq!(base_of(Path::new(name), number).as_deref(), Some(base));
        }
        assert_eq!(base_of(Path::new("/tmp/renamed"), 3), None);
    }
}
