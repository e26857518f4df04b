//! The scopes that a user can choose, and the comparison of their gauges with the truth.

use std::fmt;

use tcpstate::{
    probe::{Netns, Options},
    report::{self, Gauge, Snapshot},
};
use tcpstate_common::State;

use crate::{
    emulated::is_emulated,
    traced::here,
    traffic::Family,
    truth::{self, Counts},
};

/// The sockets that a tracer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The sockets of the thread's namespace.
    One,
    /// The sockets of all namespaces. Only the row of the thread's namespace is compared.
    All,
    /// The sockets of one family in the thread's namespace.
    Family(Family),
    /// The sockets of the thread's namespace. Each family is also counted separately.
    ByFamily,
}

impl Scope {
    const ALL: [Self; 5] =
        [Self::One, Self::All, Self::Family(Family::V4), Self::Family(Family::V6), Self::ByFamily];
    /// The scopes on an emulated machine, on which each tracer starts slowly.
    const FEW: [Self; 3] = [Self::One, Self::All, Self::Family(Family::V6)];

    pub(super) fn chosen() -> &'static [Self] {
        if is_emulated() { &Self::FEW } else { &Self::ALL }
    }

    /// Returns whether the tracer counts sockets of the family separately from sockets of the other
    /// family.
    #[must_use]
    pub fn is_of_family(self) -> bool {
        matches!(self, Self::Family(_) | Self::ByFamily)
    }

    /// The family of the counted sockets. The value `None` means both families.
    #[must_use]
    pub fn family(self) -> Option<Family> {
        match self {
            Self::Family(family) => Some(family),
            Self::One | Self::All | Self::ByFamily => None,
        }
    }

    pub(crate) fn options(self, options: &Options) -> Options {
        let mut options = options.clone();
        match self {
            Self::One => {}
            Self::All => options.netns = Netns::All,
            Self::Family(Family::V4) => options.family = Some(report::Family::V4),
            Self::Family(Family::V6) => options.family = Some(report::Family::V6),
            Self::ByFamily => options.by_family = true,
        }
        options
    }

    /// Compares each gauge of a snapshot with the truth.
    pub(super) fn compare(self, snapshot: &Snapshot, truth: &Truth) -> Vec<Comparison> {
        let [v4, v6] = truth.0.map(|sockets| sockets.all());
        let of_scope = match self {
            Self::One | Self::All | Self::ByFamily => v4 + v6,
            Self::Family(Family::V4) => v4,
            Self::Family(Family::V6) => v6,
        };
        let (states, _) = here(snapshot);
        let rows = snapshot.families.iter().flatten().zip([v4, v6]);
        let rows = rows.flat_map(|(row, sockets)| comparisons(&row.states, sockets));
        comparisons(&states, of_scope).chain(rows).collect()
    }
}

/// The sockets of each family in the thread's namespace, counted without BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Truth([truth::Sockets; 2]);

impl Truth {
    pub(super) fn now() -> Self {
        Self(Family::BOTH.map(truth::sockets_of))
    }
}

/// A gauge and the number of sockets that the kernel has in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    state: State,
    gauge: Option<i64>,
    truth: i64,
}

impl Comparison {
    pub(super) fn is_right(self) -> bool {
        self.gauge == Some(self.truth)
    }

    /// Returns the error of the gauge. An unknown gauge has no error.
    pub(super) fn error(self) -> u64 {
        self.gauge.map_or(0, |gauge| gauge.abs_diff(self.truth))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, gauge, truth } = self;
        match gauge {
            Some(gauge) => write!(f, "{state} is {gauge}, the kernel has {truth}"),
            None => write!(f, "{state} is unknown, the kernel has {truth}"),
        }
    }
}

fn comparisons(gauges: &[Gauge; 10], sockets: Counts) -> impl Iterator<Item = Comparison> {
    let compare = move |(state, gauge): (State, &Gauge)| Comparison {
        state,
        gauge: gauge.current,
        truth: sockets[state].cast_signed(),
    };
    State::GAUGES.into_iter().zip(gauges).map(compare)
}
