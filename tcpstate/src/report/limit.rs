//! The limits of a run: the events that the attached hooks cannot observe, with reasons.

use std::fmt;

use super::{Minis, Provider, Transitions};

/// A kind of information that tcpstate cannot observe on this system, and the reason.
///
/// A limit is displayed as one sentence: `subject: hook, because reason: effect`. A recording
/// stores a limit only as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A hook that is not the best hook observes the transitions of full sockets.
    Transitions {
        /// The attached hook.
        by: Transitions,
        /// The reasons why no better hook is attached.
        reasons: Vec<Reason<Transitions>>,
        /// How the limit affects the results.
        effect: Effect,
    },
    /// The gauges of one kind of mini sockets are incomplete.
    Minis {
        /// The kind of mini sockets to which the limit applies.
        minis: Minis,
        /// The attached provider.
        by: Provider,
        /// The reasons why no better provider is attached.
        reasons: Vec<Reason<Provider>>,
        /// How the limit affects the results.
        effect: Effect,
    },
    /// The events of one kind of mini sockets are incomplete.
    Events {
        /// The kind of mini sockets to which the limit applies.
        minis: Minis,
        /// The attached provider.
        by: Provider,
        /// How the limit affects the events.
        effect: Effect,
    },
    /// RSTs that this host sends are not observed.
    Resets {
        /// The error that occurred when the hook was attached.
        reason: String,
    },
    /// No hook traces accept(), so another hook attributes accepted connections to processes.
    Acceptors {
        /// The hook that attributes accepted connections to processes.
        by: Acceptors,
        /// The error that occurred when the hook at accept() was attached.
        reason: String,
    },
    /// Sockets that were opened before the start have no owner.
    EarlierSockets(UnknownOwners),
    /// The durations of one kind of mini sockets are incomplete.
    Durations(Effect),
    /// Some network namespaces could not be found or entered in the last scan.
    Namespaces {
        /// The number of namespaces that could not be found or entered.
        unentered: u64,
    },
    /// The clock of this time namespace cannot be compared with the host's clock.
    Clock,
    /// Containers are in cgroups of version 1, but sockets belong to cgroups of version 2.
    Cgroups,
    /// A limit that was read from a recording.
    Recorded(String),
}

/// The reason why no better hook is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason<H> {
    /// The user requested the attached hook.
    Requested,
    /// A better hook failed with this error.
    Failed(H, String),
}

/// The effect of a limit on the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// With the attached hook, each transition costs more CPU time than with a better hook.
    CostlyTransitions,
    /// With the attached hook, tcpstate misses more transitions than with a better hook.
    MoreMissed,
    /// Expiry is the only known reason why time-wait sockets end.
    OnlyExpiryKnown,
    /// Time-wait sockets in FIN_WAIT2 and in TIME_WAIT are counted together, as one number.
    SumOfTimeWait,
    /// Time-wait sockets are not counted.
    NoTimeWait,
    /// Request sockets are not counted.
    NoRequests,
    /// Time-wait sockets have no events.
    NoTimeWaitLines,
    /// Request sockets have no events.
    NoRequestLines,
    /// Moves from FIN_WAIT2 to TIME_WAIT are reported late.
    LateMoves,
    /// tcpstate often does not know the time when a socket moves from FIN_WAIT2 to TIME_WAIT.
    UnknownMoves,
    /// The durations of dropped request sockets are not measured.
    UntimedDrops,
    /// The durations of time-wait sockets are not measured.
    UntimedTimeWait,
    /// The durations of request sockets are not measured.
    UntimedRequests,
}

impl Effect {
    /// Returns the text that describes the effect in a limit sentence.
    const fn in_words(self) -> &'static str {
        match self {
            Self::CostlyTransitions => "each transition costs more CPU time",
            Self::MoreMissed => {
                "more events are missed, and before Linux 6.12 missed events are not counted"
            }
            Self::OnlyExpiryKnown => "expiry is the only known exit reason",
            Self::SumOfTimeWait => {
                "mini sockets in FIN_WAIT2 and in TIME_WAIT are counted as one sum, and no exit reason is known"
            }
            Self::NoTimeWait => "mini sockets in TIME_WAIT and FIN_WAIT2 are not counted",
            Self::NoRequests => "half-open connections (request sockets) are not counted",
            Self::NoTimeWaitLines => "time-wait sockets have no events",
            Self::NoRequestLines => "request sockets have no events",
            Self::LateMoves => {
                "moves from FIN_WAIT2 to TIME_WAIT are reported up to half a second late"
            }
            Self::UnknownMoves => {
                "time_wait: timer: the time of the move from FIN_WAIT2 to TIME_WAIT is often unknown, but the total lifetime is known"
            }
            Self::UntimedDrops => "syn_recv: timer: dropped request sockets are not timed",
            Self::UntimedTimeWait => {
                "time_wait: time-wait sockets are not timed, because no hook observes each socket"
            }
            Self::UntimedRequests => {
                "syn_recv: request sockets are not timed, because no hook observes each socket: the start of incoming connections is unknown"
            }
        }
    }
}

/// The hook that attributes an accepted connection to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptors {
    /// A hook at accept() attributes the connection to a process.
    Accept,
    /// A hook at the first send or receive call attributes the connection to a process.
    Use,
    /// A hook at the first receive call attributes the connection to a process.
    Receive,
    /// No hook attributes accepted connections to processes.
    None,
}

impl Acceptors {
    /// All hooks, best first.
    pub const ALL: [Self; 4] = [Self::Accept, Self::Use, Self::Receive, Self::None];

    /// Describes to which process an accepted connection is attributed if this hook is attached.
    const fn effect(self) -> &'static str {
        match self {
            Self::Accept => "accepted connections are attributed to the process that accepts them",
            Self::Use => {
                "accepted connections are attributed to the first process that sends or receives on them"
            }
            Self::Receive => {
                "accepted connections are attributed to the first process that receives data on them"
            }
            Self::None => "accepted connections have no owner",
        }
    }
}

/// The reason why sockets that were opened before the start have no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOwners {
    /// `/proc` shows an inner PID namespace. Processes outside this namespace have no id in it,
    /// and tcpstate cannot find their open sockets.
    OutsidePidNamespace,
    /// `/proc` shows no PID namespace that tcpstate can identify, so no id is known.
    NoPidNamespace,
    /// The owners of this number of sockets did not fit in the table of owners.
    TableFull(u64),
    /// This user may not read the open files of all processes.
    Hidden,
}

impl Limit {
    /// Returns whether this limit applies to the gauges of this kind of mini sockets.
    #[must_use]
    pub fn limits_gauges_of(&self, of: Minis) -> bool {
        matches!(self, Self::Minis { minis, .. } if *minis == of)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transitions { by, reasons, effect } => {
                let (reasons, effect) = (because(reasons, Transitions::name), effect.in_words());
                write!(to, "transitions: {}{reasons}: {effect}", by.name())
            }
            Self::Minis { minis, by, reasons, effect } => {
                let (reasons, effect) = (because(reasons, Provider::name), effect.in_words());
                write!(to, "{}: {}{reasons}: {effect}", minis.name(), by.name())
            }
            Self::Events { minis, by, effect } => {
                write!(to, "events: {}: {}: {}", minis.name(), by.name(), effect.in_words())
            }
            Self::Resets { reason } => write!(
                to,
                "events: sent RSTs are not observed, because {reason}: a connection reset after close() can show local_fin or remote_rst instead of local_rst"
            ),
            Self::Acceptors { by, reason } => {
                write!(to, "owners: accept() is not traced, because {reason}: {}", by.effect())
            }
            Self::EarlierSockets(why) => why.fmt(to),
            Self::Durations(effect) => write!(to, "histograms: {}", effect.in_words()),
            Self::Namespaces { unentered } => write!(
                to,
                "namespaces: {unentered} could not be found or entered: sockets opened there before the start are counted only after they change state"
            ),
            Self::Clock => to.write_str(
                "events: times are shifted, because the offset of the time namespace cannot be read",
            ),
            Self::Cgroups => to.write_str(
                "cgroups: this host uses cgroup version 1, and sockets belong to cgroups of version 2: lines get cgroup and container from /proc/PID/cgroup, --cgroup and --by cgroup see only version 2",
            ),
            Self::Recorded(sentence) => to.write_str(sentence),
        }
    }
}

impl UnknownOwners {
    fn fmt(self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUBJECT: &str = "owners: unknown for sockets opened before the start";
        const EFFECT: &str = "they have no owner until they connect or listen again";
        match self {
            Self::OutsidePidNamespace => to.write_str(
                "owners: processes outside this PID namespace have no pid: sockets that they opened before the start have no owner",
            ),
            Self::NoPidNamespace => to.write_str(
                "owners: pids are unknown, because /proc does not show the PID namespace of tcpstate: sockets opened before the start have no owner",
            ),
            Self::TableFull(sockets) => write!(
                to,
                "owners: not stored for {sockets} sockets opened before the start, because the table is full: increase --max-event-sockets"
            ),
            Self::Hidden => write!(
                to,
                "{SUBJECT}, because this user may not read the open files of all processes: {EFFECT}"
            ),
        }
    }
}

/// Returns the part of a limit sentence that names the reasons (`, because …`). If there is no
/// reason, the function returns an empty string.
fn because<H: Copy>(reasons: &[Reason<H>], name: fn(H) -> &'static str) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let reason = |reason: &Reason<H>| match reason {
        Reason::Requested => "it was requested".to_owned(),
        Reason::Failed(hook, why) => format!("{}: {why}", name(*hook)),
    };
    format!(", because {}", reasons.iter().map(reason).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_the_hook_the_reasons_and_the_effect() {
        let failed = |hook, why: &str| Reason::Failed(hook, why.to_owned());
        let reasons = vec![
            failed(Provider::Fentry, "refused"),
            failed(Provider::Timer, "its hooks never fired, but such sockets appeared"),
        ];
        let polled = Limit::Minis {
            minis: Minis::TimeWait,
            by: Provider::Polled,
            reasons,
            effect: Effect::SumOfTimeWait,
        };
        assert_eq!(
            polled.to_string(),
            "time_wait: polled, because fentry: refused; timer: its hooks never fired, but such sockets appeared: mini sockets in FIN_WAIT2 and in TIME_WAIT are counted as one sum, and no exit reason is known"
        );
        assert!(
            polled.limits_gauges_of(Minis::TimeWait) && !polled.limits_gauges_of(Minis::SynRecv)
        );
        let chosen = Limit::Transitions {
            by: Transitions::RawTp,
            reasons: vec![Reason::Requested],
            effect: Effect::CostlyTransitions,
        };
        assert_eq!(
            chosen.to_string(),
            "transitions: raw_tp, because it was requested: each transition costs more CPU time"
        );
        let without_reason = Limit::Events {
            minis: Minis::SynRecv,
            by: Provider::None,
            effect: Effect::NoRequestLines,
        };
        assert_eq!(
            without_reason.to_string(),
            "events: syn_recv: none: request sockets have no events"
        );
    }

    #[test]
    fn recorded_limits_display_their_sentence() {
        let sentence = "time_wait: polled, because of something that is not known here";
        let limit = Limit::Recorded(sentence.to_owned());
        assert_eq!(limit.to_string(), sentence);
        assert!(!limit.limits_gauges_of(Minis::TimeWait));
    }
}
