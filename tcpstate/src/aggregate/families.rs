//! The gauges of each family, where they are told apart: parts of the whole's, made of the same cuts.

use tcpstate_common::State;

use super::gauges::Gauges;
use crate::{
    report::{Family, FamilyRow, Transition},
    source::{Counts, Flows, Population, Reading, Scan},
};

/// The gauges, by [`Family::BOTH`].
#[derive(Clone, Debug)]
pub(super) struct Families([Gauges; 2]);

impl Families {
    /// Opens them with the first scan, if it told families apart.
    pub(super) fn open(first: &Scan) -> Option<Self> {
        let [v4, v6] = parts(first)?;
        Some(Self([v4, v6].map(|(base, in_scan)| Gauges::open(base, &in_scan))))
    }

    /// Puts them right by a further scan.
    pub(super) fn correct(&mut self, scan: &Scan, origin: &Reading) {
        let (Some(parts), Some(since)) = (parts(scan), since(&scan.end, origin)) else { return };
        for ((gauges, (base, in_scan)), since) in self.0.iter_mut().zip(parts).zip(since) {
            gauges.correct(base, &in_scan, &since.flows);
        }
    }

    /// Lifts gauges from below zero; returns by how much, all together.
    pub(super) fn floor(&mut self, reading: &Reading, origin: &Reading) -> u64 {
        let Some(since) = since(reading, origin) else { return 0 };
        self.0.iter_mut().zip(since).map(|(gauges, since)| gauges.floor(&since.flows)).sum()
    }

    /// The state of things at a reading. `is_seen` says whether sockets in a state are seen at all.
    pub(super) fn show(
        &self,
        reading: &Reading,
        origin: &Reading,
        is_seen: impl Fn(State) -> bool,
    ) -> Option<[FamilyRow; 2]> {
        let since = since(reading, origin)?;
        Some(Family::BOTH.map(|family| {
            let (gauges, since) = (&self.0[family as usize], &since[family as usize]);
            let gauge = |state| is_seen(state).then(|| gauges.gauge(state, &since.flows));
            FamilyRow {
                states: State::GAUGES.map(|state| gauge(state).unwrap_or_default()),
                transitions: transitions(since, since),
            }
        }))
    }
}

/// The pairs that occurred, by kernel number.
pub(super) fn transitions(since_start: &Counts, in_interval: &Counts) -> Vec<Transition> {
    let pairs = State::ALL.into_iter().flat_map(|from| State::ALL.map(|to| (from, to)));
    let transition = |(from, to)| Transition {
        from,
        to,
        count: since_start.transitions(from, to),
        in_interval: in_interval.transitions(from, to),
    };
    pairs.map(transition).filter(|transition| transition.count > 0).collect()
}

/// What the scan found of each family, and what came and went during it.
fn parts(scan: &Scan) -> Option<[(&Population, Flows); 2]> {
    let bases = scan.family_bases.as_ref()?;
    let in_scan = since(&scan.end, &scan.zero)?;
    Some([0, 1].map(|family| (&bases[family], in_scan[family].flows)))
}

fn since(reading: &Reading, earlier: &Reading) -> Option<[Counts; 2]> {
    let (now, then) = (reading.families.as_ref()?, earlier.families.as_ref()?);
    Some([0, 1].map(|family: usize| now[family].since(&then[family])))
}
