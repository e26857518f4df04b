//! Reads the kernel's own counters of time-wait sockets and passive opens, and the limit of
//! time-wait sockets.
//!
//! The files are `sockstat`, `sockstat6`, `netstat` and `snmp` in `/proc/thread-self/net`, so the
//! counters belong to the network namespace of the calling thread.

use crate::procfs::{
    self,
    counters::{visit_rows, visit_words},
    sysctl,
};

/// The values of the kernel's own counters at one moment. A counter is `None` if the file or the
/// counter is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// Whether the counters cover all counted sockets. If true, reports show the counters. If
    /// false, the counters cover only one of several counted namespaces. If false, a changed
    /// counter proves only that an event happened in that namespace.
    pub covers_whole_scope: bool,
    /// Whether `time_wait_turnover` counts creations. If false, `time_wait_turnover` counts
    /// expiries.
    pub counts_births: bool,
    /// The number of full sockets in the kernel's tables now, of both families (`inuse` of
    /// `sockstat` and `sockstat6`).
    pub full_sockets: Option<u64>,
    /// The number of time-wait sockets now (`tw` of `sockstat`).
    pub time_wait_sockets: Option<u64>,
    /// The maximum number of time-wait sockets (`net.ipv4.tcp_max_tw_buckets`).
    pub time_wait_limit: Option<u64>,
    /// The sum of `TW` and `TWKilled` of `TcpExt`. Since Linux 5.18, `TW` plus `TWKilled` counts
    /// creations of time-wait sockets (`__inet_twsk_schedule`). Before Linux 5.18, `TW` plus
    /// `TWKilled` counts expired time-wait sockets.
    pub time_wait_turnover: Option<u64>,
    /// `TCPTimeWaitOverflow` of `TcpExt`: the number of time-wait sockets that the kernel did not
    /// create because `tcp_max_tw_buckets` was reached.
    pub time_wait_overflows: Option<u64>,
    /// The number of passive opens (`PassiveOpens` of `Tcp`) that had a request socket. The number
    /// excludes connections by SYN cookie or Fast Open.
    pub passive_opens: Option<u64>,
}

impl KernelCounters {
    /// Reads the counters. `counts_births` depends on the kernel's version, and
    /// `covers_whole_scope` depends on the counted namespaces.
    #[must_use]
    pub fn read(counts_births: bool, covers_whole_scope: bool) -> Self {
        let text = |name| procfs::net(name).unwrap_or_default();
        let counters =
            Self::parse(&(text("sockstat") + &text("sockstat6")), &text("netstat"), &text("snmp"));
        // The limit is read each time, because the sysctl can change. The limit and the counters
        // belong to the thread's network namespace.
        let time_wait_limit = sysctl::value("net.ipv4.tcp_max_tw_buckets");
        Self { covers_whole_scope, counts_births, time_wait_limit, ..counters }
    }

    /// Returns the value of a counter, or `None` if the counter does not cover all counted sockets.
    #[must_use]
    pub fn whole(&self, counter: fn(&Self) -> Option<u64>) -> Option<u64> {
        counter(self).filter(|_| self.covers_whole_scope)
    }

    pub(super) fn parse(sockstat: &str, netstat: &str, snmp: &str) -> Self {
        let [mut inuse, mut inuse_of_ipv6, mut tw] = [None; 3];
        let sockets = visit_words(sockstat, |table, name, number| match (table, name) {
            ("TCP", "inuse") => inuse = Some(number),
            ("TCP6", "inuse") => inuse_of_ipv6 = Some(number),
            ("TCP", "tw") => tw = Some(number),
            _ => {}
        });
        if sockets.is_err() {
            (inuse, tw) = (None, None);
        }
        let [turnover, killed, overflows, by_cookie, by_fast_open] = of_rows(
            netstat,
            "TcpExt",
            ["TW", "TWKilled", "TCPTimeWaitOverflow", "SyncookiesRecv", "TCPFastOpenPassive"],
        );
        let [passive_opens] = of_rows(snmp, "Tcp", ["PassiveOpens"]);
        let both = |first: Option<u64>, second: Option<u64>| first?.checked_add(second?);
        let shortcuts = both(by_cookie, by_fast_open);
        Self {
            covers_whole_scope: false,
            counts_births: false,
            // A kernel without IPv6 has no line for IPv6.
            full_sockets: both(inuse, inuse_of_ipv6.or(Some(0))),
            time_wait_sockets: tw,
            time_wait_limit: None,
            time_wait_turnover: both(turnover, killed),
            time_wait_overflows: overflows,
            passive_opens: passive_opens
                .zip(shortcuts)
                .map(|(opens, shortcuts)| opens.saturating_sub(shortcuts)),
        }
    }
}

/// Returns the numbers with the given names in one table of `netstat` or `snmp`. If the file cannot
/// be parsed, every number is `None`.
fn of_rows<const N: usize>(text: &str, table: &str, names: [&str; N]) -> [Option<u64>; N] {
    let mut numbers = [None; N];
    let outcome = visit_rows(text, |of_table, name, number| {
        if of_table == table
            && let Some(slot) = names.iter().position(|&wanted| wanted == name)
        {
            numbers[slot] = Some(number);
        }
    });
    if outcome.is_ok() { numbers } else { [None; N] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKSTAT: &str =
        "sockets: used 9\nTCP: inuse 5 orphan 0 tw 3 alloc 7 mem 1\nTCP6: inuse 2\n";
    const NETSTAT: &str = "TcpExt: SyncookiesRecv TW TWKilled TCPTimeWaitOverflow TCPFastOpenPassive\nTcpExt: 2 11 5 1 4\nIpExt: TW\nIpExt: 9\n";
    const SNMP: &str = "Tcp: ActiveOpens PassiveOpens\nTcp: 50 40\n";

    #[test]
    fn counters_are_found_by_name() {
        let counters = KernelCounters::parse(SOCKSTAT, NETSTAT, SNMP);
        assert_eq!((counters.full_sockets, counters.time_wait_sockets), (Some(7), Some(3)));
        assert_eq!(counters.time_wait_turnover, Some(16));
        assert_eq!(counters.time_wait_overflows, Some(1));
        assert_eq!(counters.passive_opens, Some(34));
    }

    #[test]
    fn counters_of_one_namespace_of_several_are_not_shown() {
        let one = KernelCounters::parse(SOCKSTAT, NETSTAT, SNMP);
        assert_eq!(one.whole(|kernel| kernel.time_wait_overflows), None);
        let whole = KernelCounters { covers_whole_scope: true, ..one };
        assert_eq!(whole.whole(|kernel| kernel.time_wait_overflows), Some(1));
    }

    #[test]
    fn missing_counters_are_unknown_instead_of_zero() {
        assert_eq!(KernelCounters::parse("", "", ""), KernelCounters::default());
        let old = NETSTAT.replace("TCPTimeWaitOverflow", "Other");
        assert_eq!(KernelCounters::parse("", &old, "").time_wait_overflows, None);
    }
}
