//! `--live`: makes traffic in a private network namespace and checks the result.
//!
//! A few connections over loopback move sockets through the most important states. At each
//! checkpoint the gauges are compared with the kernel's own table. At the end `--live` reads the
//! number of runs of each BPF program, to find programs that are attached but never run.

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

/// The result of the traffic that `--live` makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// The BPF programs that observe transitions, and the number of runs of each program.
    pub transitions: Vec<(&'static str, u64)>,
    /// The BPF programs that observe time-wait sockets, and the number of runs of each program. The
    /// list is empty if no such program is attached.
    pub time_wait: Vec<(&'static str, u64)>,
    /// The BPF programs that observe request sockets, and the number of runs of each program. The
    /// list is empty if no such program is attached.
    pub syn_recv: Vec<(&'static str, u64)>,
    /// The comparisons of the gauges with the kernel's table.
    pub checkpoints: Vec<Checkpoint>,
}

/// A comparison of the gauges with the kernel's table, made while no socket changes its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Describes the traffic that was made before this checkpoint.
    pub label: &'static str,
    /// The states whose gauge differs from the kernel's table: the state, the gauge, and the number
    /// of sockets in the table.
    pub differ: Vec<(State, i64, i64)>,
    /// Whether a scan was made before the comparison, because the gauges differed from the table.
    pub after_a_scan: bool,
}

/// Makes the traffic in a new network namespace, if this process may create a network namespace.
pub fn prove(is_permitted: bool) -> Result<Live, Failure> {
    if !is_permitted {
        return Err(Error::Capability(COUNTING.to_vec()).into());
    }
    // Only this thread is in the new network namespace. The kernel removes the namespace after the
    // thread has exited.
    let prove = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Failure {
            cause: format!("cannot create a network namespace, which needs CAP_SYS_ADMIN: {errno}"),
            help: grant(&[caps::Capability::CAP_SYS_ADMIN]),
            program: None,
        })?;
        run().map_err(|error| {
            error.downcast::<Error>().map_or_else(|other| unknown(&other), Failure::from)
        })
    };
    match thread::Builder::new().spawn(prove) {
        Ok(thread) => thread.join().expect("the thread returns its errors"),
        Err(source) => {
            Err(Error::System { action: "start a thread for connections", source }.into())
        }
    }
}

fn unknown(error: &anyhow::Error) -> Failure {
    let help = "check whether a firewall or a limit blocks connections over loopback".into();
    Failure { cause: format!("{error:#}"), help, program: None }
}

fn run() -> anyhow::Result<Live> {
    loopback_up()?;
    // The kernel counts the runs of BPF programs only while its run-time statistics are on.
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

/// Makes four connections. The first connection stays open. Both sides close the second connection.
/// In the third and the fourth connection the client closes before the server. The function is long
/// because it is one script, from the first connection to the last one.
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
        // SO_REUSEADDR lets the client of a later connection bind to the address and port of this
        // client.
        client.set_reuse_address(true)?;
        client.connect_timeout(&to, PATIENCE)?;
        Ok((client, listener.accept()?.0))
    };
    let _stays = pair()?;
    let (first, first_server) = pair()?;
    let (orphan, orphan_server) = pair()?;
    let (brief, brief_server) = pair()?;
    check("after opening four connections", &[(Listen, 1), (Established, 8)])?;

    let local = first.local_addr()?;
    close_in_turn(first, &first_server)?;
    drop(first_server);
    check(
        "after both sides closed one connection",
        &[(Listen, 1), (Established, 6), (TimeWait, 1)],
    )?;

    drop(orphan);
    let closed = [(Listen, 1), (Established, 4), (TimeWait, 1), (FinWait2, 1), (CloseWait, 1)];
    check("after a client closed a second one", &closed)?;

    // When the server closes, the server's FIN moves the client's mini socket from FIN_WAIT2 to
    // TIME_WAIT.
    drop(orphan_server);
    let closed = [(Listen, 1), (Established, 4), (TimeWait, 2)];
    check("after its server closed it", &closed)?;

    // The new connection has the addresses and ports of the connection that is in TIME_WAIT. The
    // sysctls and the time since the close decide whether the kernel lets the new connection
    // replace the time-wait socket.
    let again = stream(address)?;
    again.set_reuse_address(true)?;
    again.bind(&local)?;
    if again.connect(&to).is_ok() {
        let (server, _) = listener.accept()?;
        close_in_turn(again, &server)?;
    }
    check("after reusing the address of the first client", &closed)?;

    expire_in_a_second(&brief)?;
    drop(brief);
    let expired = [(Listen, 1), (Established, 2), (TimeWait, 2), (CloseWait, 1)];
    check("after a client closed a third one and its mini socket expired", &expired)?;
    drop(brief_server);
    check("after the server closed the third one", &[(Listen, 1), (Established, 2), (TimeWait, 2)])
}

fn listener(address: SocketAddr) -> io::Result<Socket> {
    let listener = stream(address)?;
    listener.bind(&address.into())?;
    listener.listen(16)?;
    listener.set_read_timeout(Some(PATIENCE))?;
    Ok(listener)
}

/// Closes a client and waits until its server has received the FIN. The wait prevents that both
/// sides send a FIN at the same time and both sockets enter TIME_WAIT.
fn close_in_turn(client: Socket, mut server: &Socket) -> io::Result<()> {
    drop(client);
    server.set_read_timeout(Some(PATIENCE))?;
    server.read(&mut [0]).map(drop)
}

/// The maximum time to wait until the kernel's table has the expected sockets. A wait usually takes
/// microseconds. If a mini socket must expire, the wait takes one second.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of sockets in each state, according to the kernel's table (`/proc/net/tcp` and
/// `tcp6`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table(BTreeMap<usize, i64>);

impl Table {
    fn read() -> io::Result<Self> {
        let mut table = Self::default();
        for name in ["tcp", "tcp6"] {
            match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
                Ok(text) => table.add(&text),
                // The file tcp6 does not exist if the kernel does not support IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(table)
    }

    /// Adds the sockets in the text of `/proc/net/tcp` or `tcp6`. The fourth column is the state in
    /// hexadecimal. Half-open connections have the state SYN_RECV in these files.
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

    /// Waits until the kernel's table has the numbers of sockets in `self`.
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

/// Compares the gauges with the kernel's table. If the gauges differ, makes a scan and compares the
/// gauges again.
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

/// Sets TCP_LINGER2 to one second: after close() the socket stays in FIN_WAIT2 for at most one
/// second.
fn expire_in_a_second(socket: &Socket) -> io::Result<()> {
    let second: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&second)).expect("an int is small");
    // SAFETY: the kernel only reads one int through the pointer, and the int outlives the call.
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

/// Sets the loopback device up. In a new network namespace the loopback device is down.
fn loopback_up() -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    name[..2].copy_from_slice(&b"lo".map(u8::cast_signed));
    let up = i16::try_from(libc::IFF_UP).expect("the flag is 1");
    let request =
        libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: up } };
    let any_socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq through the pointer and writes nothing, and the ifreq
    // outlives the call.
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
