//! A row for each network namespace: its gauges, from its first socket until it is gone and empty.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use tcpstate_common::State;

use super::{gauges::Gauges, time_wait};
use crate::{
    report::{NamespaceRow, NamespaceStart, Provider, TimeWait},
    source::{Flows, Identity, Namespace, Population, Reading, Scan},
};

type Cut = BTreeMap<Identity, Namespace>;

/// The rows of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    live: BTreeMap<Identity, Row>,
    /// What the rows at the start were called, by inode.
    opening: Vec<NamespaceStart>,
    /// Gone and empty: nothing is counted in these any more.
    finished: Vec<Identity>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    gauges: Gauges,
    /// Totals are since here.
    origin: Flows,
}

impl Rows {
    /// Opens a row for each namespace that the first scan met.
    pub(super) fn open(first: &Scan) -> Self {
        let mut rows = Self::default();
        for (&identity, namespace) in cut(&first.end) {
            let gauges = Gauges::open(&base(first, identity), &in_scan(first, identity, namespace));
            rows.opening.push(NamespaceStart {
                netns: namespace.inode,
                name: namespace.name.clone(),
                states: State::GAUGES.map(|state| gauges.opening(state)),
            });
            rows.live.insert(identity, Row { gauges, origin: namespace.flows });
        }
        rows.opening.sort_by_key(|row| row.netns);
        rows
    }

    /// The rows at the start.
    pub(super) fn opening(&self) -> &[NamespaceStart] {
        &self.opening
    }

    /// Puts them right by a further scan, and opens rows for namespaces that had none: who has an entry at a scan's end
    /// had one since its first observe in that scan, for entries are taken out between scans only.
    pub(super) fn correct(&mut self, scan: &Scan) {
        for (&identity, namespace) in cut(&scan.end) {
            let (base, in_scan) = (base(scan, identity), in_scan(scan, identity, namespace));
            let new = || Row { origin: namespace.flows, ..Row::default() };
            let row = self.live.entry(identity).or_insert_with(new);
            row.gauges.correct(&base, &in_scan, &namespace.flows.since(&row.origin));
        }
    }

    /// Opens rows for namespaces met since the last reading, unless they may have been met before without having had room
    /// for a row (`!has_all_namespaces`). Returns by how much gauges were below zero.
    pub(super) fn update(&mut self, reading: &Reading, has_all_namespaces: bool) -> u64 {
        let mut lifted = 0;
        for (&identity, namespace) in cut(reading) {
            let row = match self.live.entry(identity) {
                Entry::Occupied(row) => row.into_mut(),
                Entry::Vacant(vacant) if has_all_namespaces => vacant.insert(Row::default()),
                Entry::Vacant(_) => continue,
            };
            lifted += row.gauges.floor(&namespace.flows.since(&row.origin));
        }
        lifted
    }

    /// The state of things at a reading, by inode.
    pub(super) fn show(
        &self,
        provider: Provider,
        reading: &Reading,
        interval_start: &Reading,
    ) -> Vec<NamespaceRow> {
        let interval = reading.at.monotonic.duration_since(interval_start.at.monotonic);
        let earlier = interval_start.namespaces.as_ref();
        let shown = cut(reading).filter_map(|(identity, namespace)| {
            let row = self.live.get(identity)?;
            let then = earlier.and_then(|cut| cut.get(identity)).map(|namespace| namespace.flows);
            let since_then = namespace.flows.since(&then.unwrap_or_default());
            Some(row.show(provider, namespace, &since_then, interval))
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort_by_key(|row| (row.netns, !row.is_gone));
        shown
    }

    /// Drops the rows of namespaces that are gone and empty, and says which; their last numbers are in what was shown of this
    /// reading.
    pub(super) fn drop_finished(&mut self, reading: &Reading) -> Vec<Identity> {
        let mut finished = Vec::new();
        for (identity, namespace) in cut(reading).filter(|(_, namespace)| namespace.is_gone) {
            if let Entry::Occupied(row) = self.live.entry(*identity)
                && row.get().gauges.is_empty(&namespace.flows.since(&row.get().origin))
            {
                row.remove();
                finished.push(*identity);
            }
        }
        self.finished.extend_from_slice(&finished);
        finished
    }

    /// Those that were dropped since the last call.
    pub(super) fn take_finished(&mut self) -> Vec<Identity> {
        std::mem::take(&mut self.finished)
    }
}

impl Row {
    fn show(
        &self,
        provider: Provider,
        namespace: &Namespace,
        in_interval: &Flows,
        interval: Duration,
    ) -> NamespaceRow {
        let since = namespace.flows.since(&self.origin);
        let is_seen = |state| state != State::TimeWait || provider.is_exact();
        let gauge = |state| is_seen(state).then(|| self.gauges.gauge(state, &since));
        NamespaceRow {
            netns: namespace.inode,
            name: namespace.name.clone(),
            is_gone: namespace.is_gone,
            states: State::GAUGES.map(|state| gauge(state).unwrap_or_default()),
            time_wait: if provider.is_exact() {
                let sockets = self.gauges.time_wait_sockets(&since);
                time_wait::counted(provider, sockets, &since, (in_interval, interval))
            } else {
                TimeWait::default()
            },
        }
    }
}

fn cut(reading: &Reading) -> impl Iterator<Item = (&Identity, &Namespace)> {
    reading.namespaces.iter().flat_map(Cut::iter)
}

/// What the scan found in a namespace.
fn base(scan: &Scan, identity: Identity) -> Population {
    scan.bases.get(&identity).copied().unwrap_or_default()
}

/// What came and went in it during the scan.
fn in_scan(scan: &Scan, identity: Identity, namespace: &Namespace) -> Flows {
    let zero = scan.zero.namespaces.as_ref().and_then(|cut| cut.get(&identity));
    namespace.flows.since(&zero.map(|namespace| namespace.flows).unwrap_or_default())
}
