//! Histograms of durations, in each form of output.

mod csv;
mod json;
mod table;

use tcpstate_common::{State, histogram::By};

pub(super) use self::table::bar;
pub use self::{csv::HistCsv, json::HistJson, table::HistTable};
use crate::{
    report::{Group, Histogram, Of, SocketKind, Tally},
    text::readable,
};

/// A section of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The matrix of transitions: for each pair of states, how often sockets went from the first
    /// state to the second state.
    Matrix,
    /// The duration of connects, for clients and servers.
    Connect,
    /// The lifetime of connections.
    Lifetime,
    /// The lifetime of time-wait sockets.
    TimeWait,
    /// How long sockets were in a state: one histogram for each state.
    State,
    /// How long sockets were in a state before a transition: one histogram for each transition.
    Transition,
}

impl Section {
    /// All sections, in the order of the output.
    pub const ALL: [Self; 6] = [
        Self::Matrix,
        Self::Connect,
        Self::Lifetime,
        Self::TimeWait,
        Self::State,
        Self::Transition,
    ];

    /// Returns the name by which a user chooses the section on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Connect => "connect",
            Self::Lifetime => "lifetime",
            Self::TimeWait => "time-wait",
            Self::State => "state",
            Self::Transition => "transition",
        }
    }

    fn of(of: Of) -> Self {
        match of {
            Of::ConnectClient | Of::ConnectServer => Self::Connect,
            Of::Lifetime => Self::Lifetime,
            Of::TimeWaitHold => Self::TimeWait,
            Of::State(..) => Self::State,
            Of::Transition(..) | Of::OtherTransitions => Self::Transition,
        }
    }
}

/// Returns the histograms of the given sections.
fn chosen<'a>(
    histograms: &'a [Histogram],
    sections: &'a [Section],
) -> impl Iterator<Item = &'a Histogram> {
    histograms.iter().filter(|histogram| sections.contains(&Section::of(histogram.of)))
}

/// Returns whether more durations are unknown than known. If more durations are unknown, no form of
/// output has percentiles, because percentiles of the known durations would mislead.
fn is_mostly_unknown(tally: &Tally) -> bool {
    tally.unknown > tally.count()
}

/// The kind of a duration as labels, for JSON and CSV. A label that does not apply to this kind of
/// duration is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Labels {
    pub(super) of: &'static str,
    pub(super) state: Option<&'static str>,
    pub(super) from: Option<&'static str>,
    pub(super) to: Option<&'static str>,
    /// `full` or `mini` for durations of states; `None` for other durations.
    pub(super) sockets: Option<&'static str>,
    /// `client` or `server` for connect latency; `None` for other durations.
    pub(super) side: Option<&'static str>,
}

impl Labels {
    pub(super) fn of(of: Of) -> Self {
        let nothing = Self::default();
        match of {
            Of::State(state, kind) => Self {
                of: "state_duration",
                state: Some(state.label()),
                sockets: Some(match kind {
                    SocketKind::Full => "full",
                    SocketKind::Mini => "mini",
                }),
                ..nothing
            },
            Of::Transition(from, to) => Self {
                of: "transition_duration",
                from: Some(from.label()),
                to: Some(to.label()),
                ..nothing
            },
            Of::OtherTransitions => Self { of: "transition_duration", ..nothing },
            Of::ConnectClient => Self { of: "connect_latency", side: Some("client"), ..nothing },
            Of::ConnectServer => Self { of: "connect_latency", side: Some("server"), ..nothing },
            Of::Lifetime => Self { of: "lifetime", ..nothing },
            Of::TimeWaitHold => Self {
                of: "time_wait_hold",
                state: Some(State::TimeWait.label()),
                sockets: Some("mini"),
                ..nothing
            },
        }
    }
}

/// Returns the name of the key by which sockets are grouped, for JSON and CSV.
pub(super) const fn by_label(by: By) -> &'static str {
    match by {
        By::LocalPort => "local_port",
        By::RemotePort => "remote_port",
        By::Remote => "remote",
        By::Netns => "netns",
        By::Cgroup => "cgroup",
        By::Comm => "comm",
    }
}

/// Returns a group as text. Returns `None` for the group of the sockets without a key.
pub(super) fn group_text(group: &Group) -> Option<String> {
    Some(match group {
        Group::Port(port) => port.to_string(),
        Group::Address(address) => address.to_string(),
        Group::Netns(inode) => inode.to_string(),
        Group::Cgroup(id, path) => path.clone().unwrap_or_else(|| id.to_string()),
        Group::Comm(name) => readable(name).into_owned(),
        Group::Client => "client".to_owned(),
        Group::None => return None,
        Group::Other => "other".to_owned(),
    })
}
