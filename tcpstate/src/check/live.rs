//! `--live`: traffic in a network namespace of its own, and what came of it.
//!
//! A few connections over loopback lead sockets through every state that `trace` is most often asked about. At each
//! checkpoint the gauges are held against the kernel's own table, and at the end each program is asked how often it
//! ran: a hook that attaches and never fires is found out here.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read as _},
    net::SocketAddr,
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, Socket, Type};
use tcpstate_common::State;

use super::Failure;
use crate::{
    probe::{Error, Options, grant, privileges::COUNTING},
    report::{Minis, Snapshot},
    tracer::Tracer,
};

/// What came of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// How often each program ran, by what it serves.
    pub transitions: Vec<(&'static str, u64)>,
    /// The same for time-wait sockets; empty where nothing runs.
    pub time_wait: Vec<(&'static str, u64)>,
    /// The same for request sockets.
    pub syn_recv: Vec<(&'static str, u64)>,
    /// What the gauges were held against.
    pub checkpoints: Vec<Checkpoint>,
}

/// The gauges beside the kernel's table, at a moment when nothing moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// What had happened before.
    pub label: &'static str,
    /// State, gauge, sockets in the table: of each state whose gauge differs.
    pub differ: Vec<(State, i64, i64)>,
    /// Whether they were equal only after a scan.
    pub after_a_scan: bool,
}

/// Makes the traffic, if this process may make a namespace.
pub fn prove(is_permitted: bool) -> Result<Live, Failure> {
    if !is_permitted {
        return Err(Error::Capability(COUNTING.to_vec()).into());
    }
    // Namespaces are a thread's own, and this one's ends with it.
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Failure {
            cause: format!("making a network namespace needs CAP_SYS_ADMIN: {errno}"),
            help: grant(&[caps::Capability::CAP_SYS_ADMIN]),
            program: None,
        })?;
        run().map_err(|error| {
            error.downcast::<Error>().map_or_else(|other| unknown(&other), Failure::from)
        })
    })
    .join()
    .expect("the thread returns its errors")
}

fn unknown(error: &anyhow::Error) -> Failure {
    let help = "see whether other firewalls or limits keep sockets from loopback".into();
    Failure { cause: format!("{error:#}"), help, program: None }
}

fn run() -> anyhow::Result<Live> {
    loopback_up()?;
    // So that each program's runs are counted.
    let mut tracer = Tracer::start(&Options { statistics: true, ..Options::default() })?;
    let mut checkpoints = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let address: SocketAddr = address.parse()?;
        if address.is_ipv6() && fs::metadata("/proc/thread-self/net/tcp6").is_err() {
            continue;
        }
        connections(&mut tracer, address, &mut checkpoints)?;
    }
    let probe = tracer.probe();
    let minis = |minis| -> Result<Vec<(&'static str, u64)>, Error> {
        let programs = probe.minis_info(minis)?;
        Ok(programs.iter().map(|(name, info)| (*name, info.run_count())).collect())
    };
    Ok(Live {
        transitions: vec![(probe.transitions.name(), probe.transitions_info()?.run_count())],
        time_wait: minis(Minis::TimeWait)?,
        syn_recv: minis(Minis::SynRecv)?,
        checkpoints,
    })
}

/// Four connections: one that stays, one that ends in TIME_WAIT, and two whose client goes before its server.
fn connections(
    tracer: &mut Tracer,
    address: SocketAddr,
    checkpoints: &mut Vec<Checkpoint>,
) -> anyhow::Result<()> {
    use State::{CloseWait, Established, FinWait2, Listen, TimeWait};
    let before = Table::read()?;
    let mut check = |label, expected: &[(State, i64)]| -> anyhow::Result<()> {
        let expected = before.with(expected);
        expected.await_it(label)?;
        checkpoints.push(compare(tracer, label)?);
        Ok(())
    };
    let listener = listener(address)?;
    let to = listener.local_addr()?;
    let pair = || -> io::Result<(Socket, Socket)> {
        let client = stream(address)?;
        // For the one that comes in its place.
        client.set_reuse_address(true)?;
        client.connect_timeout(&to, PATIENCE)?;
        Ok((client, listener.accept()?.0))
    };
    let _stays = pair()?;
    let (first, first_server) = pair()?;
    let (orphan, orphan_server) = pair()?;
    let (brief, brief_server) = pair()?;
    check("four connections", &[(Listen, 1), (Established, 8)])?;

    let local = first.local_addr()?;
    close_in_turn(first, &first_server)?;
    drop(first_server);
    check("one closed by both sides", &[(Listen, 1), (Established, 6), (TimeWait, 1)])?;

    drop(orphan);
    let closed = [(Listen, 1), (Established, 4), (TimeWait, 1), (FinWait2, 1), (CloseWait, 1)];
    check("one closed by its client", &closed)?;

    // A FIN for a mini socket, which goes on to TIME_WAIT.
    drop(orphan_server);
    let closed = [(Listen, 1), (Established, 4), (TimeWait, 2)];
    check("the same closed by its server", &closed)?;

    // A connection in place of the first one: whether its mini socket may go is up to the kernel and the time.
    let again = stream(address)?;
    again.set_reuse_address(true)?;
    again.bind(&local)?;
    if again.connect(&to).is_ok() {
        let (server, _) = listener.accept()?;
        close_in_turn(again, &server)?;
    }
    check("one in its place", &closed)?;

    expire_in_a_second(&brief)?;
    drop(brief);
    let expired = [(Listen, 1), (Established, 2), (TimeWait, 2), (CloseWait, 1)];
    check("one closed by its client, and expired", &expired)?;
    drop(brief_server);
    check("the same closed by its server", &[(Listen, 1), (Established, 2), (TimeWait, 2)])
}

fn listener(address: SocketAddr) -> io::Result<Socket> {
    let listener = stream(address)?;
    listener.bind(&address.into())?;
    listener.listen(16)?;
    listener.set_read_timeout(Some(PATIENCE))?;
    Ok(listener)
}

/// Closes a client, and waits for its server to hear of it: if both sent their FIN at once, both would end in TIME_WAIT.
fn close_in_turn(client: Socket, mut server: &Socket) -> io::Result<()> {
    drop(client);
    server.set_read_timeout(Some(PATIENCE))?;
    server.read(&mut [0]).map(drop)
}

/// How long to wait for what takes microseconds, or a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kernel's table: sockets by state, as `ss` counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table(BTreeMap<usize, i64>);

impl Table {
    fn read() -> io::Result<Self> {
        let mut table = Self::default();
        for name in ["tcp", "tcp6"] {
            match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
                Ok(text) => table.add(&text),
                // Without IPv6 there is no such table.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(table)
    }

    /// The fourth column is the state, in hexadecimal. Half-open connections are in SYN_RECV there.
    fn add(&mut self, text: &str) {
        let states = text.lines().skip(1).filter_map(|row| row.split_ascii_whitespace().nth(3));
        for state in states.filter_map(|state| usize::from_str_radix(state, 16).ok()) {
            *self.0.entry(state).or_default() += 1;
        }
    }

    fn of(&self, state: State) -> i64 {
        self.0.get(&state.number()).copied().unwrap_or(0)
    }

    fn with(&self, more: &[(State, i64)]) -> Self {
        let mut sum = self.clone();
        for (state, sockets) in more {
            *sum.0.entry(state.number()).or_default() += sockets;
        }
        sum
    }

    /// Waits until the kernel has come that far.
    fn await_it(&self, label: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::read()?;
            if now == *self {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "{label}: expected {self}, found {now}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = self.0.iter().filter_map(|(&state, sockets)| {
            State::from_number(state).map(|state| format!("{sockets} in {state}"))
        });
        f.write_str(&states.collect::<Vec<_>>().join(", "))
    }
}

/// Holds the gauges against the table, and once more after a scan if they differ.
fn compare(tracer: &mut Tracer, label: &'static str) -> anyhow::Result<Checkpoint> {
    let differ = differences(&tracer.snapshot()?)?;
    if differ.is_empty() {
        return Ok(Checkpoint { label, differ, after_a_scan: false });
    }
    tracer.reconcile()?;
    let differ = differences(&tracer.snapshot()?)?;
    Ok(Checkpoint { label, differ, after_a_scan: true })
}

fn differences(snapshot: &Snapshot) -> io::Result<Vec<(State, i64, i64)>> {
    let table = Table::read()?;
    let gauges = State::GAUGES
        .into_iter()
        .filter_map(|state| Some((state, snapshot.gauge(state)?.current?, table.of(state))));
    Ok(gauges.filter(|(_, gauge, sockets)| gauge != sockets).collect())
}

fn stream(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
}

/// Lets the socket wait for a FIN no longer than that once it is closed.
fn expire_in_a_second(socket: &Socket) -> io::Result<()> {
    let second: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&second)).expect("an int is small");
    // SAFETY: the kernel reads one int, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_LINGER2,
            (&raw const second).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A new namespace has a loopback device that is down.
fn loopback_up() -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    name[..2].copy_from_slice(&b"lo".map(u8::cast_signed));
    let up = i16::try_from(libc::IFF_UP).expect("the flag is 1");
    let request =
        libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: up } };
    let any_socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call, and writes nothing.
    let result =
        unsafe { libc::ioctl(any_socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_by_its_fourth_column() {
        let mut table = Table::default();
        table.add(
            "  sl  local_address rem_address   st tx_queue\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:1F90 0100007F:D2F0 03 00000001:00000000\n\
             2: 0100007F:1F90 0100007F:D2F2 03 00000001:00000000\n",
        );
        assert_eq!((table.of(State::Listen), table.of(State::SynRecv)), (1, 2));
        assert_eq!(table.of(State::TimeWait), 0);
    }
}
