//! The keys of a screen: `q` ends the run, `?` shows a line of help.
//!
//! While keys are read, the terminal delivers each key at once and does not echo it. Ctrl-C and
//! Ctrl-Z still send signals. The modes are restored before the process stops, ends or panics. A
//! process in the background neither reads the terminal nor changes its modes, because either
//! action would stop the process.

use std::{
    fs::{File, OpenOptions},
    future::pending,
    io::{self, IsTerminal as _, Read as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use anyhow::Result;
use nix::{
    sys::{
        signal::{self, SigHandler},
        termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr},
    },
    unistd::{Pid, getpgrp, tcgetpgrp},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind},
};

use super::{signals::listen, terminal};
use crate::{
    report::{Event, Report},
    view::View,
};

/// The line that `?` shows and hides.
const HELP: &str = "q: quit   ?: hide this line   Ctrl-Z: suspend   tcpstate trace -h: all flags";

/// A key that a screen handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Help,
    /// No key: the process continues after it was stopped.
    Resumed,
}

impl Key {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            b'q' | b'Q' => Some(Self::Quit),
            b'?' => Some(Self::Help),
            _ => None,
        }
    }
}

/// The keyboard of a screen. `keyboard` is `None` if there is no screen, or if stdin is not a
/// terminal.
pub(super) struct Keys {
    keyboard: Option<Keyboard>,
    /// Whether the line of help is shown.
    help: Arc<AtomicBool>,
}

struct Keyboard {
    /// The terminal has a separate file description, so that `O_NONBLOCK` affects no other process.
    terminal: AsyncFd<Modes>,
    suspend: Signal,
    resume: Signal,
    quit: Signal,
}

impl Keys {
    /// Starts to read keys, if there is a screen.
    pub(super) fn start(has_screen: bool) -> Result<Self> {
        if !has_screen || !io::stdin().is_terminal() {
            return Ok(Self::none());
        }
        let terminal =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/tty");
        // If the keyboard cannot be used, the screen works without keys.
        let Some(modes) = terminal.ok().and_then(Modes::of) else { return Ok(Self::none()) };
        // SAFETY: `Modes` owns the descriptor, keeps it open as long as it lives, and never
        // replaces it.
        let registered = unsafe { AsyncFd::register_with_interest(modes, Interest::READABLE) };
        let Ok(terminal) = registered else { return Ok(Self::none()) };
        let mut keyboard = Keyboard {
            suspend: listen(SignalKind::from_raw(libc::SIGTSTP))?,
            resume: listen(SignalKind::from_raw(libc::SIGCONT))?,
            quit: listen(SignalKind::quit())?,
            terminal,
        };
        keyboard.terminal.get_mut().change();
        Ok(Self { keyboard: Some(keyboard), ..Self::none() })
    }

    /// Returns a keyboard without keys.
    pub(super) fn none() -> Self {
        Self { keyboard: None, help: Arc::default() }
    }

    /// Adds a line of help to a view. [`toggle_help`](Self::toggle_help) shows and hides this line.
    pub(super) fn with_help(&self, view: Box<dyn View + Send>) -> Box<dyn View + Send> {
        match self.keyboard {
            None => view,
            Some(_) => Box::new(WithHelp { view, is_wanted: self.help.clone(), is_shown: false }),
        }
    }

    pub(super) fn toggle_help(&self) {
        self.help.fetch_xor(true, Relaxed);
    }

    /// Returns the next key. Safe to cancel.
    pub(super) async fn next(&mut self) -> Key {
        match &mut self.keyboard {
            Some(keyboard) => keyboard.next().await,
            None => pending().await,
        }
    }
}

impl Keyboard {
    async fn next(&mut self) -> Key {
        // A shell does not always send SIGCONT when it moves a process to the foreground.
        self.terminal.get_mut().change();
        loop {
            tokio::select! {
                biased;
                _ = self.suspend.recv() => {
                    self.terminal.get_mut().restore();
                    // The process is stopped by this call until SIGCONT arrives.
                    let _ = signal::kill(Pid::this(), signal::Signal::SIGSTOP);
                    self.terminal.get_mut().change();
                }
                _ = self.resume.recv() => {
                    self.terminal.get_mut().change();
                    return Key::Resumed;
                }
                _ = self.quit.recv() => {
                    self.terminal.get_mut().restore();
                    end_by(signal::Signal::SIGQUIT);
                }
                bytes = read(&self.terminal) => {
                    if let Some(key) = bytes.into_iter().find_map(Key::of) {
                        return key;
                    }
                }
            }
        }
    }
}

/// Returns a function that restores the modes that the terminal has now, if there is a screen.
pub(super) fn restorer(has_screen: bool) -> impl FnOnce() + Send + 'static {
    let terminal = || OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open("/dev/tty");
    let modes = has_screen.then(terminal).and_then(Result::ok).and_then(Modes::of);
    move || {
        if let Some(mut modes) = modes {
            modes.is_changed = true;
            modes.restore();
        }
    }
}

/// Reads the typed bytes. If the terminal is closed, this function never returns.
async fn read(terminal: &AsyncFd<Modes>) -> Vec<u8> {
    let mut bytes = [0; 64];
    loop {
        let Ok(mut ready) = terminal.readable().await else { return pending().await };
        // A lost terminal is always ready, so a further wait would return at once again and again.
        if terminal.get_ref().is_lost() {
            return pending().await;
        }
        if !terminal.get_ref().is_foreground() {
            ready.clear_ready();
            continue;
        }
        match ready.try_io(|terminal| (&terminal.get_ref().terminal).read(&mut bytes)) {
            Ok(Ok(0) | Err(_)) => return pending().await,
            Ok(Ok(length)) => return bytes[..length].to_vec(),
            // The terminal has no input yet, so the loop waits again.
            Err(_) => {}
        }
    }
}

/// Ends this process with the default action of the signal.
fn end_by(signal: signal::Signal) {
    // SAFETY: the new signal action is the default action, which runs no code of this process.
    if unsafe { signal::signal(signal, SigHandler::SigDfl) }.is_ok() {
        let _ = signal::raise(signal);
    }
}

/// The terminal, and its modes before this process changed them.
struct Modes {
    terminal: File,
    before: Termios,
    is_changed: bool,
}

impl Modes {
    fn of(terminal: File) -> Option<Self> {
        let before = tcgetattr(&terminal).ok()?;
        Some(Self { terminal, before, is_changed: false })
    }

    fn is_lost(&self) -> bool {
        tcgetpgrp(&self.terminal).is_err()
    }

    fn is_foreground(&self) -> bool {
        tcgetpgrp(&self.terminal).is_ok_and(|group| group == getpgrp())
    }

    /// Disables line buffering and echo, if this process is in the foreground.
    fn change(&mut self) {
        if self.is_changed || !self.is_foreground() {
            return;
        }
        // The shell may have changed the modes while this process was stopped.
        let Ok(before) = tcgetattr(&self.terminal) else { return };
        let mut modes = before.clone();
        modes.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        self.before = before;
        self.is_changed = tcsetattr(&self.terminal, SetArg::TCSANOW, &modes).is_ok();
    }

    fn restore(&mut self) {
        if std::mem::take(&mut self.is_changed) && self.is_foreground() {
            let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        }
    }
}

impl Drop for Modes {
    /// Restores the modes, also on a panic.
    fn drop(&mut self) {
        self.restore();
    }
}

impl std::os::fd::AsRawFd for Modes {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.terminal.as_raw_fd()
    }
}

/// Writes the line of help below each frame. A frame leaves the last line of the terminal free.
struct WithHelp {
    view: Box<dyn View + Send>,
    is_wanted: Arc<AtomicBool>,
    is_shown: bool,
}

impl WithHelp {
    fn write_line(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let is_wanted = self.is_wanted.load(Relaxed);
        if !is_wanted && !self.is_shown {
            return Ok(());
        }
        self.is_shown = is_wanted;
        let size = terminal::size();
        let line: String =
            if is_wanted { HELP } else { "" }.chars().take(size.columns.into()).collect();
        // After the line is written, the cursor returns to the end of the frame.
        write!(out, "\x1b7\x1b[{};1H{line}\x1b[K\x1b8", size.rows)
    }
}

impl View for WithHelp {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        self.view.show(report, out)?;
        if matches!(report, Report::End(_)) { Ok(()) } else { self.write_line(out) }
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        self.view.show_events(events, out)
    }

    fn redraw(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.view.redraw(out)?;
        self.write_line(out)
    }
}
