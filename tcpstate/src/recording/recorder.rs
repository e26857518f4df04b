//! Records a run: what is shown is in a file half a second later, whatever happens then.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Error, Part, Writer, files::name_of};
use crate::report::{Event, Report, Start};

/// How long records wait at most until they are written. Kept well below the second that is promised, for busy machines.
const DELAY: Duration = Duration::from_millis(500);

/// How many bytes of them wait at most, for a file that can't be written at the moment.
const MAX_WAITING: usize = 4 << 20;

/// How large recordings may become.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// A file of so many bytes is followed by the next one.
    pub file_bytes: Option<u64>,
    /// Only so many of them are kept, the newest.
    pub files: Option<u32>,
}

/// Writes a recording. All that is added is in order, and nothing is left out: if that can't be, it ends.
pub struct Recorder {
    shared: Arc<Shared>,
    /// Writes what nothing follows.
    flusher: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    files: Mutex<Files>,
    /// There is something to do for the flusher.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("nothing panics while it holds the lock")
    }
}

/// What became of a recording since it was last asked for.
#[derive(Debug)]
pub enum News {
    /// It can't be written at the moment.
    Failing(Error),
    /// It is written again, and lacks nothing.
    Resumed,
    /// More waited than there is room for: it has ended.
    Ended,
}

impl Recorder {
    /// Begins a recording in a file that must not be there yet. What `part` says of numbers is not asked for.
    pub fn create(file: &Path, limits: Limits, part: Part) -> Result<Self, Error> {
        let part = Part { number: 0, ..part };
        let files = Files {
            writer: begin(file, &part, None)?,
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
        let flusher = thread::spawn(move || flush_when_due(&flushing));
        Ok(Self { shared, flusher: Mutex::new(Some(flusher)) })
    }

    /// Adds what a view is shown.
    pub fn add_report(&self, report: &Report) {
        let mut files = self.shared.lock();
        files.remember(report);
        files.add(|writer, at| writer.add_report(at, report));
        // Begin and end are worth a frame of their own.
        if !matches!(report, Report::Snapshot(_)) {
            files.flush();
        }
        self.shared.changed.notify_one();
    }

    /// Adds events that a view is shown together.
    pub fn add_events(&self, events: &[Event]) {
        if !events.is_empty() {
            self.shared.lock().add(|writer, at| writer.add_events(at, events));
            self.shared.changed.notify_one();
        }
    }

    /// What became of it since the last call, if anything did.
    #[must_use]
    pub fn news(&self) -> Option<News> {
        self.shared.lock().news.take()
    }

    /// Writes what waits, and says whether all is on the disk. Nothing is to be added after that.
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
    /// A run that fails has recorded what it showed all the same.
    fn drop(&mut self) {
        // Who wants to know how that went closes it.
        let _ = self.close();
    }
}

/// What can be said of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// What comes waits.
    Failing,
    /// What comes is dropped.
    Ended,
}

struct Files {
    writer: Writer<File>,
    /// The first file, after which the others are named.
    base: PathBuf,
    /// Those that are there, the newest last.
    kept: VecDeque<PathBuf>,
    limits: Limits,
    part: Part,
    began: Instant,
    /// How the run began and what serves by now, for the next file.
    start: Option<Start>,
    /// When what waits is to be written.
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

    /// Writes what waits; if that can't be done it waits on.
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
        if let Err(error) = self.writer.flush() {
            // What was written of the frame would be damage in the midst of the file.
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

    /// Goes on in another file.
    fn begin_next(&mut self) -> Result<(), Error> {
        let part = Part { number: self.part.number + 1, ..self.part.clone() };
        let file = name_of(&self.base, part.number);
        let start = self.start.clone().map(|start| (self.began.elapsed(), Report::Start(start)));
        self.writer = begin(&file, &part, start.as_ref())?;
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
        self.try_flush()?;
        if self.health == Health::Ended {
            return Err(self.error(io::Error::other("it could not be written for too long")));
        }
        self.writer.file_mut().sync_data().map_err(|error| self.error(error))
    }

    fn error(&self, error: io::Error) -> Error {
        Error::Write { file: name_of(&self.base, self.part.number), error }
    }
}

/// Begins a file that is not there yet, and with it the start report, where that is known. If it can't be written, it is not there
/// afterwards.
fn begin(
    file: &Path,
    part: &Part,
    start: Option<&(Duration, Report)>,
) -> Result<Writer<File>, Error> {
    let named = |error| Error::Create { file: file.to_owned(), error };
    let opened = OpenOptions::new().write(true).create_new(true).open(file).map_err(named)?;
    let write = || {
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
