//! The options of loading the BPF programs: the choices of users, and the settings of tests.

use tcpstate_common::histogram::By;

use super::{EventOptions, HistogramOptions, Netns, socket_table::Capacity};
use crate::{
    filter::EventFilter,
    report::{Family, Provider, Transitions},
};

/// The default maximum number of network namespaces that are counted separately. The counters of
/// 4,096 namespaces use 6 MiB.
pub const MAX_NAMESPACES: u32 = 4096;

/// The options of loading the BPF programs.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each switches something of its own")]
pub struct Options {
    /// The network namespaces to count.
    pub netns: Netns,
    /// The address family to count. The value `None` means that both IPv4 and IPv6 sockets are
    /// counted.
    pub family: Option<Family>,
    /// Whether each address family is also counted separately.
    pub by_family: bool,
    /// The maximum number of network namespaces that are counted separately. The value `None`
    /// selects [`MAX_NAMESPACES`].
    pub max_namespaces: Option<u32>,
    /// The only hook to use for transitions of full sockets; `None` selects the best hook.
    pub transitions: Option<Transitions>,
    /// The only provider to use for time-wait sockets; `None` selects the best provider.
    pub time_wait: Option<Provider>,
    /// The only provider to use for request sockets; `None` selects the best provider.
    pub syn_recv: Option<Provider>,
    /// The options of recording an event for each transition. If the field is `None`, no events are
    /// recorded.
    pub events: Option<EventOptions>,
    /// The filter of the events to record. If a duration ends with an event that the filter
    /// rejects, the duration is not counted. The filter's conditions for owners and for the minimum
    /// duration have no effect on durations.
    pub event_filter: EventFilter,
    /// The options of measuring durations of states and connections. If the field is `None`, no
    /// durations are measured.
    pub histograms: Option<HistogramOptions>,
    /// Whether the kernel measures the cost of each BPF program while the probe exists.
    pub statistics: bool,
    /// Whether the BPF programs log each transition, for debugging. A log line costs about 1 µs.
    pub log: bool,
    /// The maximum number of sockets in the map of a scan. If `max_scan_sockets` is `None`, the
    /// maximum is the number of existing sockets plus 25 %.
    pub max_scan_sockets: Option<u32>,
    /// Whether one map is created at the start and used for all scans. The map has space for twice
    /// the number of sockets that exist at the start. A process that drops its capabilities must
    /// keep the map, because creating another map later would need a capability.
    pub keep_scan_map: bool,
    /// Settings of tests.
    pub testing: Testing,
}

/// The seeded faults and the replacements that tests set. The default has no seeded faults and no
/// replacements.
#[derive(Clone, Debug, Default)]
pub struct Testing {
    /// The BPF object that is loaded instead of the embedded object.
    pub object: Option<Vec<u8>>,
    /// Whether the programs count with atomic additions. If `atomic` is `None`, the choice depends
    /// on the kernel's version.
    pub atomic: Option<bool>,
    /// If `drop_one_in` is n and not 0, each CPU ignores every n-th event and counts the event as
    /// missed.
    pub drop_one_in: u32,
    /// Whether the count of missed events omits the events that `drop_one_in` ignores. A correct
    /// kernel counts every missed event.
    pub drop_in_silence: bool,
    /// Whether `drop_one_in` applies to the program that measures durations, instead of the
    /// counting program.
    pub drop_durations: bool,
    /// The kernel function at which the BPF programs observe the close of a time-wait socket. A
    /// test may set a kernel function that the kernel never calls.
    pub time_wait_exit: Option<&'static str>,
}

impl Options {
    /// Returns whether the options need the owner or the cgroup of a socket.
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

    /// Returns the maximum number of network namespaces that are counted separately.
    pub(super) fn rows(&self) -> u32 {
        self.max_namespaces.unwrap_or(MAX_NAMESPACES)
    }
}
