//! Reads the kernel's own counters of sockets, time-wait sockets and passive opens, and the limit
//! of time-wait sockets.
//!
//! The files are `sockstat`, `sockstat6`, `netstat` and `snmp` in `/proc/thread-self/net`, so the
//! counters belong to the network namespace of the calling thread.

use crate::{
    procfs::{
        self,
        counters::{visit_rows, visit_words},
        sysctl,
    },
    report::Family,
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
    /// The number of full sockets of each address family, in the order of
    /// [`Family::BOTH`](crate::report::Family::BOTH). The number of a family that is not counted is
    /// `None`.
    pub full_sockets_of: [Option<u64>; 2],
    /// The number of full sockets on the whole host that no process has open (`orphan` of
    /// `sockstat`). The kernel has one number for all network namespaces.
    pub orphans: Option<u64>,
    /// The sums that change with every packet and with every end of a socket.
    pub activity: Option<Activity>,
    /// The number of time-wait sockets now (`tw` of `sockstat`).
    pub time_wait_sockets: Option<u64>,
    /// The maximum number of time-wait sockets (`net.ipv4.tcp_max_tw_buckets`).
    pub time_wait_limit: Option<u64>,
    /// The sum of `TW` and `TWKilled` of `TcpExt`. Since Linux 5.18, `TW` plus `TWKilled` counts
    /// creations of time-wait sockets (`__inet_twsk_schedule`). Before Linux 5.18, `TW` plus
    /// `TWKilled` counts expired time-wait sockets.
    pub time_wait_turnover: Option<u64>,
    /// `time_wait_turnover` as it was before `time_wait_sockets` was read. A socket that is born
    /// between the two reads must not look like a socket that has ended.
    pub time_wait_turnover_before: Option<u64>,
    /// `TCPTimeWaitOverflow` of `TcpExt`: the number of time-wait sockets that the kernel did not
    /// create because `tcp_max_tw_buckets` was reached.
    pub time_wait_overflows: Option<u64>,
    /// The number of passive opens (`PassiveOpens` of `Tcp`) that had a request socket. The number
    /// excludes connections by SYN cookie or Fast Open.
    pub passive_opens: Option<u64>,
}

/// Sums of one network namespace. If no sum has changed between two moments, no full socket and no
/// time-wait socket of the namespace changed its state.
///
/// A change of a state needs a packet, a call of a program, or the end of a timer. A packet changes
/// `InSegs`. A call that changes a state sends a packet, or changes the number of sockets in the
/// kernel's tables. The end of a timer removes a socket or a time-wait socket. Request sockets are
/// in none of these sums: the end of their timer changes none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// `ActiveOpens`, `PassiveOpens`, `CurrEstab`, `InSegs` and `OutSegs` of `Tcp`.
    segments: [u64; 5],
    /// The counters of `TcpExt` whose names begin with `TCPAbortOn`.
    aborts: [u64; 5],
    /// `inuse` of `sockstat` and of `sockstat6`, and `tw` of `sockstat`.
    sockets: [u64; 3],
}

impl KernelCounters {
    /// Reads the counters. `counts_births` depends on the kernel's version, and
    /// `covers_whole_scope` depends on the counted namespaces.
    #[must_use]
    pub fn read(counts_births: bool, covers_whole_scope: bool) -> Self {
        let text = |name| procfs::net(name).unwrap_or_default();
        let time_wait_turnover_before = time_wait_turnover(&text("netstat"));
        let counters =
            Self::parse(&(text("sockstat") + &text("sockstat6")), &text("netstat"), &text("snmp"));
        // The limit is read each time, because the sysctl can change. The limit and the counters
        // belong to the thread's network namespace.
        let time_wait_limit = sysctl::value("net.ipv4.tcp_max_tw_buckets");
        Self {
            covers_whole_scope,
            counts_births,
            time_wait_limit,
            time_wait_turnover_before,
            ..counters
        }
    }

    /// Reads the counters that tcpstate can use if it counts only the sockets of one address
    /// family. The kernel has only one such counter, the number of full sockets.
    #[must_use]
    pub fn of_family(family: Family) -> Self {
        let both = Self::read(false, false);
        let mut full_sockets_of = [None; 2];
        full_sockets_of[family as usize] = both.full_sockets_of[family as usize];
        Self { full_sockets_of, activity: both.activity, ..Self::default() }
    }

    /// Returns the value of a counter, or `None` if the counter does not cover all counted sockets.
    #[must_use]
    pub fn whole(&self, counter: fn(&Self) -> Option<u64>) -> Option<u64> {
        counter(self).filter(|_| self.covers_whole_scope)
    }

    pub(super) fn parse(sockstat: &str, netstat: &str, snmp: &str) -> Self {
        let [mut inuse, mut inuse_of_ipv6, mut tw, mut orphans] = [None; 4];
        let sockets = visit_words(sockstat, |table, name, number| match (table, name) {
            ("TCP", "inuse") => inuse = Some(number),
            ("TCP6", "inuse") => inuse_of_ipv6 = Some(number),
            ("TCP", "tw") => tw = Some(number),
            ("TCP", "orphan") => orphans = Some(number),
            _ => {}
        });
        if sockets.is_err() {
            (inuse, tw, orphans) = (None, None, None);
        }
        // A kernel without IPv6 has no line for IPv6.
        let inuse_of_ipv6 = inuse.and(inuse_of_ipv6.or(Some(0)));
        let [overflows, by_cookie, by_fast_open] = of_rows(
            netstat,
            "TcpExt",
            ["TCPTimeWaitOverflow", "SyncookiesRecv", "TCPFastOpenPassive"],
        );
        let segments =
            of_rows(snmp, "Tcp", ["ActiveOpens", "PassiveOpens", "CurrEstab", "InSegs", "OutSegs"]);
        let aborts = of_rows(
            netstat,
            "TcpExt",
            [
                "TCPAbortOnData",
                "TCPAbortOnClose",
                "TCPAbortOnMemory",
                "TCPAbortOnTimeout",
                "TCPAbortOnLinger",
            ],
        );
        let passive_opens = segments[1];
        let activity = || {
            Some(Activity {
                segments: all(segments)?,
                aborts: all(aborts)?,
                sockets: all([inuse, inuse_of_ipv6, tw])?,
            })
        };
        let both = |first: Option<u64>, second: Option<u64>| first?.checked_add(second?);
        let shortcuts = both(by_cookie, by_fast_open);
        Self {
            covers_whole_scope: false,
            counts_births: false,
            full_sockets: both(inuse, inuse_of_ipv6),
            full_sockets_of: [inuse, inuse_of_ipv6],
            orphans,
            activity: activity(),
            time_wait_sockets: tw,
            time_wait_limit: None,
            time_wait_turnover: time_wait_turnover(netstat),
            time_wait_turnover_before: None,
            time_wait_overflows: overflows,
            passive_opens: passive_opens
                .zip(shortcuts)
                .map(|(opens, shortcuts)| opens.saturating_sub(shortcuts)),
        }
    }
}

/// Returns all numbers, or `None` if one of them is unknown.
fn all<const N: usize>(numbers: [Option<u64>; N]) -> Option<[u64; N]> {
    let mut known = [0; N];
    for (known, number) in known.iter_mut().zip(numbers) {
        *known = number?;
    }
    Some(known)
}

/// Returns [`KernelCounters::time_wait_turnover`] from the text of `/proc/net/netstat`.
fn time_wait_turnover(netstat: &str) -> Option<u64> {
    let [turnover, killed] = of_rows(netstat, "TcpExt", ["TW", "TWKilled"]);
    turnover?.checked_add(killed?)
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
    const NETSTAT: &str = "TcpExt: SyncookiesRecv TW TWKilled TCPTimeWaitOverflow TCPFastOpenPassive TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout TCPAbortOnLinger\nTcpExt: 2 11 5 1 4 0 0 0 0 0\nIpExt: TW\nIpExt: 9\n";
    const SNMP: &str =
        "Tcp: ActiveOpens PassiveOpens CurrEstab InSegs OutSegs\nTcp: 50 40 7 900 800\n";

    #[test]
    fn counters_are_found_by_name() {
        let counters = KernelCounters::parse(SOCKSTAT, NETSTAT, SNMP);
        assert_eq!((counters.full_sockets, counters.time_wait_sockets), (Some(7), Some(3)));
        assert_eq!(counters.time_wait_turnover, Some(16));
        assert_eq!(counters.time_wait_overflows, Some(1));
        assert_eq!(counters.passive_opens, Some(34));
        assert_eq!((counters.full_sockets_of, counters.orphans), ([Some(5), Some(2)], Some(0)));
    }

    #[test]
    fn every_sum_of_the_activity_shows_a_change() {
        let activity = |sockstat: &str, netstat: &str, snmp: &str| {
            KernelCounters::parse(sockstat, netstat, snmp).activity.expect("every sum is there")
        };
        let before = activity(SOCKSTAT, NETSTAT, SNMP);
        assert_eq!(activity(SOCKSTAT, NETSTAT, SNMP), before);
        assert_ne!(activity(&SOCKSTAT.replace("tw 3", "tw 2"), NETSTAT, SNMP), before);
        assert_ne!(
            activity(&SOCKSTAT.replace("TCP6: inuse 2", "TCP6: inuse 3"), NETSTAT, SNMP),
            before
        );
        assert_ne!(activity(SOCKSTAT, &NETSTAT.replace("4 0 0 0", "4 0 0 1"), SNMP), before);
        assert_ne!(activity(SOCKSTAT, NETSTAT, &SNMP.replace("900", "901")), before);
        let unknown = KernelCounters::parse(SOCKSTAT, NETSTAT, &SNMP.replace("InSegs", "Other"));
        assert_eq!(unknown.activity, None);
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
