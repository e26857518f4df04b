//! Records a run. If tcpstate is killed, the file contains everything that a view showed until half
//! a second before the kill.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Seek as _, SeekFrom},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Error, Part, Writer,
    files::{left_over, name_of},
};
use crate::report::{Event, Report, Start};

/// The maximum time between the addition of a record and the write of the record. The documentation
/// promises that each record is written within one second. The maximum is only half a second, so
/// that busy machines also write each record within one second.
const DELAY: Duration = Duration::from_millis(500);

/// The maximum number of bytes that wait while the file cannot be written.
const MAX_WAITING: usize = 4 << 20;

/// The limits of the size and the number of a recording's files, and the mode of the files.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The size in bytes after which a new file begins.
    pub file_bytes: Option<u64>,
    /// The maximum number of files. If a recording has more files than the maximum, the oldest file
    /// is removed.
    pub files: Option<u32>,
    /// The mode of the files. Recordings contain addresses and names of programs, so other users
    /// cannot read them by default.
    pub mode: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: None, files: None, mode: 0o600 }
    }
}

/// Writes a recording. Records are written in order, and no record is omitted. If a record would
/// have to be omitted, the recording ends.
pub struct Recorder {
    shared: Arc<Shared>,
    /// The thread that writes records when they are due.
    flusher: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    files: Mutex<Files>,
    /// Wakes the flusher.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("nothing panics while it holds the lock")
    }
}

/// A change of a recording's state.
#[derive(Debug)]
pub enum News {
    /// The last write to the recording failed.
    Failing(Error),
    /// After a failure, writes succeed again, and the recording is complete.
    Resumed,
    /// The recording has ended, because too many bytes were waiting for the next write.
    Ended,
    /// The recording has ended because of this error.
    Stopped(Error),
}

impl Recorder {
    /// Creates a recording in a file that must not exist yet. The function ignores `part.number`,
    /// because the number of the first file is 0.
    pub fn create(file: &Path, limits: Limits, part: Part) -> Result<Self, Error> {
        let part = Part { number: 0, ..part };
        if let Some(left_over) = left_over(file).filter(|_| limits.file_bytes.is_some()) {
            return Err(Error::LeftOver { file: file.to_owned(), left_over });
        }
        let files = Files {
            writer: begin(file, limits.mode, &part, None)?,
            base: file.to_owned(),
            kept: VecDeque::from([file.to_owned()]),
            limits,
            part,
            began: Instant::now(),
            start: None,
            due: None,
            health: Health::Well,
            news: None,
            is_closing: false,
        };
        let shared = Arc::new(Shared { files: Mutex::new(files), changed: Condvar::new() });
        let flushing = shared.clone();
        let flusher = thread::Builder::new().spawn(move || flush_when_due(&flushing));
        let flusher = flusher.map_err(|error| Error::Create { file: file.to_owned(), error })?;
        Ok(Self { shared, flusher: Mutex::new(Some(flusher)) })
    }

    /// Adds a report to the recording.
    pub fn add_report(&self, report: &Report) {
        let mut files = self.shared.lock();
        files.remember(report);
        files.add(|writer, at| writer.add_report(at, report));
        // Write the start report and the end report immediately.
        if !matches!(report, Report::Snapshot(_)) {
            files.flush();
        }
        self.shared.changed.notify_one();
    }

    /// Adds events that a view gets in one call.
    pub fn add_events(&self, events: &[Event]) {
        if !events.is_empty() {
            self.shared.lock().add(|writer, at| writer.add_events(at, events));
            self.shared.changed.notify_one();
        }
    }

    /// If the state of the recording has changed since the last call, returns the change.
    #[must_use]
    pub fn news(&self) -> Option<News> {
        self.shared.lock().news.take()
    }

    /// Writes all waiting records and returns whether everything is on the disk. The caller must
    /// not add records after this function returns.
    pub fn close(&self) -> Result<(), Error> {
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_one();
        let flusher = self.flusher.lock().expect("nothing panics while it holds the lock").take();
        if let Some(flusher) = flusher {
            flusher.join().expect("the flusher does not panic");
        }
        self.shared.lock().close()
    }
}

impl Drop for Recorder {
    /// Writes the waiting records, even if the run fails.
    fn drop(&mut self) {
        // Ignore the error. A caller that needs the error calls `close` before the drop.
        let _ = self.close();
    }
}

/// Whether writes to the recording succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// New records wait until the file can be written again.
    Failing,
    /// New records are dropped, because the recording has ended.
    Ended,
}

struct Files {
    writer: Writer<File>,
    /// The name of the recording's first file. The names of the later files are derived from the
    /// name of the first file.
    base: PathBuf,
    /// The existing files, newest last.
    kept: VecDeque<PathBuf>,
    limits: Limits,
    part: Part,
    began: Instant,
    /// The start report for the next file. The start report lists the hooks that are attached now.
    start: Option<Start>,
    /// The time at which waiting records must be written.
    due: Option<Instant>,
    health: Health,
    news: Option<News>,
    is_closing: bool,
}

impl Files {
    fn remember(&mut self, report: &Report) {
        match (report, &mut self.start) {
            (Report::Start(start), _) => self.start = Some(start.clone()),
            (Report::Snapshot(snapshot), Some(start)) => {
                if let Some(attached) = &snapshot.attached {
                    start.attached.clone_from(attached);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, add: impl FnOnce(&mut Writer<File>, Duration)) {
        if self.health == Health::Ended {
            return;
        }
        if self.writer.waiting() > MAX_WAITING {
            self.health = Health::Ended;
            self.news = Some(News::Ended);
            return;
        }
        add(&mut self.writer, self.began.elapsed());
        self.due = self.due.or_else(|| Some(Instant::now() + DELAY));
        if self.health == Health::Well && self.writer.has_a_frame() {
            self.flush();
        }
    }

    /// Writes the waiting records. If the write fails, the records stay in memory until the next
    /// write.
    fn flush(&mut self) {
        let outcome = self.try_flush();
        let is_failing = self.health != Health::Well;
        match outcome {
            Ok(()) => {
                self.due = None;
                if is_failing && self.health == Health::Failing {
                    self.health = Health::Well;
                    self.news = Some(News::Resumed);
                }
            }
            Err(error @ (Error::Continue { .. } | Error::Changed { .. })) => {
                self.due = None;
                self.health = Health::Ended;
                self.news = Some(News::Stopped(error));
            }
            Err(error) => {
                self.due = Some(Instant::now() + DELAY);
                if !is_failing {
                    self.health = Health::Failing;
                    self.news = Some(News::Failing(error));
                }
            }
        }
    }

    fn try_flush(&mut self) -> Result<(), Error> {
        self.check_unchanged()?;
        if let Err(error) = self.writer.flush() {
            // Remove the incomplete frame, because a reader stops at the first incomplete frame.
            let length = self.writer.length();
            let file = self.writer.file_mut();
            let _ = file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length)));
            return Err(self.error(error));
        }
        if self.limits.file_bytes.is_some_and(|limit| self.writer.length() >= limit) {
            self.begin_next()?;
        }
        Ok(())
    }

    /// Returns an error if another program deleted or truncated the file.
    fn check_unchanged(&mut self) -> Result<(), Error> {
        let length = self.writer.length();
        let metadata = self.writer.file_mut().metadata().map_err(|error| self.error(error))?;
        let change = match (metadata.nlink(), metadata.len()) {
            // A name such as /dev/stdout can stand for a pipe, which has no length.
            _ if !metadata.is_file() => return Ok(()),
            (0, _) => "deleted",
            (_, found) if found < length => "truncated",
            _ => return Ok(()),
        };
        Err(Error::Changed { file: name_of(&self.base, self.part.number), change })
    }

    /// Continues the recording in a new file.
    fn begin_next(&mut self) -> Result<(), Error> {
        let part = Part { number: self.part.number + 1, ..self.part.clone() };
        let file = name_of(&self.base, part.number);
        let start = self.start.clone().map(|start| (self.began.elapsed(), Report::Start(start)));
        let begun = begin(&file, self.limits.mode, &part, start.as_ref());
        self.writer = begun.map_err(Error::of_continuation)?;
        self.part = part;
        self.kept.push_back(file);
        let max_files = self.limits.files.map_or(usize::MAX, |files| files as usize);
        while self.kept.len() > max_files.max(1) {
            let _ = self.kept.pop_front().map(fs::remove_file);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.limits.file_bytes = None;
        if self.health == Health::Ended {
            // The records before the end of the recording may still wait.
            let _ = self.try_flush();
            return Err(Error::Ended { file: name_of(&self.base, self.part.number) });
        }
        self.try_flush()?;
        self.writer.file_mut().sync_data().map_err(|error| self.error(error))
    }

    fn error(&self, error: io::Error) -> Error {
        Error::Write { file: name_of(&self.base, self.part.number), error }
    }
}

/// Creates a file. If the start report is known, the function writes the start report to the file.
/// If a write fails, the function removes the file.
fn begin(
    file: &Path,
    mode: u32,
    part: &Part,
    start: Option<&(Duration, Report)>,
) -> Result<Writer<File>, Error> {
    let named = |error| Error::Create { file: file.to_owned(), error };
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let opened = opened.map_err(named)?;
    let write = || {
        // The mode is set explicitly, because the umask limits the mode of a new file.
        opened.set_permissions(Permissions::from_mode(mode))?;
        let mut writer = Writer::begin(opened, part)?;
        if let Some((at, start)) = start {
            writer.add_report(*at, start);
        }
        writer.flush()?;
        Ok(writer)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(file);
        named(error)
    })
}

fn flush_when_due(shared: &Shared) {
    let mut files = shared.lock();
    while !files.is_closing {
        let now = Instant::now();
        files = match files.due {
            Some(due) if due <= now => {
                files.flush();
                files
            }
            Some(due) => {
                let waited = shared.changed.wait_timeout(files, due - now);
                waited.expect("nothing panics while it holds the lock").0
            }
            None => shared.changed.wait(files).expect("nothing panics while it holds the lock"),
        };
    }
}
