//! `-- PROGRAM ARGS`: a program that a run starts, and with which the run ends.
//!
//! ```text
//! fork   before this process drops its privileges: the child changes to its user and waits
//! start  after the hooks are attached: the child executes the program
//! ended  the program has ended, and the run ends
//! end    the run ends first: SIGTERM ends the program
//! ```
//!
//! The kernel sends the signals of the terminal, such as SIGINT for Ctrl-C, to both processes. The
//! run goes on until the program has ended. The child ends if this process ends before `start`.
//! Afterwards, the program does not depend on this process.

mod child;
mod error;

use std::{
    ffi::{CString, OsString},
    fs::File,
    future::pending,
    io::{self, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork, pipe2},
};
use tokio::signal::unix::{Signal as Listener, SignalKind};

pub(super) use self::error::Error;
use self::{
    child::{Failure, Identity, Pipes},
    error::{as_typed, cannot_start},
};
use super::{
    help::{ADVANCED, FILTERS},
    signals::{Signals, listen},
    user::{self, Login},
};
use crate::{filter::EventFilter, procfs::pids::PidNamespace, report::Key};

/// How long the program may run after SIGTERM before the run ends without the program.
const GRACE: Duration = Duration::from_secs(5);

/// The flags of a command that can start a program.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Program to start; the run ends with it
    ///
    /// Program to start, and its arguments. The program starts when the hooks are attached, and the
    /// run ends when the program ends. The exit status is the status of the program, if that is not
    /// 0, or 128 plus the number of the signal that ended the program.
    ///
    /// The program runs in the directory and in the network namespace of the caller, as --user, or
    /// as the caller of sudo, or else as the caller. The program has no privilege of tcpstate.
    /// Ctrl-C ends the program, not the run. At SIGTERM, and after --duration and --count, the
    /// program gets SIGTERM and has 5 seconds to end.
    #[arg(last = true, value_name = "PROGRAM", help_heading = ADVANCED)]
    program: Vec<OsString>,

    /// User of PROGRAM [default: the caller of sudo]
    ///
    /// Name or number of the user who runs PROGRAM. The default is the user who called sudo, or
    /// else the user who runs tcpstate. If the user changes, HOME, USER and LOGNAME change too.
    #[arg(long, value_name = "USER", requires = "program", value_parser = user::parse_login, help_heading = ADVANCED)]
    user: Option<Login>,

    /// Only sockets of PROGRAM and its descendants
    ///
    /// Only sockets of PROGRAM and of the processes that descend from it, daemons too. A socket
    /// matches by its owner, and a time-wait socket by the process that closed the connection. With
    /// --by process or comm, other processes count as `other`, and older sockets as `unknown`.
    #[arg(long, requires = "program", help_heading = FILTERS)]
    only_it: bool,
}

impl Flags {
    /// Returns whether a program is given.
    pub(super) fn is_given(&self) -> bool {
        !self.program.is_empty()
    }

    /// Refuses `--only-it` with snapshots, unless the groups of the snapshots are processes.
    pub(super) fn require_processes(&self, has_snapshots: bool, by: &[Key]) -> Result<(), Error> {
        let has_processes = by.iter().any(|key| matches!(key, Key::Process | Key::Comm));
        if self.only_it && has_snapshots && !has_processes { Err(Error::Snapshots) } else { Ok(()) }
    }

    /// Returns the name of the flag that filters by the program, if the flag is given.
    pub(super) fn filter(&self) -> Option<&'static str> {
        self.only_it.then_some("--only-it")
    }

    /// Starts the child that will execute the program, if a program is given. The process must have
    /// one thread, and must still have the privileges and the limits of its caller.
    pub(super) fn fork(&self) -> Result<Program, Error> {
        let Some(name) = self.program.first() else { return Ok(Program(None)) };
        let identity = Identity::of(self.user.as_ref());
        Child::fork(name, &self.program, &identity, self.only_it).map(|child| Program(Some(child)))
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The program has ended, or the run ended because of a limit, a signal or a key.
    Regular,
    /// The reader of stdout has closed the pipe.
    ReaderGone,
}

/// The program of a run. The value is `None` if the run has no program.
pub(super) struct Program(Option<Child>);

/// The child process that executes the program.
struct Child {
    /// The program as typed.
    name: OsString,
    pid: Pid,
    /// The pipe of which one byte starts the program; `None` after the start.
    go: Option<File>,
    /// The pipe from which this process reads why the program does not start.
    failure: File,
    /// SIGCHLD; `None` before the start.
    changed: Option<Listener>,
    /// The exit status of the program, if the program has ended.
    status: Option<u8>,
    /// The id of the child in `/proc`, if only sockets of the program are wanted.
    id: Option<u32>,
}

impl Program {
    /// Executes the program. Returns after the program has replaced the child.
    pub(super) fn start(&mut self) -> Result<()> {
        self.0.as_mut().map_or(Ok(()), Child::start)
    }

    /// Returns whether a signal to this process does not end the run: the terminal sends SIGINT to
    /// the program too, and the run ends with the program.
    pub(super) fn takes(&self, signals: &Signals) -> bool {
        self.0.is_some() && !signals.has_terminated()
    }

    /// Adds the condition of `--only-it` to a filter of events.
    pub(super) fn narrow(&self, filter: EventFilter) -> EventFilter {
        EventFilter { program: self.0.as_ref().and_then(|child| child.id), ..filter }
    }

    /// Returns whether the run has a program.
    pub(super) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// Returns when the program has ended. Safe to cancel.
    pub(super) async fn ended(&mut self) {
        match &mut self.0 {
            Some(child) => child.ended().await,
            None => pending().await,
        }
    }

    /// Ends the program if the run ends first. If the reader of stdout has closed the pipe, the
    /// program goes on, because the user has not asked for its end.
    pub(super) async fn end(&mut self, ending: Ending, signals: &mut Signals) {
        if let (Some(child), Ending::Regular) = (&mut self.0, ending) {
            child.end(signals).await;
        }
    }

    /// Waits until the program has ended, if [`end`](Self::end) has left the program running. A
    /// signal other than SIGINT ends the program.
    pub(super) async fn wait(&mut self, ending: Ending, signals: &mut Signals) {
        let (Some(child), Ending::ReaderGone) = (&mut self.0, ending) else { return };
        loop {
            tokio::select! {
                () = child.ended() => return,
                () = signals.next() => if signals.has_terminated() { break },
            }
        }
        child.end(signals).await;
    }

    /// Returns the exit status of this process: the status of the program if that is not 0, else
    /// `own`.
    pub(super) fn status(&self, own: u8) -> u8 {
        let status = self.0.as_ref().and_then(|child| child.status);
        status.filter(|&status| status != 0).unwrap_or(own)
    }

    /// Returns the exit status of this process after a run without an error.
    pub(super) fn exit_code(&self, own: u8) -> ExitCode {
        self.status(own).into()
    }
}

impl Child {
    /// Starts the child. If `needs_id`, also finds the id of the child in `/proc`.
    fn fork(
        name: &OsString,
        words: &[OsString],
        identity: &Identity,
        needs_id: bool,
    ) -> Result<Self, Error> {
        if needs_id && PidNamespace::of_proc() == PidNamespace::Unknown {
            return Err(Error::NoPids);
        }
        let fail = |errno: Errno| cannot_start(name, errno.into());
        let words = words.iter().map(|word| CString::new(word.as_bytes()));
        let words: Vec<CString> =
            words.collect::<Result<_, _>>().map_err(|_| fail(Errno::EINVAL))?;
        let (wait, go) = pipe2(OFlag::O_CLOEXEC).map_err(fail)?;
        let (failure, report) = pipe2(OFlag::O_CLOEXEC).map_err(fail)?;
        // SAFETY: this process has one thread, so the child may call any function.
        match unsafe { fork() }.map_err(|errno| Error::Fork(as_typed(name), errno.into()))? {
            ForkResult::Child => {
                drop((go, failure));
                let ends = Pipes { wait: wait.into(), report: report.into() };
                child::run(&words, identity, needs_id, ends)
            }
            ForkResult::Parent { child: pid } => {
                drop((wait, report));
                let mut child = Self {
                    name: name.clone(),
                    pid,
                    go: Some(go.into()),
                    failure: failure.into(),
                    changed: None,
                    status: None,
                    id: None,
                };
                if needs_id {
                    child.id = Some(child.read_id()?);
                }
                Ok(child)
            }
        }
    }

    /// Reads the id that the child has in `/proc`.
    fn read_id(&mut self) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        // A signal may have ended the child.
        let read = self.failure.read_exact(&mut bytes);
        read.map_err(|error| cannot_start(&self.name, error))?;
        let id = u32::from_ne_bytes(bytes);
        if id == 0 { Err(Error::NoPids) } else { Ok(id) }
    }

    fn start(&mut self) -> Result<()> {
        self.changed = Some(listen(SignalKind::child())?);
        let Some(mut go) = self.go.take() else { return Ok(()) };
        // If a signal has ended the child, the status tells so.
        let _ = go.write_all(&[1]);
        drop(go);
        let mut bytes = [0; Failure::BYTES];
        match self.failure.read_exact(&mut bytes) {
            Ok(()) => {
                // The child has ended or is ending, and its status has no further meaning.
                let _ = waitpid(self.pid, None);
                self.status = Some(0);
                Err(Failure::from_bytes(bytes).of_program(&self.name).into())
            }
            // The kernel closes the pipe when it has executed the program.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(cannot_start(&self.name, error).into()),
        }
    }

    async fn ended(&mut self) {
        while self.look().is_none() {
            match &mut self.changed {
                Some(changed) => changed.recv().await,
                None => pending().await,
            };
        }
    }

    /// Returns the exit status, if the program has ended.
    fn look(&mut self) -> Option<u8> {
        if self.status.is_none() {
            let mut status = 0;
            // SAFETY: the kernel writes the status to a variable that outlives the call.
            let waited =
                unsafe { libc::waitpid(self.pid.as_raw(), &raw mut status, libc::WNOHANG) };
            self.status = (waited == self.pid.as_raw()).then(|| shown(status));
        }
        self.status
    }

    /// Sends SIGTERM to the program, unless the program has ended. Returns when the program has
    /// ended, at another signal to this process, or after some seconds.
    async fn end(&mut self, signals: &mut Signals) {
        if self.look().is_some() {
            return;
        }
        // The kernel refuses the signal if the program has changed its user.
        let _ = kill(self.pid, Signal::SIGTERM);
        tokio::select! {
            () = self.ended() => {}
            () = signals.next() => {}
            () = tokio::time::sleep(GRACE) => {}
        }
        if self.look().is_none() {
            let name = as_typed(&self.name);
            eprintln!("tcpstate: {name} goes on after SIGTERM, as process {}", self.pid);
            eprintln!("help: end the program with `kill -KILL {}`", self.pid);
        }
    }
}

/// Returns the exit status that a shell shows for a status of waitpid(2): the exit status of the
/// program, or 128 plus the number of the signal that has ended the program. The signal may be a
/// real-time signal, which has no name.
fn shown(status: libc::c_int) -> u8 {
    let shown = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    shown.to_le_bytes()[0]
}

impl Drop for Child {
    fn drop(&mut self) {
        // A child that has not been started ends when this process closes the pipe.
        if self.go.take().is_some() {
            let _ = waitpid(self.pid, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_the_status_that_a_shell_shows() {
        /// A real-time signal.
        const RT: libc::c_int = 40;
        for (status, expected) in [
            (0, 0),
            (3 << 8, 3),
            (255 << 8, 255),
            (libc::SIGKILL, 137),
            (libc::SIGTERM, 143),
            (libc::SIGSEGV | 0x80, 139),
            (RT, 168),
        ] {
            assert_eq!(shown(status), expected, "{status:#x}");
        }
    }
}
