//! The options of loading the BPF programs: the choices of users, and the settings of tests.

use tcpstate_common::{
    State,
    abi::{CONTROL_SYN_RECV_TIMERS, CONTROL_TIME_WAIT_TIMERS, LossConfig, LossPattern, LostEvents},
    histogram::By,
};

use super::{EventOptions, HistogramOptions, Netns, OwnerOptions, socket_table::Capacity};
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
    /// Whether failed connects are counted by the error of their socket.
    pub failures: bool,
    /// The options of counting by owner. If the field is `None`, sockets are not counted by owner.
    pub owners: Option<OwnerOptions>,
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
    /// Whether `drop_one_in` applies to the tracking program, instead of the counting program. The
    /// tracking program writes the lines of events and measures durations.
    pub drop_durations: bool,
    /// The events that the counting programs lose. No count of missed events includes these events.
    pub losses: Option<SeededLosses>,
    /// The kernel function at which the BPF programs observe the close of a time-wait socket. A
    /// test may set a kernel function that the kernel never calls.
    pub time_wait_exit: Option<&'static str>,
}

/// The events that a test makes the counting programs lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeededLosses {
    /// The kind of the lost events.
    pub events: Lost,
    /// The pattern that selects the lost events among the events of the kind.
    pub pattern: Pattern,
    /// Whether the timer hooks lose no event of a mini socket. Only the hooks on kernel functions
    /// then lose events.
    pub spares_timers: bool,
}

/// The kind of the lost events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Transitions of full sockets between two states. The value `None` stands for every state.
    Transitions {
        /// The old state.
        from: Option<State>,
        /// The new state.
        to: Option<State>,
    },
    /// Births of time-wait sockets. If every birth is lost, the hook of births seems to be silent.
    TimeWaitBirths,
    /// Ends of time-wait sockets. A timer hook also loses the stop of a timer that starts again.
    TimeWaitEnds,
    /// Births of request sockets.
    RequestBirths,
    /// Ends of request sockets. A timer hook also loses the stop of a timer that starts again.
    RequestEnds,
}

/// Selects the lost events among the events of a kind. Each CPU counts its own events of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every n-th event is lost.
    EveryNth(u32),
    /// n events in a row are lost, then n events in a row are counted, and so on.
    Bursts(u32),
    /// Every event is lost while [`Probe::set_losing`](super::Probe::set_losing) has switched the
    /// losses on.
    Switched,
}

impl SeededLosses {
    /// Returns the configuration of the BPF programs.
    pub(super) fn config(self) -> LossConfig {
        let bit = |state: Option<State>| state.map_or(u32::MAX, |state| 1 << state.number());
        let (events, from, to) = match self.events {
            Lost::Transitions { from, to } => (LostEvents::Transitions, bit(from), bit(to)),
            Lost::TimeWaitBirths => (LostEvents::TimeWaitBirths, 0, 0),
            Lost::TimeWaitEnds => (LostEvents::TimeWaitEnds, 0, 0),
            Lost::RequestBirths => (LostEvents::RequestBirths, 0, 0),
            Lost::RequestEnds => (LostEvents::RequestEnds, 0, 0),
        };
        let timers = match self.events {
            Lost::Transitions { .. } => 0,
            Lost::TimeWaitBirths | Lost::TimeWaitEnds => CONTROL_TIME_WAIT_TIMERS,
            Lost::RequestBirths | Lost::RequestEnds => CONTROL_SYN_RECV_TIMERS,
        };
        let (pattern, number) = match self.pattern {
            Pattern::EveryNth(number) => (LossPattern::EveryNth, number),
            Pattern::Bursts(number) => (LossPattern::Bursts, number),
            Pattern::Switched => (LossPattern::Switched, 0),
        };
        LossConfig {
            events: events as u32,
            pattern: pattern as u32,
            number,
            from,
            to,
            spared: if self.spares_timers { timers } else { 0 },
        }
    }

    /// Returns whether the program that counts transitions loses events.
    pub(super) fn has_transitions(self) -> bool {
        matches!(self.events, Lost::Transitions { .. })
    }
}

impl Options {
    /// Returns whether the options need the owner or the cgroup of a socket.
    pub(crate) fn needs_owners(&self) -> bool {
        let by = self.histograms.and_then(|histograms| histograms.by);
        self.needs_names()
            || by == Some(By::Cgroup)
            || self.event_filter.cgroups.is_some()
            || self.owners.is_some()
    }

    /// Returns whether the options need the id or the name of the process that owns a socket.
    pub(crate) fn needs_names(&self) -> bool {
        let by = self.histograms.and_then(|histograms| histograms.by);
        self.events.is_some()
            || by == Some(By::Comm)
            || (self.histograms.is_some() && self.event_filter.program.is_some())
    }

    /// Returns whether the options need the process that closes a connection.
    pub(super) fn needs_closers(&self) -> bool {
        self.needs_names() || (self.histograms.is_some() && self.event_filter.cgroups.is_some())
    }

    /// Returns the maximum number of sockets of events and of histograms.
    pub(super) fn max_tracked(&self) -> u32 {
        let events = self.events.map(|events| events.max_sockets);
        let histograms = self.histograms.map(|histograms| histograms.max_sockets);
        events.max(histograms).unwrap_or(1)
    }

    /// Returns whether the programs track each socket from event to event.
    pub(super) fn is_tracking(&self) -> bool {
        self.events.is_some() || self.histograms.is_some() || self.owners.is_some()
    }

    /// Returns the capacity of the tables of sockets.
    pub(super) fn sockets(&self) -> Capacity {
        let events = self.events.map(|events| events.max_sockets);
        let histograms = self.histograms.map(|histograms| histograms.max_sockets);
        let owners = self.owners.as_ref().map(|owners| owners.max_sockets);
        Capacity::new(events.max(histograms).max(owners).unwrap_or(1))
    }

    /// Returns the maximum number of network namespaces that are counted separately.
    pub(super) fn rows(&self) -> u32 {
        self.max_namespaces.unwrap_or(MAX_NAMESPACES)
    }
}
