//! Reads sysctls. The names of the sysctls are the names that the command `sysctl` uses. Each
//! sysctl is one file below /proc/sys.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The folder of all sysctls. The network sysctls in this folder belong to the thread's network
/// namespace.
const FOLDER: &str = "/proc/sys";

/// The sysctls that limit the number and the lifetime of TCP sockets. The rules of `doctor` read
/// the sysctls in this list. Recordings contain the sysctls in this list.
pub const KEYS: &[&str] = &[
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
];

/// The reason why an existing sysctl has no value.
#[derive(Debug)]
pub enum Error {
    /// The text of the file does not end with a newline, so the text may be truncated. A truncated
    /// text would give a wrong number.
    Cut(String),
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
}

/// Returns the text of a sysctl below a folder like /proc/sys, or `None` if the file does not
/// exist.
pub fn read(folder: &Path, key: &str) -> Result<Option<String>, Error> {
    let path = folder.join(key.replace('.', "/"));
    match super::text(&path) {
        Ok(text) => match text.strip_suffix('\n') {
            Some(text) => Ok(Some(text.trim().to_owned())),
            None => Err(Error::Cut(text)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Unreadable(path, error)),
    }
}

/// Returns the value of a sysctl in this network namespace, if the sysctl can be read.
#[must_use]
pub fn value<T: FromStr>(key: &str) -> Option<T> {
    read(Path::new(FOLDER), key).ok()??.parse().ok()
}

/// Returns the texts of all sysctls of [`KEYS`] that can be read.
#[must_use]
pub fn known() -> BTreeMap<String, String> {
    let known = |&key: &&str| Some((key.to_owned(), read(Path::new(FOLDER), key).ok()??));
    KEYS.iter().filter_map(known).collect()
}

/// A range of ports, as in `ip_local_port_range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first port.
    pub low: u16,
    /// The last port.
    pub high: u16,
}

impl FromStr for Range {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "expected two ports, the lower one first";
        let mut words = text.split_ascii_whitespace().map(str::parse);
        match (words.next(), words.next(), words.next()) {
            (Some(Ok(low)), Some(Ok(high)), None) if low <= high => Ok(Self { low, high }),
            _ => Err(WHAT),
        }
    }
}

/// A set of ports, as in `ip_local_reserved_ports`: `8080,9000-9100`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet(Vec<Range>);

impl PortSet {
    /// Returns whether the set contains the port.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| (range.low..=range.high).contains(&port))
    }
}

impl FromStr for PortSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = |item: &str| {
            let (low, high) = item.split_once('-').unwrap_or((item, item));
            format!("{low} {high}").parse().map_err(|why| format!("{item:?}: {why}"))
        };
        text.split(',')
            .filter(|item| !item.is_empty())
            .map(range)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_sets_of_ports_are_read_as_the_kernel_writes_them() {
        assert_eq!("32768\t60999".parse(), Ok(Range { low: 32768, high: 60999 }));
        for bad in ["", "32768", "60999 32768", "1 2 3", "0 65536", "a b"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
        let set: PortSet = "8080,9000-9100".parse().expect("a set");
        assert!(set.contains(8080) && set.contains(9000) && set.contains(9100));
        assert!(!set.contains(8081) && !set.contains(9101));
        assert_eq!("".parse(), Ok(PortSet::default()));
        assert!("80,x".parse::<PortSet>().is_err());
    }
}
