//! Running programs whose lines are compared with the kernel.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver, TryRecvError},
    },
    thread,
    time::SystemTime,
};

use nix::sys::signal::Signal;
use tcpstate::probe::Testing;
use tempfile::NamedTempFile;

use super::{Line, library::Worker, served::Polled};
use crate::{
    command::{bound_to_us, signal},
    netns::Namespace,
    traced::inode,
    traffic::Family,
    watch::Scope,
};

/// The flags of `trace` for a scope.
///
/// # Panics
/// Panics if `trace` has no such scope.
fn arguments(scope: Scope) -> &'static [&'static str] {
    match scope {
        Scope::One => &[],
        Scope::All => &["--netns", "all"],
        Scope::Family(Family::V4) => &["--family", "4"],
        Scope::Family(Family::V6) => &["--family", "6"],
        Scope::ByFamily => panic!("only `serve` counts both families separately"),
    }
}

/// A running program with about ten lines a second. Dropping the value kills the process.
#[derive(Debug)]
pub struct Program {
    /// The name of the program in messages.
    pub label: String,
    /// The sockets that the program counts.
    pub scope: Scope,
    source: Source,
    lines: Receiver<Line>,
    /// The lines that the comparison has not taken yet.
    waiting: Vec<Line>,
}

/// The origin of a program's lines.
#[derive(Debug)]
enum Source {
    /// A process of `tcpstate trace`, and the path of the program.
    Trace(Running, String),
    /// The scrapes of a server.
    Serve(Arc<Polled>),
    /// A tracer of the library.
    Library(Worker),
}

/// A process of `tcpstate trace`.
#[derive(Debug)]
struct Running {
    child: Child,
    stderr: NamedTempFile,
}

impl Program {
    /// Starts `trace` of the program at this path in the thread's namespace, and waits for its
    /// start line.
    ///
    /// The thread must live as long as the program.
    ///
    /// # Panics
    /// Panics if the program prints no start line.
    #[must_use]
    pub fn trace(path: &str, scope: Scope) -> Self {
        let label = format!("trace {}", arguments(scope).join(" ")).trim_end().to_owned();
        let (process, lines) = Running::start(path, scope);
        let source = Source::Trace(process, path.to_owned());
        Self { label, scope, source, lines, waiting: Vec::new() }
    }

    /// Starts `serve` of the program at this path, which counts this namespace, and scrapes it ten
    /// times a second. Returns the scrapes of each family. The server listens in another namespace,
    /// so that it does not count the scrapes.
    ///
    /// # Panics
    /// Panics if the server does not start.
    #[must_use]
    pub fn serve(path: &str, namespace: &Namespace) -> [Self; 2] {
        let (polled, lines) = Polled::start(path, namespace);
        let polled = Arc::new(polled);
        let mut lines = lines.into_iter();
        Family::BOTH.map(|family| Self {
            label: format!("serve, {family}"),
            scope: Scope::Family(family),
            source: Source::Serve(Arc::clone(&polled)),
            lines: lines.next().expect("each family has its lines"),
            waiting: Vec::new(),
        })
    }

    /// Starts a tracer of the library in the thread's namespace, for machines without the program.
    ///
    /// # Panics
    /// Panics if the tracer does not start.
    #[must_use]
    pub fn library(scope: Scope, testing: Testing) -> Self {
        let (worker, lines) = Worker::start(scope, testing);
        let label = format!("library, {scope:?}");
        Self { label, scope, source: Source::Library(worker), lines, waiting: Vec::new() }
    }

    /// Makes the gauges right again: starts a new `trace` or a new tracer, or makes `serve` scan
    /// all sockets.
    ///
    /// # Panics
    /// Panics if the new process prints no start line.
    pub fn restart(&mut self) {
        match &mut self.source {
            Source::Trace(process, path) => {
                let (new, lines) = Running::start(path, self.scope);
                (*process, self.lines) = (new, lines);
            }
            Source::Serve(polled) => polled.scan(),
            Source::Library(worker) => {
                let (new, lines) = worker.restart(self.scope);
                (*worker, self.lines) = (new, lines);
            }
        }
        self.waiting.clear();
    }

    /// Whether the program must print exact lines when no socket of the thread's namespace changes.
    /// With `--netns all`, `exact` is about the whole host.
    pub(super) fn must_be_exact(&self) -> bool {
        self.scope != Scope::All
    }

    /// Returns whether there is a line whose cut was after this time.
    ///
    /// # Panics
    /// Panics if the program has ended.
    pub(super) fn has_line_since(&mut self, time: SystemTime) -> bool {
        self.collect();
        self.waiting.last().is_some_and(|line| line.time >= time)
    }

    /// Returns the lines since the last call.
    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        self.collect();
        std::mem::take(&mut self.waiting)
    }

    /// Ends the program. `trace` receives SIGINT, as by Ctrl-C, and returns its end line.
    ///
    /// # Panics
    /// Panics if the program fails, or if `trace` prints no end line.
    #[must_use]
    pub fn end(mut self) -> Option<Line> {
        let stderr = self.stderr();
        let Source::Trace(process, _) = &mut self.source else { return None };
        signal(&process.child, Signal::SIGINT);
        let end = self.lines.iter().last();
        let status = process.child.wait().expect("it is our child");
        assert!(status.success(), "{}: {status}: {stderr}", self.label);
        Some(end.unwrap_or_else(|| panic!("{}: no end line: {stderr}", self.label)))
    }

    /// The text that the program has printed on stderr until now.
    #[must_use]
    pub fn stderr(&self) -> String {
        match &self.source {
            Source::Trace(process, _) => {
                fs::read_to_string(process.stderr.path()).unwrap_or_default()
            }
            Source::Serve(polled) => polled.said(),
            Source::Library(_) => String::new(),
        }
    }

    fn collect(&mut self) {
        loop {
            match self.lines.try_recv() {
                Ok(line) => self.waiting.push(line),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    panic!("{}: it has ended: {}", self.label, self.stderr())
                }
            }
        }
    }
}

impl Running {
    fn start(path: &str, scope: Scope) -> (Self, Receiver<Line>) {
        let stderr = NamedTempFile::new().expect("there is room for a file");
        let mut command = Command::new(path);
        command.args(["trace", "-o", "json", "-i", "100ms"]).args(arguments(scope));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(stderr.reopen().expect("it was just made"));
        let mut child = bound_to_us(&mut command).spawn().expect("it is built");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut start = String::new();
        output.read_line(&mut start).expect("it writes text");
        let message = || fs::read_to_string(stderr.path()).unwrap_or_default();
        assert!(start.contains(r#""type":"start""#), "no start line: {start:?}: {}", message());
        (Self { child, stderr }, read(output, inode()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Parses the lines on a separate thread, so that the program never waits for its reader.
fn read(output: BufReader<ChildStdout>, inode: u64) -> Receiver<Line> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for text in output.lines().map_while(Result::ok) {
            let line = Line::parse(&text, inode, SystemTime::now());
            if line.is_some_and(|line| sender.send(line).is_err()) {
                return;
            }
        }
    });
    lines
}
