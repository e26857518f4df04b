//! Tests `trace` on a terminal: the redrawn screen, its size and colours, and the state of the
//! terminal after the exit.
//!
//! The file is long because all tests share the terminal in which a process runs.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    pty::{Winsize, openpty},
    sys::{
        signal::Signal,
        termios::{LocalFlags, Termios, tcgetattr},
    },
};
use tcpstate_tests::{
    command::{piped, run, signal},
    netns::Namespace,
    traffic::{Family, Listener},
    wait,
};

/// A terminal in which a process runs.
struct Terminal {
    /// The master side of the pseudo-terminal. The test uses this side as a terminal emulator
    /// would.
    master: File,
    /// The slave side of the pseudo-terminal, which the process uses as its terminal. The test
    /// keeps this side open, so that it can examine the terminal after the process has exited.
    slave: Option<OwnedFd>,
    child: Child,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
    /// The modes of the terminal before the process started.
    before: Termios,
}

impl Drop for Terminal {
    /// Kills the process, so that a failed test leaves no running process.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes that the process wrote, and the screen that a terminal shows after it has received
/// these bytes.
struct Seen {
    bytes: Vec<u8>,
    emulator: vt100::Parser,
}

impl Terminal {
    /// Starts the command in a new terminal. Ctrl-C in the terminal interrupts the command.
    fn start(columns: u16, rows: u16, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let command = [&[env!("CARGO_BIN_EXE_tcpstate")], arguments].concat();
        Self::of(columns, rows, environment, &command)
    }

    /// Starts any command in a terminal of this size, with these environment variables.
    fn of(columns: u16, rows: u16, environment: &[(&str, &str)], command: &[&str]) -> Self {
        let pair = openpty(&winsize(columns, rows), None).expect("a pseudo-terminal can be opened");
        for side in [&pair.master, &pair.slave] {
            // Close the two descriptors on exec, so that the process does not keep both sides of
            // its terminal open.
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("it is open");
        }
        let before = tcgetattr(&pair.slave).expect("it is a terminal");
        let side = || pair.slave.try_clone().expect("a descriptor can be duplicated");
        // setsid(1) makes the terminal the controlling terminal and then executes the command.
        let child = Command::new("setsid")
            .arg("--ctty")
            .args(command)
            .env_remove("NO_COLOR")
            .env_remove("LC_ALL")
            .env_remove("LC_CTYPE")
            .envs([("TERM", "xterm-256color"), ("LANG", "C.UTF-8")])
            .envs(environment.iter().copied())
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("setsid starts");
        let emulator = vt100::Parser::new(rows, columns, 1000);
        let seen = Arc::new(Mutex::new(Seen { bytes: Vec::new(), emulator }));
        let master = File::from(pair.master);
        let mut output = master.try_clone().expect("a descriptor can be duplicated");
        let written = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails when no process has the other side of the terminal open any more.
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let mut seen = written.lock().expect("no thread panics with the lock");
                seen.bytes.extend_from_slice(&bytes[..length]);
                seen.emulator.process(&bytes[..length]);
            }
        });
        Self { master, slave: Some(pair.slave), child, seen, reader: Some(reader), before }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no thread panics with the lock")
    }

    fn contents(&self) -> String {
        self.seen().emulator.screen().contents()
    }

    /// Returns the index and the words of the first line that begins with a label.
    fn row(&self, label: &str) -> Option<(usize, Vec<String>)> {
        let contents = self.contents();
        let (index, line) =
            contents.lines().enumerate().find(|(_, line)| line.starts_with(label))?;
        Some((index, line.split_whitespace().map(str::to_owned).collect()))
    }

    fn await_established(&self, sockets: &str) -> usize {
        let now = || self.row("ESTABLISHED").and_then(|(_, words)| words.get(1).cloned());
        wait::until_equal("the gauge on the screen", &Some(sockets.to_owned()), now);
        self.row("ESTABLISHED").expect("it is there").0
    }

    /// Returns the lines that were scrolled off the screen.
    fn scrolled_away(&self) -> String {
        let mut seen = self.seen();
        let screen = seen.emulator.screen_mut();
        screen.set_scrollback(usize::MAX);
        let lines = screen.scrollback();
        let above = screen.contents().lines().take(lines).collect::<String>();
        screen.set_scrollback(0);
        above
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.seen().emulator.screen_mut().set_size(rows, columns);
        let size = winsize(columns, rows);
        // SAFETY: TIOCSWINSZ reads one winsize from the address, and `size` is a winsize that
        // outlives the call.
        let result =
            unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(Errno::result(result), Ok(0));
    }

    fn modes(&self) -> Termios {
        tcgetattr(self.slave.as_ref().expect("it is open until the end")).expect("it is a terminal")
    }

    /// Waits until the process exits. Returns the exit status and the output of the process, and
    /// the final screen.
    fn end(mut self) -> (ExitStatus, Seen) {
        let status = self.child.wait().expect("it ends");
        self.slave = None;
        let reader = self.reader.take().expect("end is called once");
        reader.join().expect("the reader does not panic");
        let seen = Arc::clone(&self.seen);
        drop(self);
        let seen = Arc::into_inner(seen).expect("the reader is gone");
        (status, seen.into_inner().expect("no thread panics with the lock"))
    }
}

fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

#[test]
fn terminal_is_redrawn_in_place() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let _before = listener.pairs(7);
    let mut terminal = Terminal::start(80, 24, &[], &["trace", "-i", "100ms"]);
    let row = terminal.await_established("14");
    wait::until("the first interval", || terminal.contents().contains("exact  missed 0"));
    let _during = listener.pairs(5);
    assert_eq!(terminal.await_established("24"), row);
    let sparkline = terminal.row("ESTABLISHED").and_then(|(_, words)| words.get(4).cloned());
    assert!(
        sparkline.as_ref().is_some_and(|line| line.starts_with('▆') && line.ends_with('█')),
        "{sparkline:?}"
    );
    assert!(terminal.seen().bytes.windows(5).any(|bytes| bytes == b"\x1b[32m"), "no colour");
    // Only the empty lines before the first frame may be scrolled off the screen. No line of a
    // frame may be scrolled off.
    assert_eq!(terminal.scrolled_away(), "");
    terminal.master.write_all(b"\x03").expect("Ctrl-C can be typed");
    assert!(terminal.end().0.success());
}

#[test]
fn terminal_is_redrawn_at_once_after_a_resize() {
    let _namespace = Namespace::enter();
    // The interval is longer than the test, so no interval ends.
    let terminal = Terminal::start(80, 24, &[], &["trace", "-i", "1h"]);
    wait::until("the screen", || terminal.contents().contains("rates come"));
    for (columns, rows, shown, hidden) in [
        (60, 15, "  HISTORY", "\u{2581}"),
        (40, 10, "ENTERED/s", "LEFT/s"),
        (20, 6, "ESTABLISHED", "ENTERED/s"),
        (200, 50, "tcpstate", "ENTERED/s\n"),
    ] {
        terminal.resize(columns, rows);
        wait::until(&format!("{columns}x{rows}"), || {
            let contents = terminal.contents();
            contents.contains(shown) && !contents.contains(hidden)
        });
    }
    signal(&terminal.child, Signal::SIGTERM);
    assert!(terminal.end().0.success());
}

#[test]
fn terminal_is_restored_on_ctrl_c_and_sigterm() {
    let _namespace = Namespace::enter();
    for by_key in [true, false] {
        let mut terminal = Terminal::start(80, 60, &[], &["trace", "-i", "100ms"]);
        let before = terminal.before.clone();
        wait::until("a frame", || terminal.contents().contains("exact  missed"));
        if by_key {
            terminal.master.write_all(b"\x03").expect("Ctrl-C can be typed");
        } else {
            signal(&terminal.child, Signal::SIGTERM);
        }
        wait::until("the summary", || terminal.contents().starts_with("tcpstate trace: "));
        assert_eq!(terminal.modes(), before, "by key: {by_key}");
        let (status, seen) = terminal.end();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "by key: {by_key}");
        let screen = seen.emulator.screen();
        assert!(
            screen.contents().contains("STATE           START       END"),
            "{}",
            screen.contents()
        );
        assert!(!screen.contents().contains("HISTORY"), "{}", screen.contents());
        assert!(!screen.hide_cursor() && !screen.alternate_screen() && !screen.bracketed_paste());
        assert!(!screen.application_cursor() && !screen.application_keypad());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert_eq!(screen.cursor_position().1, 0, "the shell's prompt begins a line");
        let text = String::from_utf8(seen.bytes).expect("it is UTF-8");
        assert_eq!(text.matches("\x1b[?2026h").count(), text.matches("\x1b[?2026l").count());
    }
}

#[test]
fn terminal_without_colours_or_cursor_control_gets_plain_text() {
    let _namespace = Namespace::enter();
    let arguments = ["trace", "-i", "50ms", "-n", "2"];
    let written = |variable| {
        let (status, seen) = Terminal::start(80, 24, &[variable], &arguments).end();
        assert!(status.success(), "{status}");
        String::from_utf8(seen.bytes).expect("it is UTF-8")
    };
    let colourless = written(("NO_COLOR", "1"));
    let ends = |sequence: &str| sequence.chars().find(char::is_ascii_alphabetic);
    let colours = colourless.split("\x1b[").skip(1).filter(|sequence| ends(sequence) == Some('m'));
    assert_eq!(colours.count(), 0, "{colourless:?}");
    assert!(colourless.contains("\x1b[H"), "{colourless:?}");
    for plain in [written(("TERM", "dumb")), written(("TERM", ""))] {
        assert!(!plain.contains('\x1b'), "{plain:?}");
        assert_eq!(plain.matches("STATE                    NOW").count(), 2, "{plain}");
    }
    let ascii = written(("LANG", "C"));
    assert!(ascii.is_ascii(), "{ascii:?}");
}

#[test]
fn terminal_keys_quit_and_show_help() {
    let _namespace = Namespace::enter();
    let mut terminal = Terminal::start(80, 60, &[], &["trace", "-i", "1h"]);
    wait::until("the screen", || terminal.contents().contains("rates come"));
    wait::until("keys without echo", || !terminal.modes().local_flags.contains(LocalFlags::ECHO));
    terminal.master.write_all(b"x?").expect("keys can be typed");
    wait::until("the line of help", || terminal.contents().contains("q: quit"));
    terminal.master.write_all(b"?").expect("keys can be typed");
    wait::until("no line of help", || !terminal.contents().contains("q: quit"));
    assert!(terminal.contents().contains("ESTABLISHED"), "{}", terminal.contents());
    terminal.master.write_all(b"q").expect("keys can be typed");
    wait::until("the modes", || terminal.modes().local_flags.contains(LocalFlags::ECHO));
    let (status, seen) = terminal.end();
    assert!(status.success(), "{status}");
    assert!(seen.emulator.screen().contents().contains("tcpstate trace: "));
}

#[test]
fn terminal_modes_are_restored_when_the_run_stops_or_ends() {
    let _namespace = Namespace::enter();
    for ending in [Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGTSTP] {
        let terminal = Terminal::start(80, 24, &[], &["trace", "-i", "100ms"]);
        let has_echo = || terminal.modes().local_flags.contains(LocalFlags::ECHO);
        wait::until("keys without echo", || !has_echo());
        signal(&terminal.child, ending);
        wait::until(&format!("echo after {ending}"), has_echo);
        if ending == Signal::SIGTSTP {
            signal(&terminal.child, Signal::SIGCONT);
            wait::until("keys without echo again", || !has_echo());
            signal(&terminal.child, Signal::SIGTERM);
            wait::until("echo at the end", has_echo);
        }
        let (status, _) = terminal.end();
        let expected = if ending == Signal::SIGQUIT { Some(ending as i32) } else { None };
        assert_eq!(status.signal(), expected, "{status}");
    }
}

#[test]
fn terminal_is_not_read_from_the_background() {
    let _namespace = Namespace::enter();
    let program = env!("CARGO_BIN_EXE_tcpstate");
    let line = format!("set -m; {program} trace -i 50ms -n 3 & wait $!; echo status-$?");
    let terminal = Terminal::of(80, 24, &[], &["bash", "-c", &line]);
    wait::until("the end", || terminal.contents().contains("status-0"));
    assert!(terminal.end().0.success());
}

#[test]
fn terminal_is_not_painted_from_the_background() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let recording = folder.path().join("run.tcps");
    let script = format!(
        "set -m; {} trace -i 50ms --record {file} & trap 'kill %1' EXIT; \
         until [ \"$(stat -c %s {file} 2>/dev/null)\" -gt 4000 ] 2>/dev/null; do sleep 0.05; done; \
         echo the-shell; read line; fg; true",
        env!("CARGO_BIN_EXE_tcpstate"),
        file = recording.display(),
    );
    let mut terminal = Terminal::of(80, 24, &[], &["bash", "-c", &script]);
    // The recording has several snapshots when the shell writes its text.
    wait::until("the text of the shell", || terminal.contents().contains("the-shell"));
    let contents = terminal.contents();
    assert!(!contents.contains("ESTABLISHED"), "{contents}");
    assert!(!terminal.seen().bytes.windows(3).any(|bytes| bytes == b"\x1b[H"), "{contents}");
    // In the foreground, the run paints below the text of the shell.
    terminal.master.write_all(b"\n").expect("the terminal is open");
    wait::until("a frame", || terminal.row("ESTABLISHED").is_some());
    assert!(terminal.scrolled_away().contains("the-shell"), "the text is scrolled away");
    wait::until("keys without echo", || !terminal.modes().local_flags.contains(LocalFlags::ECHO));
    terminal.master.write_all(b"q").expect("the terminal is open");
    assert!(terminal.end().0.success());
}

#[test]
fn terminal_that_is_lost_ends_the_run_cleanly() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let program = env!("CARGO_BIN_EXE_tcpstate");
    // The first run writes to the terminal, and the second run writes to a file.
    for lines in [None, Some(file("lines"))] {
        let recording = file(if lines.is_some() { "file.tcps" } else { "terminal.tcps" });
        let mut script = format!("exec {program} trace -i 50ms --record {recording}");
        if let Some(lines) = &lines {
            script = format!("{script} -o json > {lines}");
        }
        let pair = openpty(&winsize(80, 24), None).expect("a pseudo-terminal can be opened");
        for side in [&pair.master, &pair.slave] {
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("it is open");
        }
        let side = || pair.slave.try_clone().expect("a descriptor can be duplicated");
        // A test command under nohup ignores SIGHUP, and its children would ignore it too.
        let mut child = Command::new("env")
            .args(["--default-signal=HUP", "setsid", "--ctty", "sh", "-c", &script])
            .env("TERM", "xterm")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("setsid starts");
        wait::until("a recording", || {
            std::fs::metadata(&recording).is_ok_and(|metadata| metadata.len() > 1000)
        });
        // The kernel sends SIGHUP when the last descriptor of the master side is closed.
        drop(pair);
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        let replay = ["trace", "-o", "json", "--replay", &recording];
        let replayed = run(&mut piped(program, &replay));
        assert_eq!((replayed.status, replayed.stderr.as_str()), (Some(0), ""));
        let end = replayed.stdout.lines().last().unwrap_or_default();
        assert!(end.contains("\"type\":\"end\""), "{end}");
        if let Some(lines) = lines {
            let lines = std::fs::read_to_string(lines).expect("it is text");
            assert_eq!(lines.lines().last(), Some(end));
        }
    }
}

#[test]
fn terminal_has_the_color_that_is_asked_for() {
    let _namespace = Namespace::enter();
    let is_coloured = |environment: &[(&str, &str)], arguments: &[&str]| {
        let (_, seen) = Terminal::start(80, 24, environment, arguments).end();
        let text = String::from_utf8(seen.bytes).expect("it is UTF-8");
        text.split("\x1b[")
            .skip(1)
            .any(|sequence| sequence.chars().find(char::is_ascii_alphabetic) == Some('m'))
    };
    for (when, no_color, expected) in
        [("auto", "", true), ("auto", "1", false), ("always", "1", true), ("never", "", false)]
    {
        let environment = [("NO_COLOR", no_color)];
        for command in [&["trace", "-n", "2", "-i", "50ms"][..], &["explain", "LISTEN"]] {
            let arguments = [command, &["--color", when]].concat();
            let found = is_coloured(&environment, &arguments);
            assert_eq!(found, expected, "{arguments:?} NO_COLOR={no_color}");
        }
        assert_eq!(
            is_coloured(&environment, &["trace", "-h", "--color", when]),
            expected,
            "{when}"
        );
    }
}

#[test]
fn terminal_color_in_a_pipe_is_only_on_demand() {
    let explain = |when| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
        run(command.args(["explain", "LISTEN", "--color", when]).env("TERM", "xterm")).stdout
    };
    assert!(explain("always").contains("\x1b[1m"));
    assert!(!explain("auto").contains('\x1b') && !explain("never").contains('\x1b'));
}
