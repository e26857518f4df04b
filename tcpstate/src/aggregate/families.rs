//! The gauges of each address family, if families are counted separately. Each gauge of a family is
//! a part of the gauge of all sockets. The gauges of all sockets and of each family are computed
//! from the same cuts.

use tcpstate_common::State;

use super::gauges::Gauges;
use crate::{
    report::{Family, FamilyRow, Transition},
    source::{Counts, Flows, Population, Reading, Scan},
};

/// The gauges of both families, in the order of [`Family::BOTH`].
#[derive(Clone, Debug)]
pub(super) struct Families([Gauges; 2]);

impl Families {
    /// Sets the gauges to the result of the first scan. The function returns `None` if the scan
    /// does not count families separately.
    pub(super) fn open(first: &Scan) -> Option<Self> {
        let [v4, v6] = parts(first)?;
        Some(Self([v4, v6].map(|(base, in_scan)| Gauges::open(base, &in_scan))))
    }

    /// Corrects the gauges so that the gauges equal the result of another scan.
    pub(super) fn correct(&mut self, scan: &Scan, origin: &Reading) {
        let (Some(parts), Some(since)) = (parts(scan), since(&scan.end, origin)) else { return };
        for ((gauges, (base, in_scan)), since) in self.0.iter_mut().zip(parts).zip(since) {
            gauges.correct(base, &in_scan, &since.flows);
        }
    }

    /// Raises negative gauges to zero. Returns how many sockets were added in total to raise
    /// negative gauges to zero.
    pub(super) fn floor(&mut self, reading: &Reading, origin: &Reading) -> u64 {
        let Some(since) = since(reading, origin) else { return 0 };
        self.0.iter_mut().zip(since).map(|(gauges, since)| gauges.floor(&since.flows)).sum()
    }

    /// Returns the number of full sockets of each family, in the order of [`Family::BOTH`].
    pub(super) fn full_sockets(&self, reading: &Reading, origin: &Reading) -> Option<[i64; 2]> {
        let since = since(reading, origin)?;
        Some([0, 1].map(|family: usize| self.0[family].full_sockets(&since[family].flows)))
    }

    /// Returns the counts of each family at a reading. `is_seen` returns whether the attached hooks
    /// observe sockets in a state.
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

/// Returns the transitions that occurred, in the order of the kernel's state numbers.
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

/// Returns the sockets of each family that the scan found, and how many sockets entered and left
/// each state during the scan.
fn parts(scan: &Scan) -> Option<[(&Population, Flows); 2]> {
    let bases = scan.family_bases.as_ref()?;
    let in_scan = since(&scan.end, &scan.zero)?;
    Some([0, 1].map(|family| (&bases[family], in_scan[family].flows)))
}

fn since(reading: &Reading, earlier: &Reading) -> Option<[Counts; 2]> {
    let (now, then) = (reading.families.as_ref()?, earlier.families.as_ref()?);
    Some([0, 1].map(|family: usize| now[family].since(&then[family])))
}
