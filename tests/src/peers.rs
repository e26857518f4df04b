//! What people use today: other programs that trace the same tracepoint, side by side with ours, and the line of shell
//! that counts.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Seek as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    audit::mount_tracefs,
    command::bound_to_us,
    measure::{RunTime, processor_time},
};

/// Python programs take long to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nobody listens there.
const REFUSED: u16 = 1;
/// What counts the transitions, where one can write programs.
const ONE_LINER: &str =
    "tracepoint:sock:inet_sock_set_state { @[args->oldstate, args->newstate] = count(); }";

/// What tables call the line of shell that counts sockets by state.
pub const SS: &str = "ss -tan | awk";

/// That line. It prints `ESTAB 4711`.
#[must_use]
pub fn ss() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ss -tan | awk '{++s[$1]} END {for (state in s) print state, s[state]}'"]);
    command
}

/// Another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Counts each pair of states.
    Bpftrace,
    /// Of bcc's libbpf-tools: prints each transition.
    Tcpstates,
    /// Of bcc's tools in Python: the same, compiled at its start.
    TcpstatesBcc,
}

impl Peer {
    /// In the order of tables.
    pub const ALL: [Self; 3] = [Self::Bpftrace, Self::Tcpstates, Self::TcpstatesBcc];

    /// What tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bpftrace => "bpftrace, count()",
            Self::Tcpstates => "tcpstates (libbpf-tools)",
            Self::TcpstatesBcc => "tcpstates (bcc)",
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Bpftrace => {
                let mut command = Command::new("bpftrace");
                command.args(["-e", ONE_LINER]);
                command
            }
            Self::Tcpstates => Command::new("tcpstates"),
            Self::TcpstatesBcc => Command::new("tcpstates-bpfcc"),
        }
    }

    /// Starts it, and waits until it sees transitions. Its output goes to a file.
    ///
    /// # Errors
    /// Why it can't be had here: not installed, or its own words.
    ///
    /// # Panics
    /// Without root.
    pub fn start(self) -> Result<Running, String> {
        let _stats = enable_stats(Stats::RunTime).expect("root may have the kernel count run time");
        // By which peers find tracepoints.
        mount_tracefs();
        let output = tempfile::tempfile().expect("there is room for a file");
        let errors = tempfile::NamedTempFile::new().expect("there is room for a file");
        let child = bound_to_us(&mut self.command())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("files can be shared"))
            .stderr(errors.reopen().expect("it was just made"))
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => "not installed".to_owned(),
                _ => error.to_string(),
            })?;
        let mut running = Running { child, programs: Vec::new(), output };
        let began = Instant::now();
        loop {
            if let Some(status) = running.child.try_wait().expect("it is our child") {
                let said = fs::read_to_string(errors.path()).unwrap_or_default();
                // The end of a traceback says less than what came before it.
                let words = said.lines().take_while(|line| !line.starts_with("Traceback"));
                let last = words.filter(|line| !line.trim().is_empty()).last();
                let ended = status.code().map_or_else(
                    || format!("ended by signal {:?}", status.signal()),
                    |code| format!("ended with status {code}"),
                );
                return Err(last.map_or(ended, str::to_owned));
            }
            running.programs = running.own_programs();
            refused_connect();
            if running.run_time().runs > 0 {
                return Ok(running);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("saw no transition in {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Two transitions: nobody listens on that port.
fn refused_connect() {
    _ = TcpStream::connect((Ipv4Addr::LOCALHOST, REFUSED));
}

/// Of the load, that is: `… RADDR RPORT OLDSTATE -> NEWSTATE MS`, and not the header.
fn is_transition(line: &str) -> bool {
    let mut from_the_end = line.split_whitespace().rev();
    let port = from_the_end.nth(4).and_then(|port| port.parse().ok());
    port.is_some_and(|port: u16| port != REFUSED)
}

/// A peer at work. Dropped, it is killed, and when the thread ends that started it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Numbers that the kernel gave its programs.
    programs: Vec<u32>,
    output: File,
}

impl Running {
    /// Of its programs in the kernel, since their load, as far as the kernel counted.
    #[must_use]
    pub fn run_time(&self) -> RunTime {
        let all = loaded_programs().filter_map(Result::ok);
        RunTime::of(all.filter(|program| self.programs.contains(&program.id())))
    }

    /// Of the process, so far.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        processor_time(self.child.id())
    }

    /// Ends it as Ctrl-C would, and counts the lines of transitions that it wrote, for tcpstates.
    ///
    /// # Panics
    /// If it can't be waited for.
    #[must_use]
    pub fn stop(mut self) -> u64 {
        let id = Pid::from_raw(self.child.id().cast_signed());
        kill(id, Signal::SIGINT).expect("it is our child");
        self.child.wait().expect("it is our child");
        self.output.rewind().expect("it is a file");
        let lines = BufReader::new(&self.output).lines().map_while(Result::ok);
        lines.filter(|line| is_transition(line)).count() as u64
    }

    /// The kernel says of each descriptor of a program which one it is.
    fn own_programs(&self) -> Vec<u32> {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        let mut ids: Vec<u32> = texts
            .filter_map(|text| {
                text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
            })
            .collect();
        // A link names its program too.
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_load_are_told_from_others() {
        let line = |port: u16| {
            format!(
                "ffff888102e240c0 13620   a b        127.0.0.1       0     127.0.0.1       {port:<5} CLOSE       -> SYN_SENT    0.000"
            )
        };
        assert!(is_transition(&line(4711)));
        assert!(!is_transition(&line(REFUSED)));
        let header = "SKADDR PID COMM LADDR LPORT RADDR RPORT OLDSTATE    -> NEWSTATE    MS";
        assert!(!is_transition(header));
    }
}
