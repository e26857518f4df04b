//! The program whose sockets the kernel under test has: a process that follows commands, and that
//! can be killed at any moment.
//!
//! The process is a copy of the test. A command is a line of text, and so is its answer. The text
//! of the commands is also the record of the process's lifetime.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::net::UnixStream,
    },
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};

use super::sockets::Sockets;
use crate::wait::patience;

/// The longest time that a command may take. Commands wait for packets that the test has sent.
const PATIENCE: Duration = Duration::from_secs(20);
/// The descriptor of the commands in the process, the first descriptor after standard error.
const COMMANDS: libc::c_int = 3;

/// A process with sockets. Dropping the value kills the process.
#[derive(Debug)]
pub(super) struct App {
    pid: Pid,
    control: BufReader<UnixStream>,
    is_running: bool,
}

impl App {
    /// Starts the process in the thread's network namespace. The kernel kills the process when the
    /// thread ends.
    ///
    /// # Panics
    /// Panics if the kernel refuses to create the process.
    #[must_use]
    pub(super) fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("there are descriptors left");
        ours.set_read_timeout(Some(patience(PATIENCE))).expect("a socket has timeouts");
        // SAFETY: glibc keeps its allocator usable in the child of a process with threads. The
        // child uses no other lock that another thread of the test may hold.
        match unsafe { fork() }.expect("there may be one more process") {
            ForkResult::Parent { child } => {
                drop(theirs);
                Self { pid: child, control: BufReader::new(ours), is_running: true }
            }
            ForkResult::Child => {
                let code = i32::from(follow(&theirs).is_err());
                // SAFETY: the function `_exit` ends this process immediately. The exit handlers
                // belong to the test, so the child must not run them.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// Makes the process execute a command. Returns the number that the command gives, or the
    /// number of the system's error.
    ///
    /// # Panics
    /// Panics if the process does not answer.
    pub(super) fn run(&mut self, command: &str) -> Result<u64, i32> {
        let mut answer = String::new();
        writeln!(self.control.get_ref(), "{command}").expect("the process runs");
        let read = self.control.read_line(&mut answer);
        let parse = |text: &str| text.trim_end().parse::<u64>().ok();
        match (answer.strip_prefix("ok ").map(parse), answer.strip_prefix("error ").map(parse)) {
            (Some(Some(number)), _) => Ok(number),
            (_, Some(Some(code))) => {
                Err(i32::try_from(code).expect("the kernel's numbers are small"))
            }
            _ => panic!("{command}: {answer:?}: {read:?}"),
        }
    }

    /// Kills the process, and waits until the kernel has closed the process's sockets.
    pub(super) fn kill(&mut self) {
        if std::mem::take(&mut self.is_running) {
            // The process may have ended because of a failure, which `waitpid` does not show.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }

    /// Lets the process exit by itself, and waits until the kernel has closed the process's
    /// sockets.
    pub(super) fn exit(&mut self) {
        if self.is_running {
            let _ = writeln!(self.control.get_ref(), "exit");
            let _ = waitpid(self.pid, None);
            self.is_running = false;
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Executes commands until the test ends the process. The process keeps no descriptor of the test.
fn follow(theirs: &UnixStream) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // SAFETY: `dup2` and `close_range` take only numbers. In this process, no other Rust value uses
    // a descriptor from now on, and the process never runs the destructors of these values.
    let result = unsafe {
        libc::dup2(theirs.as_raw_fd(), COMMANDS)
            | libc::close_range(COMMANDS.cast_unsigned() + 1, libc::c_uint::MAX, 0)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and no other value owns it.
    let mut control = BufReader::new(unsafe { UnixStream::from_raw_fd(COMMANDS) });
    let mut sockets = Sockets::default();
    let mut command = String::new();
    loop {
        command.clear();
        if control.read_line(&mut command)? == 0 || command.trim_end() == "exit" {
            return Ok(());
        }
        match execute(&mut sockets, &command) {
            Ok(number) => writeln!(control.get_ref(), "ok {number}")?,
            Err(error) => {
                writeln!(control.get_ref(), "error {}", error.raw_os_error().unwrap_or(0))?;
            }
        }
    }
}

fn execute(sockets: &mut Sockets, command: &str) -> io::Result<u64> {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let number = |text: &str| text.parse::<u32>().map_err(|_| invalid());
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| invalid());
    match words.as_slice() {
        ["socket", slot, family] => sockets.open(number(slot)?, family == &"6"),
        ["option", slot, name, value] => sockets.set(number(slot)?, name, number(value)?),
        ["bind", slot, to] => sockets.bind(number(slot)?, address(to)?),
        ["listen", slot, backlog] => sockets.listen(number(slot)?, number(backlog)?),
        ["connect", slot, to] => sockets.connect(number(slot)?, address(to)?),
        ["fast-open", slot, to, bytes] => {
            sockets.fast_open(number(slot)?, address(to)?, number(bytes)?)
        }
        ["connected", slot] => sockets.await_connect(number(slot)?),
        ["accept", listener, slot] => sockets.accept(number(listener)?, number(slot)?),
        ["send", slot, bytes] => sockets.send(number(slot)?, number(bytes)?),
        ["receive", slot] => sockets.receive(number(slot)?),
        ["shutdown", slot, how] => sockets.shutdown(number(slot)?, how),
        ["disconnect", slot] => sockets.disconnect(number(slot)?),
        ["port", slot] => sockets.port(number(slot)?),
        ["close", slot] => sockets.close(number(slot)?),
        ["close-all"] => Ok(sockets.close_all()),
        _ => Err(invalid()),
    }
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_follows_commands_until_it_is_killed() {
        let mut app = App::start();
        assert_eq!(app.run("socket 0 4"), Ok(0));
        assert_eq!(app.run("bind 0 127.0.0.1:0"), Ok(0));
        assert_eq!(app.run("listen 0 1"), Ok(0));
        let port = app.run("port 0").expect("the socket is bound");
        assert_eq!(app.run("socket 1 4"), Ok(0));
        assert_eq!(app.run(&format!("connect 1 127.0.0.1:{port}")), Ok(0));
        assert_eq!(app.run("accept 0 2"), Ok(0));
        assert_eq!(app.run("send 1 7"), Ok(7));
        assert_eq!(app.run("receive 2"), Ok(7));
        assert_eq!(app.run("close 9"), Err(libc::EBADF));
        assert_eq!(app.run("dance"), Err(libc::EINVAL));
        app.kill();
        let refused =
            std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).expect("it is a port")));
        assert_eq!(
            refused.expect_err("the listener is gone").raw_os_error(),
            Some(libc::ECONNREFUSED)
        );
    }
}
