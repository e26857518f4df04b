//! What people use today: other programs that trace the same tracepoint, side by side with ours, and the line of shell
//! that counts.

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
        let mut running = Running { peer: self, child, programs: Vec::new(), output };
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

/// What a peer reported of transitions: how many there were of each pair of states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(BTreeMap<[State; 2], u64>);

impl Pairs {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// By how many sockets gauges are off, all together, that were derived from this by who began without sockets: what came
    /// into a state, less what left it. A listener stays when its child is born, which whoever derives has to know.
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

    /// Counts what one line tells, if it tells of transitions.
    fn add(&mut self, peer: Peer, line: &str) {
        let reported = match peer {
            Peer::Bpftrace => counted(line),
            Peer::Tcpstates | Peer::TcpstatesBcc => transition(line).map(|pair| (pair, 1)),
        };
        if let Some((pair, count)) = reported {
            *self.0.entry(pair).or_default() += count;
        }
    }

    /// Takes out the connects that were refused, where ports are not reported: no load has others.
    fn forget_refused(&mut self) {
        let refused = self.0.remove(&[State::SynSent, State::Close]).unwrap_or_default();
        if let Some(begun) = self.0.get_mut(&[State::Close, State::SynSent]) {
            *begun = begun.saturating_sub(refused);
        }
    }
}

/// Of a line of bpftrace's: `@[7, 2]: 4711`.
fn counted(line: &str) -> Option<([State; 2], u64)> {
    let (pair, count) = line.strip_prefix("@[")?.split_once("]: ")?;
    let (from, to) = pair.split_once(", ")?;
    let state = |number: &str| State::from_number(number.parse().ok()?);
    Some(([state(from)?, state(to)?], count.parse().ok()?))
}

/// Of the load, that is: `… RADDR RPORT OLDSTATE -> NEWSTATE MS`, and neither the header nor a connect that was refused.
fn transition(line: &str) -> Option<[State; 2]> {
    let mut from_the_end = line.split_whitespace().rev();
    let (to, from) = (from_the_end.nth(1)?, from_the_end.nth(1)?);
    let port: u16 = from_the_end.next()?.parse().ok()?;
    (port != REFUSED).then_some([from.parse().ok()?, to.parse().ok()?])
}

/// A peer at work. Dropped, it is killed, and when the thread ends that started it.
#[derive(Debug)]
pub struct Running {
    peer: Peer,
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

    /// ReasonCounts it as Ctrl-C would; what it reported of transitions, those of connects that were refused left out.
    ///
    /// # Panics
    /// If it can't be waited for.
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

    fn line(port: u16, from: &str, to: &str) -> String {
        format!(
            "ffff888102e240c0 13620   a b        127.0.0.1       0     127.0.0.1       {port:<5} {from:<11} -> {to:<11} 0.000"
        )
    }

    #[test]
    fn lines_of_the_load_are_told_from_others() {
        let pair = [State::Close, State::SynSent];
        assert_eq!(transition(&line(4711, "CLOSE", "SYN_SENT")), Some(pair));
        assert_eq!(transition(&line(REFUSED, "CLOSE", "SYN_SENT")), None);
        let header = "SKADDR PID COMM LADDR LPORT RADDR RPORT OLDSTATE    -> NEWSTATE    MS";
        assert_eq!(transition(header), None);
        assert_eq!(counted("@[7, 2]: 4711"), Some((pair, 4711)));
        assert_eq!(counted("Attaching 1 probe..."), None);
    }

    #[test]
    fn gauges_are_what_came_less_what_left() {
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
    fn refused_connects_are_none_of_the_load() {
        let mut pairs = Pairs::default();
        for line in ["@[7, 2]: 12", "@[2, 7]: 2", "@[2, 1]: 10"] {
            pairs.add(Peer::Bpftrace, line);
        }
        pairs.forget_refused();
        assert_eq!(pairs.total(), 20);
    }
}
