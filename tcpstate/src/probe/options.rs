//! How to load: what a user may choose, and what only tests set.

use tcpstate_common::histogram::By;

use super::{EventOptions, HistogramOptions, Netns, socket_table::Capacity};
use crate::{
    filter::EventFilter,
    report::{Family, Provider, Transitions},
};

/// Rows for network namespaces, unless another number is asked for: 6 MiB.
pub const MAX_NAMESPACES: u32 = 4096;

/// How to load: what a user may choose, and what only tests set.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each switches something of its own")]
pub struct Options {
    /// Which network namespaces to count.
    pub netns: Netns,
    /// Sockets of this family and no other.
    pub family: Option<Family>,
    /// Count each family by itself too.
    pub by_family: bool,
    /// Room for this many rows, where each network namespace has one; [`MAX_NAMESPACES`] by default.
    pub max_namespaces: Option<u32>,
    /// By this hook and no other.
    pub transitions: Option<Transitions>,
    /// Time-wait sockets by this provider and no other.
    pub time_wait: Option<Provider>,
    /// Request sockets by this provider and no other.
    pub syn_recv: Option<Provider>,
    /// Write each transition down with its connection, and how.
    pub events: Option<EventOptions>,
    /// Which of them; of durations, those that such an event ends, whoever owns the socket and however long the state lasted.
    pub event_filter: EventFilter,
    /// Time states and connections.
    pub histograms: Option<HistogramOptions>,
    /// Have the kernel measure what each run of a BPF program costs, for as long as the probe lives.
    pub statistics: bool,
    /// Let the kernel half log each transition (about 1 us each). Debugging only.
    pub log: bool,
    /// Room for this many sockets in the map of a scan; by default as many as there are, and a quarter more.
    pub max_scan_sockets: Option<u32>,
    /// Make the map of scans once and keep it, with room for twice the sockets that there are: to make another one later
    /// would take a privilege.
    pub keep_scan_map: bool,
    /// What only tests set.
    pub testing: Testing,
}

/// Faults and replacements for tests. By default nothing is replaced, and nothing goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Testing {
    /// Another object than the embedded one.
    pub object: Option<Vec<u8>>,
    /// Count with atomic additions or without, whatever the kernel needs.
    pub atomic: Option<bool>,
    /// Ignore every n-th event of a CPU and count it as missed; 0 ignores none.
    pub drop_one_in: u32,
    /// Ignore them without counting them as missed, as no kernel should.
    pub drop_in_silence: bool,
    /// Keep them from the program that times, in place of the counting program, as a kernel may.
    pub drop_durations: bool,
    /// Await the ends of time-wait sockets at this function, which may never be called.
    pub time_wait_exit: Option<&'static str>,
}

impl Options {
    /// Whether whose a socket is, or its cgroup, is of interest.
    pub(super) fn ask_for_owners(&self) -> bool {
        let by = self.histograms.and_then(|histograms| histograms.by);
        self.events.is_some() || by == Some(By::Cgroup) || self.event_filter.cgroups.is_some()
    }

    /// Capacity of the tables of sockets.
    pub(super) fn sockets(&self) -> Capacity {
        let events = self.events.map(|events| events.max_sockets);
        let histograms = self.histograms.map(|histograms| histograms.max_sockets);
        Capacity::new(events.max(histograms).unwrap_or(1))
    }

    /// Room for rows of network namespaces.
    pub(super) fn rows(&self) -> u32 {
        self.max_namespaces.unwrap_or(MAX_NAMESPACES)
    }
}
