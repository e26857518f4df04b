//! Programs that are compared with tcpstate: tracers of the same tracepoint, and a shell command
//! that counts sockets.

use std::{
    collections::BTreeMap,
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
use nix::sys::signal::Signal;

use tcpstate_common::State;

use crate::{
    audit::mount_tracefs,
    command::{bound_to_us, signal},
    measure::{RunTime, processor_time},
    truth::Counts,
};

/// The maximum time in which a program must start. Programs in Python need a long time to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// A port without a listener.
const REFUSED: u16 = 1;
/// The bpftrace program that counts transitions.
const ONE_LINER: &str =
    "tracepoint:sock:inet_sock_set_state { @[args->oldstate, args->newstate] = count(); }";

/// The name of the shell command in tables.
pub const SS: &str = "ss -tan | awk";

/// The shell command, which prints lines such as `ESTAB 4711`.
#[must_use]
pub fn ss() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ss -tan | awk '{++s[$1]} END {for (state in s) print state, s[state]}'"]);
    command
}

/// A program that is compared with tcpstate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// bpftrace, which counts each pair of states.
    Bpftrace,
    /// `tcpstates` of bcc's libbpf-tools, which prints each transition.
    Tcpstates,
    /// `tcpstates` of bcc's tools in Python, which prints each transition. This tool compiles its
    /// BPF program at its start.
    TcpstatesBcc,
    /// `tcplife` of bcc's libbpf-tools, which prints each connection at its end.
    Tcplife,
}

impl Peer {
    /// All peers, in the order of the tables.
    pub const ALL: [Self; 4] = [Self::Bpftrace, Self::Tcpstates, Self::TcpstatesBcc, Self::Tcplife];

    /// The name of the peer in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bpftrace => "bpftrace, count()",
            Self::Tcpstates => "tcpstates (libbpf-tools)",
            Self::TcpstatesBcc => "tcpstates (bcc)",
            Self::Tcplife => "tcplife (libbpf-tools)",
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
            Self::Tcplife => Command::new("tcplife"),
        }
    }

    /// Starts the peer, and waits until it reports transitions. The output of the peer goes to a
    /// file.
    ///
    /// # Errors
    /// Returns why the peer is not available: the peer is not installed, or printed an error
    /// message.
    ///
    /// # Panics
    /// Panics if the caller is not root.
    pub fn start(self) -> Result<Running, String> {
        let _stats = enable_stats(Stats::RunTime).expect("root may have the kernel count run time");
        // Peers find tracepoints in tracefs.
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
        let mut running = Running { peer: self, child, programs: Vec::new(), output };
        let began = Instant::now();
        loop {
            if let Some(status) = running.child.try_wait().expect("it is our child") {
                let said = fs::read_to_string(errors.path()).unwrap_or_default();
                // The lines before a traceback are more useful than the last line of the traceback.
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

/// Makes two transitions: a connect to a port without a listener.
fn refused_connect() {
    _ = TcpStream::connect((Ipv4Addr::LOCALHOST, REFUSED));
}

/// The number of transitions that a peer reported, for each pair of states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(BTreeMap<[State; 2], u64>);

impl Pairs {
    /// The number of all transitions.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Computes gauges from the peer's transitions, and returns the sum of the errors of all
    /// gauges, in sockets. A gauge is the number of entries minus the number of exits. A listener
    /// stays in LISTEN when its child is born, so the pair LISTEN -> SYN_RECV is not an exit from
    /// LISTEN.
    #[must_use]
    pub fn gauges_off_by(&self, truth: &Counts) -> u64 {
        let sum = |matches: &dyn Fn(&[State; 2]) -> bool| -> u64 {
            self.0.iter().filter(|(pair, _)| matches(pair)).map(|(_, count)| count).sum()
        };
        let off_by = |state: State| {
            let came = sum(&|&[_, to]| to == state);
            let left =
                sum(&|&[from, to]| from == state && [from, to] != [State::Listen, State::SynRecv]);
            came.abs_diff(left + truth[state])
        };
        State::GAUGES.map(off_by).iter().sum()
    }

    /// Adds the transitions of one output line, if the line contains any.
    fn add(&mut self, peer: Peer, line: &str) {
        let reported = match peer {
            Peer::Bpftrace => counted(line),
            Peer::Tcpstates | Peer::TcpstatesBcc => transition(line).map(|pair| (pair, 1)),
            // A line is a connection.
            Peer::Tcplife => None,
        };
        if let Some((pair, count)) = reported {
            *self.0.entry(pair).or_default() += count;
        }
    }

    /// Removes refused connects from an output that contains no ports. The test traffic itself
    /// makes no refused connects.
    fn forget_refused(&mut self) {
        let refused = self.0.remove(&[State::SynSent, State::Close]).unwrap_or_default();
        if let Some(begun) = self.0.get_mut(&[State::Close, State::SynSent]) {
            *begun = begun.saturating_sub(refused);
        }
    }
}

/// Parses a line of bpftrace, for example `@[7, 2]: 4711`.
fn counted(line: &str) -> Option<([State; 2], u64)> {
    let (pair, count) = line.strip_prefix("@[")?.split_once("]: ")?;
    let (from, to) = pair.split_once(", ")?;
    let state = |number: &str| State::from_number(number.parse().ok()?);
    Some(([state(from)?, state(to)?], count.parse().ok()?))
}

/// Parses a line of tcpstates: `… RADDR RPORT OLDSTATE -> NEWSTATE MS`. Returns `None` for the
/// header and for a refused connect.
fn transition(line: &str) -> Option<[State; 2]> {
    let mut from_the_end = line.split_whitespace().rev();
    let (to, from) = (from_the_end.nth(1)?, from_the_end.nth(1)?);
    let port: u16 = from_the_end.next()?.parse().ok()?;
    (port != REFUSED).then_some([from.parse().ok()?, to.parse().ok()?])
}

/// A running peer. The process is killed when this value is dropped, or when the thread that
/// started the process ends.
#[derive(Debug)]
pub struct Running {
    peer: Peer,
    child: Child,
    /// The kernel's IDs of the peer's BPF programs.
    programs: Vec<u32>,
    output: File,
}

impl Running {
    /// Returns the run time of the peer's BPF programs since the programs were loaded, if the
    /// kernel counted the run time.
    #[must_use]
    pub fn run_time(&self) -> RunTime {
        let all = loaded_programs().filter_map(Result::ok);
        RunTime::of(all.filter(|program| self.programs.contains(&program.id())))
    }

    /// The CPU time of the process until now.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        processor_time(self.child.id())
    }

    /// Sends SIGINT to the peer, as Ctrl-C does. Returns the transitions that the peer reported,
    /// without the transitions of refused connects.
    ///
    /// # Panics
    /// Panics if the test cannot wait for the process.
    #[must_use]
    pub fn stop(mut self) -> Pairs {
        signal(&self.child, Signal::SIGINT);
        self.child.wait().expect("it is our child");
        self.output.rewind().expect("it is a file");
        let mut pairs = Pairs::default();
        for line in BufReader::new(&self.output).lines().map_while(Result::ok) {
            pairs.add(self.peer, &line);
        }
        if self.peer == Peer::Bpftrace {
            pairs.forget_refused();
        }
        pairs
    }

    /// Returns the IDs of the peer's BPF programs, from the kernel's information on each descriptor
    /// of the peer.
    fn own_programs(&self) -> Vec<u32> {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        let mut ids: Vec<u32> = texts
            .filter_map(|text| {
                text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
            })
            .collect();
        // A program and its link have the same program ID, so an ID may occur twice.
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(port: u16, from: &str, to: &str) -> String {
        format!(
            "ffff888102e240c0 13620   a b        127.0.0.1       0     127.0.0.1       {port:<5} {from:<11} -> {to:<11} 0.000"
        )
    }

    #[test]
    fn lines_of_the_load_are_recognised() {
        let pair = [State::Close, State::SynSent];
        assert_eq!(transition(&line(4711, "CLOSE", "SYN_SENT")), Some(pair));
        assert_eq!(transition(&line(REFUSED, "CLOSE", "SYN_SENT")), None);
        let header = "SKADDR PID COMM LADDR LPORT RADDR RPORT OLDSTATE    -> NEWSTATE    MS";
        assert_eq!(transition(header), None);
        assert_eq!(counted("@[7, 2]: 4711"), Some((pair, 4711)));
        assert_eq!(counted("Attaching 1 probe..."), None);
    }

    #[test]
    fn gauges_are_entries_minus_exits() {
        let mut pairs = Pairs::default();
        let listens = Counts::from([(State::Listen, 1)].as_slice());
        pairs.add(Peer::Tcpstates, &line(0, "CLOSE", "LISTEN"));
        pairs.add(Peer::Tcpstates, &line(0, "LISTEN", "SYN_RECV"));
        pairs.add(Peer::Tcpstates, &line(4711, "SYN_RECV", "ESTABLISHED"));
        assert_eq!(
            pairs.gauges_off_by(&listens),
            1,
            "ESTABLISHED is over, and its line is missing"
        );
        pairs.add(Peer::Tcpstates, &line(4711, "ESTABLISHED", "CLOSE"));
        assert_eq!(pairs.gauges_off_by(&listens), 0);
        assert_eq!(pairs.gauges_off_by(&Counts::default()), 1, "a listener too many");
    }

    #[test]
    fn refused_connects_are_not_counted() {
        let mut pairs = Pairs::default();
        for line in ["@[7, 2]: 12", "@[2, 7]: 2", "@[2, 1]: 10"] {
            pairs.add(Peer::Bpftrace, line);
        }
        pairs.forget_refused();
        assert_eq!(pairs.total(), 20);
    }
}
