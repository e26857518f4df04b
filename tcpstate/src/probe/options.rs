//! The options of the load: the choices of users, and settings of tests.

use tcpstate_common::histogram::By;

use super::{EventOptions, HistogramOptions, Netns, socket_table::Capacity};
use crate::{
    filter::EventFilter,
    report::{Family, Provider, Transitions},
};

/// The default number of network namespaces with rows. They take 6 MiB.
pub const MAX_NAMESPACES: u32 = 4096;

/// The options of the load.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each switches something of its own")]
pub struct Options {
    /// The network namespaces to count.
    pub netns: Netns,
    /// Count only sockets of this address family.
    pub family: Option<Family>,
    /// Also count each address family separately.
    pub by_family: bool,
    /// The maximum number of network namespaces with rows. The default is [`MAX_NAMESPACES`].
    pub max_namespaces: Option<u32>,
    /// Use only this hook for transitions of full sockets.
    pub transitions: Option<Transitions>,
    /// Use only this provider for time-wait sockets.
    pub time_wait: Option<Provider>,
    /// Use only this provider for request sockets.
    pub syn_recv: Option<Provider>,
    /// Record each transition with its connection.
    pub events: Option<EventOptions>,
    /// The events to record. It also selects durations by the event that ends them. Conditions on
    /// owners and on the minimum duration do not apply to durations.
    pub event_filter: EventFilter,
    /// Measure durations of states and connections.
    pub histograms: Option<HistogramOptions>,
    /// Make the kernel measure the cost of each BPF program while the probe exists.
    pub statistics: bool,
    /// Make the kernel half log each transition, for debugging. A log line costs about 1 µs.
    pub log: bool,
    /// The maximum number of sockets in the map of a scan. The default is the number of existing
    /// sockets plus a quarter.
    pub max_scan_sockets: Option<u32>,
    /// Create the map of scans once and keep it, with room for twice the existing sockets. Creating
    /// another map later would need a capability.
    pub keep_scan_map: bool,
    /// Settings of tests.
    pub testing: Testing,
}

/// Faults and replacements for tests. By default nothing is replaced and nothing fails.
#[derive(Clone, Debug, Default)]
pub struct Testing {
    /// Use this object instead of the embedded object.
    pub object: Option<Vec<u8>>,
    /// Count with or without atomic additions, independent of the kernel's version.
    pub atomic: Option<bool>,
    /// Ignore every n-th event of a CPU and count it as missed. 0 ignores none.
    pub drop_one_in: u32,
    /// Do not count the ignored events as missed. No correct kernel behaves like this.
    pub drop_in_silence: bool,
    /// Ignore events in the program that measures durations, instead of the counting program.
    pub drop_durations: bool,
    /// Observe the ends of time-wait sockets at this function, which may never be called.
    pub time_wait_exit: Option<&'static str>,
}

impl Options {
    /// Returns whether the owner or the cgroup of a socket is needed.
    pub(super) fn needs_owners(&self) -> bool {
        let by = self.histograms.and_then(|histograms| histograms.by);
        self.events.is_some() || by == Some(By::Cgroup) || self.event_filter.cgroups.is_some()
    }

    /// Returns the capacity of the tables of sockets.
    pub(super) fn sockets(&self) -> Capacity {
        let events = self.events.map(|events| events.max_sockets);
        let histograms = self.histograms.map(|histograms| histograms.max_sockets);
        Capacity::new(events.max(histograms).unwrap_or(1))
    }

    /// Returns the maximum number of network namespaces with rows.
    pub(super) fn rows(&self) -> u32 {
        self.max_namespaces.unwrap_or(MAX_NAMESPACES)
    }
}
