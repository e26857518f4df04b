//! Runs the commands of a document as a reader would type them: one after the other, in a shell on
//! a terminal of 80 columns.

use std::{
    fs::{self, File, Permissions},
    io::Read as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, SetArg, tcgetattr, tcsetattr},
    },
    unistd::{Pid, getsid},
};
use tcpstate_tests::wait::patience;
use tempfile::TempDir;

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// The maximum duration of a command. A command that runs longer is interrupted.
const PATIENCE: Duration = Duration::from_secs(20);
/// If a command still runs this long after its output was complete, the command is interrupted.
const ENOUGH: Duration = Duration::from_secs(3);
/// A command that ends by itself, possibly long after it has printed its complete output. A slow
/// command is not interrupted after [`ENOUGH`].
const SLOW: &str = "tcpstate check";
/// Commands that exit with status 1 if they find a problem. For these commands, status 1 does not
/// mean an error.
const FINDERS: [&str; 2] = ["tcpstate check", "tcpstate doctor"];

/// The control sequence at the start of each screen frame.
const HOME: &[u8] = b"\x1b[H";

/// A temporary folder in which commands run. The folder contains `tcpstate` and the files that
/// earlier commands wrote.
#[derive(Debug)]
pub(crate) struct Desk(TempDir);

/// The output and the exit status of commands that ran in a terminal.
#[derive(Debug)]
pub(crate) struct Typed {
    /// The output of the commands, without colours and other control sequences.
    pub(crate) output: String,
    /// Whether a command drew a full screen. If the command drew a full screen, `output` contains
    /// the frames one after the other.
    pub(crate) is_screen: bool,
    /// Whether the commands exited before the test would have interrupted them.
    pub(crate) is_whole: bool,
    /// The exit status of the shell.
    pub(crate) status: Option<i32>,
}

impl Desk {
    /// Creates the folder. The `sudo` in this folder only runs its arguments, because the tests
    /// already run as root. The `cargo` in this folder does nothing, because the program is already
    /// built.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let inside = |path: &str| folder.path().join(path);
        for path in ["bin", "target/release", "installed"] {
            fs::create_dir_all(inside(path)).expect("the test owns the folder");
        }
        for path in ["bin/tcpstate", "target/release/tcpstate"] {
            symlink(TCPSTATE, inside(path)).expect("the test owns the folder");
        }
        for (path, script) in
            [("bin/sudo", "#!/bin/sh\nexec \"$@\"\n"), ("bin/cargo", "#!/bin/sh\n")]
        {
            fs::write(inside(path), script).expect("the test owns the folder");
            fs::set_permissions(inside(path), Permissions::from_mode(0o755))
                .expect("the test owns it");
        }
        Self(folder)
    }

    /// Writes a file into the folder, for commands that read it.
    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.0.path().join(name), content).expect("the test owns the folder");
    }

    /// Runs commands and waits for their exit. If the commands still run after `is_enough` accepted
    /// their output, this function interrupts the commands.
    pub(crate) fn run(&self, commands: &str, is_enough: impl Fn(&str) -> bool) -> Typed {
        let mut terminal = Terminal::start(self, commands);
        let began = Instant::now();
        let mut enough_since = None;
        let is_whole = loop {
            if terminal.child.try_wait().expect("this process started it").is_some() {
                break true;
            }
            if enough_since.is_none() && is_enough(&terminal.output()) {
                enough_since = Some(Instant::now());
            }
            let is_slow = commands.contains(SLOW);
            let has_had_enough =
                !is_slow && enough_since.is_some_and(|since: Instant| since.elapsed() > ENOUGH);
            if has_had_enough || began.elapsed() > patience(PATIENCE) {
                terminal.interrupt();
                break false;
            }
            thread::sleep(Duration::from_millis(50));
        };
        terminal.end(is_whole)
    }
}

impl Typed {
    /// Whether the commands ended without an error and printed no error message.
    pub(crate) fn is_good(&self, commands: &str) -> bool {
        let may_find = FINDERS.iter().any(|finder| commands.contains(finder));
        let is_done = self.status == Some(0) || may_find && self.status == Some(1);
        let words = ["error:", "panicked", "not found"];
        is_done && !words.iter().any(|word| self.output.contains(word))
    }
}

/// A terminal in which a shell runs.
struct Terminal {
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    fn start(desk: &Desk, commands: &str) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a pseudo-terminal can be opened");
        for descriptor in [&pair.master, &pair.slave] {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("it is open");
        }
        let mut modes = tcgetattr(&pair.slave).expect("it is a terminal");
        modes.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &modes).expect("the test owns it");
        let descriptor = || pair.slave.try_clone().expect("a descriptor can be duplicated");
        let folder = desk.0.path();
        let path = std::env::var("PATH").expect("PATH is set");
        let installed = folder.join("installed").display().to_string();
        let commands = commands.replace("/usr/local/bin", &installed);
        // setsid(1) makes this terminal the controlling terminal of the shell.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", "sh", "-c", &commands])
            .current_dir(folder)
            .env_remove("LC_ALL")
            .env("PATH", format!("{}:{path}", folder.join("bin").display()))
            .envs([("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("NO_COLOR", "1")])
            .stdin(descriptor())
            .stdout(descriptor())
            .stderr(descriptor())
            .spawn()
            .expect("setsid starts");
        // Read the side of the terminal that a terminal emulator would read.
        let mut output = File::from(pair.master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails when no process has the other side of the terminal open any more.
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                written.lock().expect("no thread panics with the lock").extend(&bytes[..length]);
            }
        });
        Self { child, seen, reader }
    }

    /// Sends SIGINT to tcpstate, as Ctrl-C does, but not to programs that read the output of
    /// tcpstate.
    fn interrupt(&self) {
        let session = Some(Pid::from_raw(self.child.id().cast_signed()));
        let entries = fs::read_dir("/proc").expect("procfs is mounted").flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            let is_ours = getsid(Some(Pid::from_raw(pid))).ok() == session;
            let program = fs::read_link(format!("/proc/{pid}/exe"));
            if is_ours && program.is_ok_and(|program| program == Path::new(TCPSTATE)) {
                // Ignore errors of kill, because the process may have ended already.
                _ = kill(Pid::from_raw(pid), Signal::SIGINT);
            }
        }
    }

    fn output(&self) -> String {
        text(&self.seen.lock().expect("no thread panics with the lock"))
    }

    fn end(mut self, is_whole: bool) -> Typed {
        let status = self.child.wait().expect("it ends");
        self.reader.join().expect("the reader does not panic");
        let seen = self.seen.lock().expect("no thread panics with the lock");
        let is_screen = seen.windows(HOME.len()).any(|bytes| bytes == HOME);
        Typed { output: text(&seen), is_screen, is_whole, status: status.code() }
    }
}

/// Removes control sequences, such as `ESC [ 2 K`, from terminal output. If a program overwrote a
/// line, the result contains only the last text of the line.
pub(crate) fn text(bytes: &[u8]) -> String {
    let written = String::from_utf8_lossy(bytes);
    let mut parts = written.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    let plain = parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or("")
    });
    let lines = plain.split('\n').map(|line| {
        let line = line.trim_end_matches('\r');
        line.rsplit_once('\r').map_or(line, |(_, last)| last)
    });
    lines.collect::<Vec<_>>().join("\n")
}
