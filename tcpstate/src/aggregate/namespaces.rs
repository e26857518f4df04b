//! The gauges of each network namespace. The gauges of a namespace are kept until the namespace is
//! no longer in use and has no sockets.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use tcpstate_common::State;

use super::{gauges::Gauges, providers::Providers, time_wait, verify};
use crate::{
    report::{NamespaceRow, NamespaceStart, Provider, TimeWait},
    source::{Flows, Identity, Listing, Namespace, Population, Reading, Scan},
};

type Cut = BTreeMap<Identity, Namespace>;

/// The network namespaces of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Namespaces {
    live: BTreeMap<Identity, NamespaceGauges>,
    /// The namespaces at the start, ordered by inode.
    opening: Vec<NamespaceStart>,
    /// The namespaces that no longer exist and have no sockets.
    finished: Vec<Identity>,
}

#[derive(Clone, Debug, Default)]
struct NamespaceGauges {
    gauges: Gauges,
    /// These counts of the namespace are subtracted from later counts, to compute totals since the
    /// start.
    origin: Flows,
}

impl Namespaces {
    /// For each namespace in the first scan, sets the gauges to the result of the scan.
    pub(super) fn open(first: &Scan) -> Self {
        let mut namespaces = Self::default();
        for (&identity, namespace) in cut(&first.end) {
            let gauges = Gauges::open(&base(first, identity), &in_scan(first, identity, namespace));
            namespaces.opening.push(NamespaceStart {
                netns: namespace.inode,
                name: namespace.name.clone(),
                states: State::GAUGES.map(|state| gauges.opening(state)),
            });
            namespaces.live.insert(identity, NamespaceGauges { gauges, origin: namespace.flows });
        }
        namespaces.opening.sort_by_key(|namespace_gauges| namespace_gauges.netns);
        namespaces
    }

    /// Returns the namespaces at the start.
    pub(super) fn opening(&self) -> &[NamespaceStart] {
        &self.opening
    }

    /// Corrects the gauges so that the gauges equal the result of another scan, and adds namespaces
    /// that had no gauges.
    ///
    /// tcpstate removes the entries of namespaces only between scans. If a namespace has an entry
    /// at the end of a scan, all sockets that the scan found in the namespace are counted in this
    /// entry.
    ///
    /// A scan cannot visit a hidden namespace. The counts of its events stay the best that is known
    /// of its sockets, so the function does not change the gauges of a hidden namespace.
    pub(super) fn correct(&mut self, scan: &Scan) {
        let is_visited = |(identity, _): &(&Identity, &Namespace)| !scan.hidden.contains(identity);
        for (&identity, namespace) in cut(&scan.end).filter(is_visited) {
            let (base, in_scan) = (base(scan, identity), in_scan(scan, identity, namespace));
            let new = || NamespaceGauges { origin: namespace.flows, ..NamespaceGauges::default() };
            let namespace_gauges = self.live.entry(identity).or_insert_with(new);
            namespace_gauges.gauges.correct(
                &base,
                &in_scan,
                &namespace.flows.since(&namespace_gauges.origin),
            );
        }
    }

    /// Adds namespaces that appeared since the last reading. Earlier events of a new namespace may
    /// be missing if the table was full (`!has_all_namespaces`). If the table was full, the
    /// function does not add the namespace. Returns how many sockets were added in total to raise
    /// negative gauges to zero.
    pub(super) fn update(&mut self, reading: &Reading, has_all_namespaces: bool) -> u64 {
        let mut lifted = 0;
        for (&identity, namespace) in cut(reading) {
            let namespace_gauges = match self.live.entry(identity) {
                Entry::Occupied(namespace_gauges) => namespace_gauges.into_mut(),
                Entry::Vacant(vacant) if has_all_namespaces => {
                    vacant.insert(NamespaceGauges::default())
                }
                Entry::Vacant(_) => continue,
            };
            lifted +=
                namespace_gauges.gauges.floor(&namespace.flows.since(&namespace_gauges.origin));
        }
        lifted
    }

    /// Returns the gauges of each namespace, and the counts of the namespace since its start.
    pub(super) fn parts<'a>(
        &'a self,
        reading: &'a Reading,
    ) -> impl Iterator<Item = (&'a Gauges, Flows)> {
        cut(reading).filter_map(|(identity, namespace)| {
            let NamespaceGauges { gauges, origin } = self.live.get(identity)?;
            Some((gauges, namespace.flows.since(origin)))
        })
    }

    /// Returns the sums of all namespaces at the start.
    pub(super) fn opening_sums(&self) -> Gauges {
        Gauges::open_with_sums(&self.live.values().map(|namespace| &namespace.gauges))
    }

    /// Returns the largest difference between a gauge of a namespace and the list of its sockets.
    /// Sockets of a namespace that is hidden or no longer exists cannot be listed.
    pub(super) fn largest_difference(
        &self,
        providers: Providers,
        reading: &Reading,
        listing: &Listing,
    ) -> u64 {
        let differences = cut(reading).filter_map(|(identity, namespace)| {
            if namespace.is_gone || listing.hidden.contains(identity) {
                return None;
            }
            let row = self.live.get(identity)?.show(
                providers.time_wait,
                namespace,
                &Flows::default(),
                Duration::ZERO,
            );
            let listed = listing.namespaces.as_ref()?.get(identity).copied().unwrap_or_default();
            Some(verify::largest_difference(&row.states, providers, &listed))
        });
        differences.max().unwrap_or(0)
    }

    /// Returns the counts of each namespace at a reading, ordered by inode.
    pub(super) fn show(
        &self,
        provider: Provider,
        reading: &Reading,
        interval_start: &Reading,
    ) -> Vec<NamespaceRow> {
        let interval = reading.at.monotonic.duration_since(interval_start.at.monotonic);
        let earlier = interval_start.namespaces.as_ref();
        let shown = cut(reading).filter_map(|(identity, namespace)| {
            let namespace_gauges = self.live.get(identity)?;
            let then = earlier.and_then(|cut| cut.get(identity)).map(|namespace| namespace.flows);
            let since_then = namespace.flows.since(&then.unwrap_or_default());
            Some(namespace_gauges.show(provider, namespace, &since_then, interval))
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort_by_key(|namespace_gauges| (namespace_gauges.netns, !namespace_gauges.is_gone));
        shown
    }

    /// Removes the gauges of namespaces that no longer exist and have no sockets. Returns the
    /// identities of the removed namespaces. The snapshot of this reading contains the last numbers
    /// of the removed namespaces.
    pub(super) fn drop_finished(&mut self, reading: &Reading) -> Vec<Identity> {
        let mut finished = Vec::new();
        for (identity, namespace) in cut(reading).filter(|(_, namespace)| namespace.is_gone) {
            if let Entry::Occupied(namespace_gauges) = self.live.entry(*identity)
                && namespace_gauges
                    .get()
                    .gauges
                    .is_empty(&namespace.flows.since(&namespace_gauges.get().origin))
            {
                namespace_gauges.remove();
                finished.push(*identity);
            }
        }
        self.finished.extend_from_slice(&finished);
        finished
    }

    /// Returns the namespaces that were removed since the last call.
    pub(super) fn take_finished(&mut self) -> Vec<Identity> {
        std::mem::take(&mut self.finished)
    }
}

impl NamespaceGauges {
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

/// Returns the sockets that the scan found in a namespace.
fn base(scan: &Scan, identity: Identity) -> Population {
    scan.bases.get(&identity).copied().unwrap_or_default()
}

/// Returns how many sockets of a namespace entered and left each state during the scan.
fn in_scan(scan: &Scan, identity: Identity, namespace: &Namespace) -> Flows {
    let zero = scan.zero.namespaces.as_ref().and_then(|cut| cut.get(&identity));
    namespace.flows.since(&zero.map(|namespace| namespace.flows).unwrap_or_default())
}
