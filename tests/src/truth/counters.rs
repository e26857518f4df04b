//! Reads the kernel's own counters from `sockstat` and `TcpExt`.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::wait;

/// The TCP lines of `/proc/net/sockstat` and `sockstat6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockstat {
    /// The number of IPv4 full sockets in the kernel's tables.
    pub inuse: u64,
    /// The number of IPv6 full sockets in the kernel's tables.
    pub inuse6: u64,
    /// The number of orphans: sockets that still exist after their programs have closed them. The
    /// number of orphans covers the whole host, not the namespace.
    pub orphan: u64,
    /// The number of time-wait mini sockets, including sockets in `FIN_WAIT2`.
    pub tw: u64,
    /// The number of allocated sockets, hashed or not. The number of allocated sockets covers the
    /// whole host, not the namespace.
    pub alloc: u64,
}

/// Reads the sockstat files of the thread's namespace.
///
/// # Panics
/// Panics if the text cannot be parsed.
#[must_use]
pub fn sockstat() -> Sockstat {
    let (v4, v6) = (read("sockstat"), read("sockstat6"));
    Sockstat {
        inuse: field(&v4, "TCP:", "inuse"),
        inuse6: field(&v6, "TCP6:", "inuse"),
        orphan: field(&v4, "TCP:", "orphan"),
        tw: field(&v4, "TCP:", "tw"),
        alloc: field(&v4, "TCP:", "alloc"),
    }
}

/// Waits until the numbers of sockets of the thread's namespace have not changed for this time.
///
/// # Panics
/// Panics if the numbers still change after two minutes. Sockets in `TIME_WAIT` end for one minute
/// after the last connection.
pub fn await_quiet(quiet: Duration) {
    const LONGEST: Duration = Duration::from_secs(120);
    let numbers = || {
        let Sockstat { inuse, inuse6, tw, .. } = sockstat();
        [inuse, inuse6, tw]
    };
    let (mut last, mut since) = (numbers(), Instant::now());
    wait::until_within(LONGEST + quiet, "quiet", || {
        let now = numbers();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= quiet
    });
}

/// Reads a counter of `TcpExt` in the thread's namespace, for example `TWKilled`.
///
/// # Panics
/// Panics if this kernel has no counter with this name.
#[must_use]
pub fn tcp_ext(name: &str) -> u64 {
    ext(&read("netstat"), name)
}

fn read(file: &str) -> String {
    fs::read_to_string(format!("/proc/thread-self/net/{file}"))
        .unwrap_or_else(|error| panic!("/proc/thread-self/net/{file}: {error}"))
}

/// Parses a line such as `TCP: inuse 5 orphan 0 tw 3`, in which names and numbers alternate.
fn field(text: &str, line: &str, name: &str) -> u64 {
    let words = text.lines().find_map(|row| row.strip_prefix(line)).unwrap_or_default();
    let value = words.split_ascii_whitespace().skip_while(|&word| word != name).nth(1);
    number(value, name)
}

/// Parses a line of names and the following line of numbers.
fn ext(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|row| row.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
    number(pairs.find(|pair| pair.0 == name).map(|pair| pair.1), name)
}

fn number(text: Option<&str>, name: &str) -> u64 {
    text.and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("the kernel's counters have no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockstat_fields_are_found_by_name() {
        let text =
            "sockets: used 9\nTCP: inuse 5 orphan 0 tw 3 alloc 7 mem 1\nUDP: inuse 2 mem 0\n";
        assert_eq!(field(text, "TCP:", "inuse"), 5);
        assert_eq!(field(text, "TCP:", "tw"), 3);
        assert_eq!(field(text, "UDP:", "inuse"), 2);
    }

    #[test]
    fn tcp_ext_counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent TW TWRecycled\nTcpExt: 0 11 2\nIpExt: InNoRoutes TW\nIpExt: 5 6\n";
        assert_eq!(ext(text, "TW"), 11);
        assert_eq!(ext(text, "TWRecycled"), 2);
    }
}
