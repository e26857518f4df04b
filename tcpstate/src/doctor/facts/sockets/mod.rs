//! Totals of the sockets in the network namespace. Each socket is read once and added to the totals
//! of its group. A [`Groups`] that reaches its maximum number of keys removes the smaller half of
//! its groups.
//!
//! Listeners are read first, because a socket whose port has a listener is counted in another
//! group. Sockets in CLOSE_WAIT, FIN_WAIT2, LAST_ACK and CLOSING are read next. For these sockets
//! the kernel also reports the silence of the peer, which costs more time. Sockets in other states
//! are read last.

mod sums;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    ops::RangeInclusive,
    time::Duration,
};

use tcpstate_common::State;

pub use self::sums::{AGE, AGES, Attempts, Destination, Listener, PortUse, TIME_WAIT};
use super::{
    Ages, Groups, Holding, Known, Missing, Sysctls,
    holders::{self, Held},
    sysctls::Range,
};
use crate::{
    error::Help as _,
    filter::Filter,
    report::Process,
    source::{
        listening::Listening,
        sock_diag::{self, Query, Socket},
    },
};

/// The maximum number of listeners that are kept. A listener without waiting connections is not
/// kept. If there are more listeners, the listeners with the fullest queues are kept.
const MAX_LISTENERS: usize = 1000;
/// The number of groups, largest first, whose owner is looked up.
const NAMED: usize = 20;

/// The states in which a socket may wait for a long time for its peer or its program.
const LEFT_ALONE: [State; 4] = [State::CloseWait, State::FinWait2, State::LastAck, State::Closing];

/// The totals of all sockets in the network namespace.
#[derive(Clone, Debug, Default)]
pub struct SocketTable {
    states: HashMap<State, u64>,
    /// The ports with a listener.
    pub listening: HashSet<u16>,
    /// The files of all listeners.
    files_of_listeners: Listening,
    /// The listeners with waiting connections, fullest queue first.
    pub listeners: Vec<Listener>,
    /// For each destination, the sockets whose local port is in the range that connect() chooses
    /// from.
    pub destinations: Groups<Destination, PortUse>,
    /// The number of sockets in TIME_WAIT whose local port has a listener. These sockets use no
    /// port that connect() could choose.
    pub time_wait_of_servers: u64,
    /// Sockets in CLOSE_WAIT that programs hold.
    pub close_wait: Holding,
    /// For each address of a listener, the sockets in CLOSE_WAIT that no program holds, because no
    /// program has accepted the connection.
    pub never_accepted: Groups<SocketAddr, Ages>,
    /// For each destination, the sockets in SYN_SENT.
    pub syn_sent: Groups<SocketAddr, Attempts>,
    /// Sockets in FIN_WAIT2 that programs hold.
    pub fin_wait2: Holding,
    /// Sockets in LAST_ACK and CLOSING.
    pub last_ack: Ages,
    /// The program that holds a socket, for the inode of the socket.
    pub owners: HashMap<std::num::NonZeroU32, Process>,
    /// The reason why /proc/net/tcp was read instead of sock_diag, or `None` if sock_diag was read.
    /// /proc/net/tcp contains neither the limits of accept queues nor the silence of peers.
    pub instead_of: Option<String>,
}

/// The settings that decide which ports count as in use.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The range of ports that connect() chooses from.
    pub range: RangeInclusive<u16>,
    /// How long a socket must have been in TIME_WAIT before connect() may reuse its port.
    pub reuse_delay: Duration,
}

impl Setting {
    /// Takes the settings from the sysctls. If a sysctl is missing, the kernel's default is used,
    /// and the rules that need this sysctl report that the sysctl is missing.
    #[must_use]
    pub fn of(sysctls: &Sysctls) -> Self {
        let range = sysctls.get("net.ipv4.ip_local_port_range");
        let Range { low, high } = range.unwrap_or(Range { low: 32768, high: 60999 });
        let delay = sysctls.find("net.ipv4.tcp_tw_reuse_delay").ok().flatten();
        Self { range: low..=high, reuse_delay: Duration::from_millis(delay.unwrap_or(1000)) }
    }
}

impl SocketTable {
    /// Reads all sockets in the network namespace of the calling thread, and looks up the programs
    /// that hold the sockets of the largest groups.
    pub fn read(sysctls: &Sysctls) -> Known<Self> {
        let setting = Setting::of(sysctls);
        let (alone, others): (Vec<State>, Vec<State>) = State::GAUGES
            .into_iter()
            .filter(|&state| state != State::Listen)
            .partition(|state| LEFT_ALONE.contains(state));
        let mut table = Self::default();
        for (states, silence) in [(vec![State::Listen], false), (alone, true), (others, false)] {
            let filter = Filter { states: states.into_iter().collect(), ..Filter::default() };
            let query = Query { silence, ..Query::of(&filter) };
            let answer = sock_diag::collect(
                &query,
                || table.clone(),
                |table, socket| table.add(socket, &setting),
            );
            let answer = answer.map_err(|error| Missing {
                cause: error.to_string(),
                help: error.help().into_owned(),
                source: "sock_diag".into(),
            })?;
            table = answer.sum;
            table.instead_of = answer.instead_of.map(|error| error.to_string());
        }
        table.ask_for_owners();
        Ok(table)
    }

    /// Adds a socket. The caller must add all listeners before all other sockets.
    pub fn add(&mut self, socket: &Socket, setting: &Setting) {
        *self.states.entry(socket.state).or_default() += 1;
        match socket.state {
            State::Listen => return self.add_listener(socket),
            State::CloseWait => match socket.holder {
                Some(holder) => self.close_wait.add(Held::of(holder, socket)),
                None => self.never_accepted.of(plain(socket.local)).add(socket.detail.silence),
            },
            State::FinWait2 => {
                if let Some(holder) = socket.holder {
                    self.fin_wait2.add(Held::of(holder, socket));
                }
            }
            State::SynSent => {
                let attempts = self.syn_sent.of(plain(socket.remote));
                attempts.by_retransmits[usize::from(socket.detail.retransmits).min(7)] += 1;
                attempts.holder = attempts.holder.or(socket.holder);
            }
            State::LastAck | State::Closing => self.last_ack.add(socket.detail.silence),
            _ => {}
        }
        self.add_port(socket, setting);
    }

    fn add_listener(&mut self, socket: &Socket) {
        self.listening.insert(socket.local.port());
        if let Some(holder) = socket.holder {
            self.files_of_listeners.add(socket.local, holder);
        }
        let waiting = socket.detail.receive_queue;
        if waiting == 0 {
            return;
        }
        self.listeners.push(Listener {
            local: socket.local,
            waiting,
            backlog: socket.detail.backlog,
            holder: socket.holder,
        });
        if self.listeners.len() >= 2 * MAX_LISTENERS {
            self.keep_fullest();
        }
    }

    fn keep_fullest(&mut self) {
        // Two fractions `waiting / limit` are compared by cross-multiplication, which is exact.
        let room = |listener: &Listener| u64::from(listener.backlog.unwrap_or(u32::MAX)) + 1;
        self.listeners.sort_by(|a, b| {
            let (a_full, b_full) = (u64::from(a.waiting) * room(b), u64::from(b.waiting) * room(a));
            b_full.cmp(&a_full).then_with(|| a.local.cmp(&b.local))
        });
        self.listeners.truncate(MAX_LISTENERS);
    }

    fn add_port(&mut self, socket: &Socket, setting: &Setting) {
        let port = socket.local.port();
        let is_time_wait = socket.state == State::TimeWait;
        if self.listening.contains(&port) {
            self.time_wait_of_servers += u64::from(is_time_wait);
            return;
        }
        if !setting.range.contains(&port) {
            return;
        }
        let to =
            Destination { local: socket.local.ip().to_canonical(), remote: plain(socket.remote) };
        let ports = self.destinations.of(to);
        ports.sockets += 1;
        ports.holder = ports.holder.or(socket.holder);
        if is_time_wait {
            let age = TIME_WAIT.saturating_sub(socket.detail.timer.unwrap_or_default());
            let slot = usize::try_from(age.as_secs() / AGE.as_secs()).unwrap_or(AGES);
            ports.time_wait[slot.min(AGES - 1)] += 1;
            ports.young += u64::from(age <= setting.reuse_delay);
        }
    }

    /// Returns the number of sockets in this state.
    #[must_use]
    pub fn in_state(&self, state: State) -> u64 {
        self.states.get(&state).copied().unwrap_or(0)
    }

    fn ask_for_owners(&mut self) {
        self.keep_fullest();
        let of_destinations =
            self.destinations.largest(NAMED).into_iter().map(|(_, use_)| use_.holder);
        let of_attempts = self.syn_sent.largest(NAMED).into_iter().map(|(_, tries)| tries.holder);
        let of_listeners = self.listeners.iter().take(NAMED).map(|listener| listener.holder);
        let single = of_destinations.chain(of_attempts).chain(of_listeners).flatten().collect();
        let many = [&mut self.close_wait, &mut self.fin_wait2];
        self.owners = holders::ask(single, many, &self.files_of_listeners);
    }

    /// Returns the name and process id of the program that holds the socket, such as `nginx[77]`,
    /// if the program was looked up and is visible.
    #[must_use]
    pub fn owner(&self, holder: Option<sock_diag::SocketFile>) -> Option<String> {
        let process = self.owners.get(&holder?.inode)?;
        Some(format!("{}[{}]", process.name, process.pid))
    }
}

/// Returns the address. An IPv4-mapped IPv6 address is converted to IPv4.
fn plain(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sock_diag::Detail;

    fn setting() -> Setting {
        Setting { range: 32768..=60999, reuse_delay: Duration::from_secs(1) }
    }

    fn socket(state: State, local: &str, remote: &str, detail: Detail) -> Socket {
        let end = |text: &str| text.parse().expect("an address with a port");
        let (local, remote) = (end(local), end(remote));
        Socket { state, local, remote, holder: None, cgroup: None, cookie: 0, detail }
    }

    fn table(sockets: &[Socket]) -> SocketTable {
        let mut table = SocketTable::default();
        for socket in sockets {
            table.add(socket, &setting());
        }
        table
    }

    #[test]
    fn ports_with_a_listener_or_outside_the_range_are_not_counted() {
        let established =
            |local, remote| socket(State::Established, local, remote, Detail::default());
        let sockets = table(&[
            socket(State::Listen, "[::]:40000", "[::]:0", Detail::default()),
            established("10.0.0.1:40000", "10.0.0.9:50000"),
            established("10.0.0.1:443", "10.0.0.9:50000"),
            established("10.0.0.1:40001", "10.0.0.9:443"),
            established("[::ffff:10.0.0.1]:40002", "[::ffff:10.0.0.9]:443"),
        ]);
        let [(to, ports)] = sockets.destinations.largest(9)[..] else { panic!("{sockets:?}") };
        assert_eq!(
            (to.local.to_string(), to.remote.to_string()),
            ("10.0.0.1".into(), "10.0.0.9:443".into())
        );
        assert_eq!(ports.sockets, 2, "a mapped address equals the IPv4 address");
    }

    #[test]
    fn time_wait_sockets_are_sorted_by_their_age() {
        let left =
            |millis| Detail { timer: Some(Duration::from_millis(millis)), ..Detail::default() };
        let sockets =
            table(&[60_100, 59_500, 58_900, 50_001, 50_000, 100, 0].map(|millis| {
                socket(State::TimeWait, "10.0.0.1:40001", "10.0.0.9:443", left(millis))
            }));
        let (_, ports) = sockets.destinations.largest(1)[0];
        assert_eq!(ports.time_wait, [4, 1, 0, 0, 0, 2]);
        assert_eq!((ports.young, ports.in_time_wait()), (2, 7));
    }

    #[test]
    fn the_fullest_listeners_are_kept_and_come_first() {
        let mut sockets = SocketTable::default();
        for port in 1..=5000_u16 {
            let detail = Detail {
                receive_queue: 1 + u32::from(port == 4321) * 9,
                backlog: Some(10),
                ..Detail::default()
            };
            sockets.add(
                &socket(State::Listen, &format!("10.0.0.1:{port}"), "0.0.0.0:0", detail),
                &setting(),
            );
        }
        sockets.keep_fullest();
        assert_eq!(sockets.listeners.len(), MAX_LISTENERS);
        assert_eq!(sockets.listeners[0].local.port(), 4321);
        assert_eq!(sockets.listening.len(), 5000);
    }
}
