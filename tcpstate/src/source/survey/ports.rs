//! The local ports that connections use, as rule P1 of `doctor` counts them.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tcpstate_common::State;

use crate::{
    filter::Filter,
    procfs::sysctl::{self, PortSet, Range},
    report::LocalPorts,
    source::sock_diag::{self, Query, Socket},
};

/// The lifetime of a time-wait socket (`TCP_TIMEWAIT_LEN`).
const TIME_WAIT: Duration = Duration::from_secs(60);
/// The maximum number of destinations. At the maximum, destinations with few ports are dropped.
const MAX_DESTINATIONS: usize = 1 << 16;

/// A source address, and a destination address and port.
type Destination = (IpAddr, SocketAddr);

/// The settings that decide which ports connect() can use.
struct Setting {
    range: Range,
    reserved: PortSet,
    /// `tcp_tw_reuse`; 0 also without timestamps, which the reuse of ports needs.
    reuse: u64,
    /// How long a socket must have been in TIME_WAIT before connect() can reuse its port.
    delay: Duration,
}

impl Setting {
    /// Reads the settings of the calling thread's network namespace.
    fn here() -> Option<Self> {
        let has_timestamps = sysctl::value::<u64>("net.ipv4.tcp_timestamps") != Some(0);
        let reuse = sysctl::value("net.ipv4.tcp_tw_reuse").filter(|_| has_timestamps);
        let delay = sysctl::value("net.ipv4.tcp_tw_reuse_delay").unwrap_or(1000);
        Some(Self {
            range: sysctl::value("net.ipv4.ip_local_port_range")?,
            reserved: sysctl::value("net.ipv4.ip_local_reserved_ports").unwrap_or_default(),
            reuse: reuse.unwrap_or(0),
            delay: Duration::from_millis(delay),
        })
    }

    /// Returns the number of ports that connect() tries.
    fn available(&self, listening: &HashSet<u16>) -> u64 {
        let Range { low, high } = self.range;
        // connect() tries an even number of ports.
        let is_odd = high > low && (high - low).is_multiple_of(2);
        let last = if is_odd { high - 1 } else { high };
        let is_free = |port: &u16| !self.reserved.contains(*port) && !listening.contains(port);
        (low..=last).filter(is_free).count() as u64
    }

    /// Returns the destination for which connect() cannot use the port of a socket.
    fn destination(&self, socket: &Socket, listening: &HashSet<u16>) -> Option<Destination> {
        let port = socket.local.port();
        let Range { low, high } = self.range;
        if !(low..=high).contains(&port) || listening.contains(&port) {
            return None;
        }
        let local = socket.local.ip().to_canonical();
        let remote = SocketAddr::new(socket.remote.ip().to_canonical(), socket.remote.port());
        let is_local = local.is_loopback() || remote.ip().is_loopback();
        let may_reuse = self.reuse == 1 || self.reuse == 2 && is_local;
        let age = TIME_WAIT.saturating_sub(socket.detail.timer.unwrap_or_default());
        let is_reusable = may_reuse && socket.state == State::TimeWait && age > self.delay;
        (!is_reusable).then_some((local, remote))
    }
}

/// Returns the local ports of the calling thread's network namespace.
pub(super) fn here() -> Option<LocalPorts> {
    let setting = Setting::here()?;
    let listening = sock_diag::listening_ports().ok()?;
    let others = State::GAUGES.into_iter().filter(|&state| state != State::Listen).collect();
    let filter = Filter { states: others, ..Filter::default() };
    let add = |used: &mut HashMap<Destination, u64>, socket: &Socket| {
        if let Some(destination) = setting.destination(socket, &listening) {
            count(used, destination);
        }
    };
    let used = sock_diag::collect(&Query::of(&filter), HashMap::new, add).ok()?.sum;
    Some(LocalPorts {
        available: setting.available(&listening),
        used: used.into_values().max().unwrap_or(0),
    })
}

fn count(used: &mut HashMap<Destination, u64>, destination: Destination) {
    if used.len() >= MAX_DESTINATIONS && !used.contains_key(&destination) {
        let mut few = 1;
        while used.len() >= MAX_DESTINATIONS {
            used.retain(|_, count| *count > few);
            few *= 2;
        }
    }
    *used.entry(destination).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sock_diag::Detail;

    fn setting(range: &str, reserved: &str, reuse: u64) -> Setting {
        Setting {
            range: range.parse().expect("a range"),
            reserved: reserved.parse().expect("a set"),
            reuse,
            delay: Duration::from_secs(1),
        }
    }

    fn socket(state: State, local: &str, remote: &str, left: u64) -> Socket {
        let end = |text: &str| text.parse().expect("an address with a port");
        let timer = Some(Duration::from_secs(left));
        let detail = Detail { timer, ..Detail::default() };
        let (local, remote) = (end(local), end(remote));
        Socket { state, local, remote, holder: None, cgroup: None, cookie: 0, detail }
    }

    #[test]
    fn available_ports_are_the_ports_that_connect_tries() {
        for (range, reserved, expected) in [
            ("40000 40009", "", 10),
            ("40000 40010", "", 10),
            ("40000 40000", "", 1),
            ("40000 40009", "40003,40005-40006,9", 7),
        ] {
            let available = setting(range, reserved, 0).available(&HashSet::new());
            assert_eq!(available, expected, "{range} {reserved}");
        }
        let listening = HashSet::from([40002, 443]);
        assert_eq!(setting("40000 40009", "", 0).available(&listening), 9);
    }

    #[test]
    fn reusable_ports_and_ports_of_listeners_are_not_used() {
        let listening = HashSet::from([40_002]);
        let is_used = |state, local, remote, left, reuse| {
            let socket = socket(state, local, remote, left);
            setting("40000 49999", "", reuse).destination(&socket, &listening).is_some()
        };
        for (state, local, left, reuse, expected) in [
            (State::Established, "10.0.0.1:40001", 0, 2, true),
            (State::Established, "10.0.0.1:40002", 0, 2, false),
            (State::Established, "10.0.0.1:443", 0, 2, false),
            (State::TimeWait, "10.0.0.1:40001", 50, 0, true),
            (State::TimeWait, "10.0.0.1:40001", 50, 2, true),
            (State::TimeWait, "10.0.0.1:40001", 50, 1, false),
            (State::TimeWait, "10.0.0.1:40001", 60, 1, true),
            (State::TimeWait, "127.0.0.1:40001", 50, 2, false),
        ] {
            let found = is_used(state, local, "10.0.0.9:443", left, reuse);
            assert_eq!(found, expected, "{state} {local} {left} {reuse}");
        }
    }

    #[test]
    fn many_destinations_do_not_hide_the_fullest() {
        let destination = |port| (IpAddr::from([10, 0, 0, 1]), ([10, 0, 0, 9], port).into());
        let mut used = HashMap::new();
        for _ in 0..9 {
            count(&mut used, destination(443));
        }
        for local in 0..3_u8 {
            for port in 0..u16::MAX {
                count(&mut used, (IpAddr::from([10, 0, 1, local]), destination(port).1));
            }
        }
        assert!(used.len() <= MAX_DESTINATIONS);
        assert_eq!(used.into_values().max(), Some(9));
    }
}
