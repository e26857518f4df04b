//! Facts of a recording: what it counted between two moments, and the settings of its system when it began.
//!
//! Of the kernel's own counters it has those that are sums of transitions and of time-wait sockets, as the kernel counts them
//! (`tcp_set_state` in `net/ipv4/tcp.c`). What else a live look tells is missing.

use std::time::Duration;

use tcpstate_common::State::{Close, CloseWait, Established, Listen, SynRecv, SynSent};

use super::{Counters, Facts, Missing, Sysctls};
use crate::{
    probe::kernel::Kernel,
    recording::Part,
    report::{Snapshot, Start},
};

/// What helps where a recording does not tell.
pub(super) const LOOK_THERE: &str = "run tcpstate doctor on that system, while it is so";

/// What was read of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it says of itself.
    pub part: &'a Part,
    /// When it began.
    pub start: &'a Start,
    /// What was counted before the time of interest; nothing, if that is from the begin on.
    pub before: Option<&'a Snapshot>,
    /// What was counted up to its end.
    pub after: &'a Snapshot,
}

impl Facts {
    /// What a recording tells.
    #[must_use]
    pub fn recorded(recorded: &Recorded<'_>) -> Self {
        let Recorded { name, part, start, before, after } = *recorded;
        // The wall clock may have been set meanwhile.
        let began = before.map_or(Duration::ZERO, |before| before.elapsed);
        let missing = |what: &str| Missing {
            cause: format!("{name} does not tell {what}"),
            help: LOOK_THERE.into(),
            source: name.into(),
        };
        let now = pairs(after);
        let then = match before {
            Some(before) => pairs(before),
            None => now.iter().map(|&(counter, _)| (counter, 0)).collect(),
        };
        Self {
            kernel: Kernel::from_release(start.kernel.clone()),
            interval: after.elapsed.saturating_sub(began),
            before: Counters::recorded(&then, name),
            after: Counters::recorded(&now, name),
            sysctls: Sysctls::recorded(&part.sysctls, &missing("settings")),
            files: Err(missing("what sysctl files say")),
            sockets: Err(missing("sockets one by one, only how many are in each state")),
            counts_births: true,
            recording: Some(name.into()),
        }
    }
}

/// Counters by the kernel's names, since the begin of the recording. Those that something was missed of are left out: they
/// would be too low.
fn pairs(snapshot: &Snapshot) -> Vec<(&'static str, u64)> {
    let count = |matches: fn(&(_, _)) -> bool| {
        let pairs = snapshot.transitions.iter().filter(|pair| matches(&(pair.from, pair.to)));
        pairs.map(|pair| pair.count).sum::<u64>()
    };
    let gauge = |state| {
        let slot = tcpstate_common::State::GAUGES.iter().position(|&gauge| gauge == state)?;
        snapshot.states[slot].current.and_then(|current| u64::try_from(current).ok())
    };
    let sees_all = snapshot.missed.transitions == 0;
    let counted = |number: u64| sees_all.then_some(number);
    let entries = snapshot.time_wait.entries.filter(|_| snapshot.missed.time_wait == 0);
    let known = [
        // With connects that found no free port, which the kernel enters SYN_SENT for, and does not count (`tcp_v4_connect`).
        ("Tcp ActiveOpens", counted(count(|pair| *pair == (Close, SynSent)))),
        ("Tcp PassiveOpens", counted(count(|pair| *pair == (Listen, SynRecv)))),
        (
            "Tcp EstabResets",
            counted(count(|&(from, to)| to == Close && [Established, CloseWait].contains(&from))),
        ),
        ("Tcp CurrEstab", gauge(Established).zip(gauge(CloseWait)).map(|(one, other)| one + other)),
        ("TCP tw", snapshot.time_wait.sockets),
        // Births alone, whatever the kernel's own count.
        ("TcpExt TW", entries),
        ("TcpExt TWKilled", entries.map(|_| 0)),
        ("TcpExt TCPTimeWaitOverflow", snapshot.time_wait.overflows),
    ];
    known.into_iter().filter_map(|(name, number)| Some((name, number?))).collect()
}
