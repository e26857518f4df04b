//! The limits of a run: what the hooks in place cannot see, and why.

use std::fmt;

use super::{Minis, Provider, Transitions};

/// Something that cannot be seen on this system, and why. It displays as one sentence, which
/// recordings keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Transitions of full sockets reach tcpstate through another hook than the best one.
    Transitions {
        /// The hook in place.
        by: Transitions,
        /// Why no better hook is in place.
        reasons: Vec<Reason<Transitions>>,
        /// What that costs.
        effect: Effect,
    },
    /// The gauges of mini sockets of one kind lack something.
    Minis {
        /// The kind.
        minis: Minis,
        /// The provider in place.
        by: Provider,
        /// Why no better provider is in place.
        reasons: Vec<Reason<Provider>>,
        /// What that costs.
        effect: Effect,
    },
    /// The lines of events of mini sockets lack something.
    Events {
        /// The kind of mini sockets.
        minis: Minis,
        /// The provider in place.
        by: Provider,
        /// What the lines lack.
        effect: Effect,
    },
    /// RSTs that this host sends are not seen.
    Resets {
        /// The failure of the hook.
        reason: String,
    },
    /// Accepted connections are attributed by other means than accept().
    Acceptors {
        /// How they are attributed.
        by: Acceptors,
        /// The failure of the hook at accept().
        reason: String,
    },
    /// Sockets from before the start have no owner.
    EarlierSockets(UnknownOwners),
    /// Durations of mini sockets lack something.
    Durations(Effect),
    /// Network namespaces that the last scan could not find or enter.
    Namespaces {
        /// The number of such namespaces.
        unentered: u64,
    },
    /// A limit of a recording, which keeps only the sentence.
    Recorded(String),
}

/// Why a hook is in place of a better one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason<H> {
    /// The user asked for it.
    AskedFor,
    /// A better hook failed: which one, and how.
    Failed(H, String),
}

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A transition takes more processor time.
    DearTransitions,
    /// More transitions are missed.
    MoreMissed,
    /// ReasonCounts of time-wait sockets have no cause except expiry.
    CauselessExits,
    /// Time-wait sockets are known only in sum, whatever their substate.
    SumOfTimeWait,
    /// Time-wait sockets are not counted.
    NoTimeWait,
    /// Request sockets are not counted.
    NoRequests,
    /// Time-wait sockets have no lines.
    NoTimeWaitLines,
    /// Request sockets have no lines.
    NoRequestLines,
    /// Moves of time-wait sockets have late lines.
    LateMoves,
    /// The moment at which a time-wait socket moved to TIME_WAIT is often unknown.
    UnknownMoves,
    /// Request sockets that are dropped are not timed.
    UntimedDrops,
    /// Time-wait sockets are not timed.
    UntimedTimeWait,
    /// Request sockets are not timed.
    UntimedRequests,
}

impl Effect {
    /// The effect in words.
    const fn in_words(self) -> &'static str {
        match self {
            Self::DearTransitions => "a transition costs more",
            Self::MoreMissed => "more events are missed, and before 6.12 uncounted",
            Self::CauselessExits => "exits other than by expiry are not told apart",
            Self::SumOfTimeWait => {
                "mini sockets in FIN_WAIT2 and in TIME_WAIT are not told apart, nor are exits"
            }
            Self::NoTimeWait => "mini sockets in TIME_WAIT and FIN_WAIT2 are not counted",
            Self::NoRequests => "half-open connections (request sockets) are not counted",
            Self::NoTimeWaitLines => "time-wait sockets have no lines",
            Self::NoRequestLines => "request sockets have no lines",
            Self::LateMoves => {
                "moves from FIN_WAIT2 to TIME_WAIT are seen late, up to half a second"
            }
            Self::UnknownMoves => {
                "time-wait sockets by timer: when one moved from FIN_WAIT2 to TIME_WAIT is often unknown; how long it was there is not"
            }
            Self::UntimedDrops => "request sockets by timer: those that are dropped are not timed",
            Self::UntimedTimeWait => "time-wait sockets are not timed: nothing sees each one",
            Self::UntimedRequests => {
                "request sockets are not timed: nothing sees each one, so nobody knows when a connection that came in began"
            }
        }
    }
}

/// How the process is found that an accepted connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptors {
    /// By accept() itself.
    Accept,
    /// By the first send or receive.
    Use,
    /// By the first receive that takes data.
    Receive,
    /// Not at all.
    None,
}

impl Acceptors {
    /// Best first.
    pub const ALL: [Self; 4] = [Self::Accept, Self::Use, Self::Receive, Self::None];

    /// The process that an accepted connection is attributed to, where that is not the one that
    /// accepted it.
    const fn instead(self) -> &'static str {
        match self {
            Self::Accept => "",
            Self::Use => "of who first sends or receives on them",
            Self::Receive => "of who first receives data from them",
            Self::None => "of nobody",
        }
    }
}

/// Why sockets from before the start have no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOwners {
    /// Process ids in this PID namespace are not those that the kernel half reads.
    OtherPidNamespace,
    /// There was no room for the owners of this many sockets.
    TableFull(u64),
    /// This user may not see the open files of all processes.
    Hidden,
}

impl Limit {
    /// Whether it is a limit of the gauges of this kind of mini sockets.
    #[must_use]
    pub fn is_of(&self, of: Minis) -> bool {
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
                "events: {reason}: the RST by which a connection ended after its close is not known of"
            ),
            Self::Acceptors { by, reason } => {
                write!(to, "owners: accepted connections are {}, because {reason}", by.instead())
            }
            Self::EarlierSockets(why) => why.fmt(to),
            Self::Durations(effect) => write!(to, "histograms: {}", effect.in_words()),
            Self::Namespaces { unentered } => write!(
                to,
                "namespaces: {unentered} could not be found or entered: of sockets that were in them before, only those that move are counted"
            ),
            Self::Recorded(sentence) => to.write_str(sentence),
        }
    }
}

impl UnknownOwners {
    fn fmt(self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LACK: &str =
            "owners: sockets from before the start have none until they connect or listen again";
        match self {
            Self::OtherPidNamespace => {
                write!(to, "{LACK}, because this is not the host's PID namespace")
            }
            Self::TableFull(sockets) => write!(
                to,
                "owners: of {sockets} sockets from before the start there was no room for theirs: a larger --event-sockets makes some"
            ),
            Self::Hidden => {
                write!(to, "{LACK}, because this user may not see all that others have open")
            }
        }
    }
}

/// The clause that names the reasons; empty if there are none.
fn because<H: Copy>(reasons: &[Reason<H>], name: fn(H) -> &'static str) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let reason = |reason: &Reason<H>| match reason {
        Reason::AskedFor => "it was asked for".to_owned(),
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
            failed(Provider::Timer, "its hooks never fired, though such sockets came"),
        ];
        let polled = Limit::Minis {
            minis: Minis::TimeWait,
            by: Provider::Polled,
            reasons,
            effect: Effect::SumOfTimeWait,
        };
        assert_eq!(
            polled.to_string(),
            "time_wait: polled, because fentry: refused; timer: its hooks never fired, though such sockets came: mini sockets in FIN_WAIT2 and in TIME_WAIT are not told apart, nor are exits"
        );
        assert!(polled.is_of(Minis::TimeWait) && !polled.is_of(Minis::SynRecv));
        let chosen = Limit::Transitions {
            by: Transitions::RawTp,
            reasons: vec![Reason::AskedFor],
            effect: Effect::DearTransitions,
        };
        assert_eq!(
            chosen.to_string(),
            "transitions: raw_tp, because it was asked for: a transition costs more"
        );
        let without_reason = Limit::Events {
            minis: Minis::SynRecv,
            by: Provider::None,
            effect: Effect::NoRequestLines,
        };
        assert_eq!(
            without_reason.to_string(),
            "events: syn_recv: none: request sockets have no lines"
        );
    }

    #[test]
    fn a_limit_of_a_recording_is_its_sentence() {
        let sentence = "time_wait: polled, because of something that is not known here";
        let limit = Limit::Recorded(sentence.to_owned());
        assert_eq!(limit.to_string(), sentence);
        assert!(!limit.is_of(Minis::TimeWait));
    }
}
