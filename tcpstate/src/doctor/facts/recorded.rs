//! Facts of a recording: the counts between two times, and the settings of the recorded system at
//! the start.
//!
//! A recording gives those kernel counters that are sums of transitions or of time-wait sockets
//! (`tcp_set_state` in `net/ipv4/tcp.c`). All other facts are missing.

use std::time::Duration;

use tcpstate_common::State::{Close, CloseWait, Established, Listen, SynRecv, SynSent};

use super::{Counters, Facts, Missing, Sysctls};
use crate::{
    probe::kernel::Kernel,
    recording::Part,
    report::{Snapshot, Start},
};

/// The advice of a finding whose data the recording does not contain.
pub(super) const LOOK_THERE: &str = "Run tcpstate doctor on that system while the problem exists.";

/// The part of a recording that doctor checks.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The name of the recording.
    pub name: &'a str,
    /// The description of the recording in its file.
    pub part: &'a Part,
    /// The start of the recording.
    pub start: &'a Start,
    /// The counts before the selected time. `None` if the selected time begins with the recording.
    pub before: Option<&'a Snapshot>,
    /// The counts up to the end of the selected time.
    pub after: &'a Snapshot,
}

impl Facts {
    /// The facts of a recording.
    #[must_use]
    pub fn recorded(recorded: &Recorded<'_>) -> Self {
        let Recorded { name, part, start, before, after } = *recorded;
        // The durations are computed from the time since the start, because the wall clock may have
        // been changed during the recording.
        let began = before.map_or(Duration::ZERO, |before| before.elapsed);
        let missing = |what: &str| Missing {
            cause: format!("{name} does not contain {what}"),
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
            files: Err(missing("sysctl files")),
            sockets: Err(missing("single sockets, only their number in each state")),
            counts_births: true,
            recording: Some(name.into()),
        }
    }
}

/// The counters since the start of the recording, by the kernel's names. If the recording missed
/// events, the counters that count these events are left out, because they would be too low.
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
        // The number includes sockets whose connect() found no free port. The kernel moves these
        // sockets to SYN_SENT but does not count them (`tcp_v4_connect`).
        ("Tcp ActiveOpens", counted(count(|pair| *pair == (Close, SynSent)))),
        ("Tcp PassiveOpens", counted(count(|pair| *pair == (Listen, SynRecv)))),
        (
            "Tcp EstabResets",
            counted(count(|&(from, to)| to == Close && [Established, CloseWait].contains(&from))),
        ),
        ("Tcp CurrEstab", gauge(Established).zip(gauge(CloseWait)).map(|(one, other)| one + other)),
        ("TCP tw", snapshot.time_wait.sockets),
        // `entries` counts the creations of time-wait sockets on every kernel. The kernel's counter
        // TW counts creations only since 5.18.
        ("TcpExt TW", entries),
        ("TcpExt TWKilled", entries.map(|_| 0)),
        ("TcpExt TCPTimeWaitOverflow", snapshot.time_wait.overflows),
    ];
    known.into_iter().filter_map(|(name, number)| Some((name, number?))).collect()
}
