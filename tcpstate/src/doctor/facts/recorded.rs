//! Creates the facts for the rules from a recording: the counts between two times, and the sysctls
//! of the recorded system when the recording started.
//!
//! The kernel counters that count transitions (`tcp_set_state` in `net/ipv4/tcp.c`) or time-wait
//! sockets are computed from the recording. All other facts are missing.

use std::time::Duration;

use tcpstate_common::State::{Close, CloseWait, Established, Listen, SynRecv, SynSent};

use super::{Counters, Facts, Missing, Sysctls};
use crate::{
    probe::kernel::Kernel,
    recording::Part,
    report::{Snapshot, Start},
};

/// The advice that a finding prints if the recording does not contain the data of the rule.
pub(super) const LOOK_THERE: &str = "Run tcpstate doctor on that system while the problem exists.";

/// The part of a recording that `doctor` checks.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The name of the recording.
    pub name: &'a str,
    /// The description of the recording in its file.
    pub part: &'a Part,
    /// The start of the recording.
    pub start: &'a Start,
    /// The counts at the start of the selected time, or `None` if the selected time starts when the
    /// recording starts.
    pub before: Option<&'a Snapshot>,
    /// The counts at the end of the selected time.
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

/// Returns the kernel's names of the counters, and the counts since the start of the recording. If
/// the recording missed events, the function leaves out the counters that count these events,
/// because these counters would be too low.
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
        // This count includes sockets whose connect() found no free port. The kernel moves these
        // sockets to SYN_SENT, but does not add them to its counter ActiveOpens (`tcp_v4_connect`).
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
