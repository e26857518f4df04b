//! Ctrl-C, SIGTERM, SIGHUP and SIGXCPU, which end a run cleanly.

use std::{io, mem::MaybeUninit, process, ptr, thread, time::Duration};

use anyhow::{Context as _, Result};
use nix::{errno::Errno, sys::termios::tcgetattr, unistd::dup2_stderr};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::runtime;

/// How long a replay may wait for a reader or a writer of a pipe after a signal.
const GRACE: Duration = Duration::from_secs(1);

/// Starts to listen for a signal.
pub(super) fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("cannot listen for signals")
}

/// The signals that end a run cleanly.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// SIGHUP, which the kernel sends when the terminal is lost. `None` if SIGHUP has another
    /// meaning or is ignored.
    hang_up: Option<Signal>,
    /// SIGXCPU, which the kernel sends at the soft limit of CPU time, and then after each second of
    /// CPU time. `None` if SIGXCPU is ignored, or after the first SIGXCPU.
    used_up: Option<Signal>,
    /// Whether to print that the limit of CPU time ends the run.
    prints_limit: bool,
    has_terminated: bool,
}

impl Signals {
    /// Starts to listen for Ctrl-C, SIGTERM and SIGXCPU.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: None,
            used_up: listen_unless_ignored(SignalKind::from_raw(libc::SIGXCPU))?,
            prints_limit: true,
            has_terminated: false,
        })
    }

    /// Starts to listen for Ctrl-C, SIGTERM and SIGXCPU, and for SIGHUP unless SIGHUP is ignored,
    /// as under nohup(1).
    pub(super) fn of_run() -> Result<Self> {
        let hang_up = listen_unless_ignored(SignalKind::hangup())?;
        Ok(Self { hang_up, ..Self::new()? })
    }

    /// Returns when one of the signals arrives.
    pub(super) async fn next(&mut self) {
        let Self { interrupt, terminate, hang_up, used_up, prints_limit, has_terminated } = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => *has_terminated = true,
            () = next_of(hang_up) => {
                *has_terminated = true;
                silence_lost_stderr();
            }
            () = next_of(used_up) => {
                *has_terminated = true;
                // The kernel repeats the signal, and a second signal would cut the output.
                *used_up = None;
                if *prints_limit {
                    eprintln!(
                        "tcpstate: the limit of CPU time is reached, so the run ends\nhelp: raise the limit of CPU time (ulimit -t)"
                    );
                }
            }
        }
    }

    /// Returns whether SIGTERM, SIGHUP or SIGXCPU has arrived. After these signals, the process
    /// must not wait for a slow reader of stdout.
    pub(super) fn has_terminated(&self) -> bool {
        self.has_terminated
    }
}

async fn next_of(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn listen_unless_ignored(kind: SignalKind) -> Result<Option<Signal>> {
    (!is_ignored(kind)).then(|| listen(kind)).transpose()
}

fn is_ignored(kind: SignalKind) -> bool {
    let number = kind.as_raw_value();
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer as the new action changes nothing. The kernel writes the old action to
    // `action`, which is large enough and outlives the call.
    let result = unsafe { libc::sigaction(number, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros are a valid `sigaction`, and the kernel has written another valid one.
    let action = unsafe { action.assume_init() };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Discards further lines on stderr if stderr was a terminal that is lost. Otherwise the next line
/// would make `eprintln!` panic.
fn silence_lost_stderr() {
    if tcgetattr(io::stderr()) == Err(Errno::EIO)
        && let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null")
    {
        // If the descriptor cannot be replaced, the lines are still lost.
        let _ = dup2_stderr(null);
    }
}

/// Ends the process after one of the signals, even if a read or a write on a pipe blocks the run.
/// `restore` restores the modes of the terminal before the end.
pub(super) fn end_if_blocked(restore: impl FnOnce() + Send + 'static) {
    let wait = || {
        runtime()?.block_on(async {
            // The run itself prints that the limit of CPU time is reached.
            Signals { prints_limit: false, ..Signals::of_run()? }.next().await;
            sleep(GRACE).await;
            anyhow::Ok(())
        })
    };
    let guard = move || {
        if wait().is_ok() {
            restore();
            process::exit(0);
        }
    };
    // Without this thread, the signals still end a run that is not blocked.
    let _ = thread::Builder::new().spawn(guard);
}
