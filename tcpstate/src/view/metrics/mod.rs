//! For Prometheus and whoever reads its formats: one snapshot as metrics. Names and labels are kept stable; new ones may
//! come. Whatever may ever count is there from the first text on, at 0, so that no increase is lost to a series that was
//! not there before; what can't be known on this system has no sample at all.

mod durations;
mod exposition;
mod metric;
mod series;

pub use self::{
    durations::Durations,
    exposition::{Format, text},
    metric::{Distribution, Kind, Label, Metric, Value},
    series::{Series, SocketsOf},
};

use std::time::UNIX_EPOCH;

use tcpstate_common::{
    State,
    transitions::{Seen, TRANSITIONS},
};

use self::metric::Metrics;
use crate::report::{Family, Hooks, Snapshot};

/// What there is to tell beside the snapshot.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// The kernel's release.
    pub kernel: String,
    /// Which network namespaces are counted.
    pub netns: String,
    /// When counting began, in seconds since 1970.
    pub started: f64,
    /// What serves now.
    pub hooks: Hooks,
    /// Whether something is not as good as it could be.
    pub is_degraded: bool,
    /// How many entries each map holds, by its name.
    pub map_entries: Vec<(&'static str, u64)>,
    /// Texts that could not be written to the file they were meant for, where there is one.
    pub textfile_errors: Option<u64>,
    /// What became of pushes, where there are any.
    pub pushed: Option<Pushed>,
}

/// What became of pushes that failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pushed {
    /// Attempts that failed.
    pub errors: u64,
    /// Collections that were given up.
    pub dropped: u64,
}

/// All metrics. `series` are the sockets of each part, where parts are asked for; `durations`, where states are timed.
#[must_use]
pub fn metrics(
    snapshot: &Snapshot,
    exporter: &Exporter,
    series: Option<&Series>,
    durations: Option<&Durations>,
) -> Vec<Metric> {
    let mut all = Metrics::default();
    sockets(&mut all, snapshot);
    time_wait(&mut all, snapshot);
    if let Some(series) = series {
        series.show(&mut all);
    }
    if let Some(durations) = durations {
        durations.show(&mut all, exporter.hooks);
    }
    accuracy(&mut all, snapshot, exporter);
    costs(&mut all, snapshot);
    about(&mut all, exporter);
    all.all()
}

fn label(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn sockets(all: &mut Metrics, snapshot: &Snapshot) {
    let families = || Family::BOTH.into_iter().zip(snapshot.families.iter().flatten());
    let help = "TCP sockets in each state, as ss shows them; of the family that the socket is of, whatever its peer's address is.";
    let connections = all.metric(Kind::Gauge, "tcpstate_connections", help);
    for (family, row) in families() {
        for (state, gauge) in State::GAUGES.iter().zip(&row.states) {
            let labels = [("state", state.label()), ("family", label(family))];
            connections.known(&labels, gauge.current);
        }
    }
    let help = "State changes that the kernel reported (tracepoint sock:inet_sock_set_state), births and ends included.";
    let transitions = all.metric(Kind::Counter, "tcpstate_transitions", help);
    for (family, row) in families() {
        let mut sample = |from: State, to: State, count: u64| {
            let labels = [("from", from.label()), ("to", to.label()), ("family", label(family))];
            transitions.sample(&labels, count);
        };
        let known = || TRANSITIONS.iter().filter(|pair| pair.seen == Seen::Reported);
        for pair in known() {
            let found = row.transitions.iter().find(|it| (it.from, it.to) == (pair.from, pair.to));
            sample(pair.from, pair.to, found.map_or(0, |transition| transition.count));
        }
        let is_known = |from, to| known().any(|pair| (pair.from, pair.to) == (from, to));
        for new in row.transitions.iter().filter(|it| !is_known(it.from, it.to)) {
            sample(new.from, new.to, new.count);
        }
    }
}

fn time_wait(all: &mut Metrics, snapshot: &Snapshot) {
    let time_wait = &snapshot.time_wait;
    let help = "Time-wait sockets, those that show as FIN_WAIT2 included.";
    all.metric(Kind::Gauge, "tcpstate_time_wait_sockets", help).known(&[], time_wait.sockets);
    let help = "How many time-wait sockets the kernel allows (net.ipv4.tcp_max_tw_buckets).";
    all.metric(Kind::Gauge, "tcpstate_time_wait_limit", help).known(&[], time_wait.limit);
    let help = "Time-wait sockets made.";
    all.metric(Kind::Counter, "tcpstate_time_wait_entries", help).known(&[], time_wait.entries);
    let exits = &time_wait.exits;
    let help = "Time-wait sockets gone, by what ended them; reused and killed are in other where they can't be told apart.";
    all.metric(Kind::Counter, "tcpstate_time_wait_exits", help)
        .known(&[("reason", "expired")], exits.expired)
        .known(&[("reason", "reused")], exits.reused)
        .known(&[("reason", "killed")], exits.killed)
        .known(&[("reason", "other")], exits.other);
    let help = "Time-wait sockets refused because there were as many as are allowed.";
    let overflows = all.metric(Kind::Counter, "tcpstate_time_wait_overflows", help);
    overflows.known(&[], time_wait.overflows);
}

/// How far the numbers can be trusted.
fn accuracy(all: &mut Metrics, snapshot: &Snapshot, exporter: &Exporter) {
    let help = "1 if each gauge equals the kernel's sockets, 0 if it may not.";
    all.metric(Kind::Gauge, "tcpstate_exact", help).sample(&[], snapshot.is_exact());
    let help = "Events that were missed and that no scan of the sockets has made up for, at most; each may put a gauge off by one.";
    all.metric(Kind::Gauge, "tcpstate_unreconciled_events", help)
        .sample(&[], snapshot.unreconciled);
    let missed = &snapshot.missed;
    let help = "Events that the kernel kept from the counting programs.";
    all.metric(Kind::Counter, "tcpstate_missed_events", help)
        .sample(&[("hook", "transitions")], missed.transitions)
        .sample(&[("hook", "time_wait")], missed.time_wait)
        .sample(&[("hook", "syn_recv")], missed.syn_recv);
    let help = "Scans of all sockets since the first scan.";
    all.metric(Kind::Counter, "tcpstate_reconciles", help).sample(&[], snapshot.reconciles);
    let help = "Entries of the kernel half's maps.";
    let entries = all.metric(Kind::Gauge, "tcpstate_map_entries", help);
    for &(map, count) in &exporter.map_entries {
        entries.sample(&[("map", map)], count);
    }
    let of_scans = snapshot.map_full.saturating_sub(missed.unrecorded + missed.unlisted);
    let help = "What found a map of the kernel half full.";
    all.metric(Kind::Counter, "tcpstate_map_full", help)
        .sample(&[("map", "touched")], of_scans)
        .sample(&[("map", "fin_wait2")], missed.unrecorded)
        .sample(&[("map", "namespaces")], missed.unlisted);
    let help = "1 if something is not as good as it could be here; tcpstate check says what.";
    all.metric(Kind::Gauge, "tcpstate_degraded", help).sample(&[], exporter.is_degraded);
    if let Some(errors) = exporter.textfile_errors {
        let help = "Texts that could not be written to the textfile.";
        all.metric(Kind::Counter, "tcpstate_textfile_errors", help).sample(&[], errors);
    }
    if let Some(Pushed { errors, dropped }) = exporter.pushed {
        let help = "Attempts to push the metrics that failed.";
        all.metric(Kind::Counter, "tcpstate_push_errors", help).sample(&[], errors);
        let help = "Collections that were not pushed, for those that came later took their place.";
        all.metric(Kind::Counter, "tcpstate_push_dropped", help).sample(&[], dropped);
    }
}

fn costs(all: &mut Metrics, snapshot: &Snapshot) {
    if !snapshot.cost.is_empty() {
        let help = "Time that runs of a program in the kernel took, on all CPUs, the kernel's measuring included.";
        let seconds = all.metric(Kind::Counter, "tcpstate_bpf_run_seconds", help);
        for cost in &snapshot.cost {
            seconds.sample(&[("program", &cost.program)], cost.total.time.as_secs_f64());
        }
        let runs =
            all.metric(Kind::Counter, "tcpstate_bpf_runs", "Runs of a program in the kernel.");
        for cost in &snapshot.cost {
            runs.sample(&[("program", &cost.program)], cost.total.count);
        }
    }
    let help = "Processor time that this process took since counting began.";
    all.metric(Kind::Counter, "tcpstate_process_cpu_seconds", help)
        .sample(&[], snapshot.process_time.as_secs_f64());
}

fn about(all: &mut Metrics, exporter: &Exporter) {
    let help = "Begin of counting: all counters are since then.";
    all.metric(Kind::Gauge, "tcpstate_start_time_seconds", help).sample(&[], exporter.started);
    let [transitions, time_wait, syn_recv] = exporter.hooks.names();
    let help = "What counts: the program's version, the kernel's, and by which hooks.";
    all.metric(Kind::Info, "tcpstate_build", help).sample(
        &[
            ("version", env!("CARGO_PKG_VERSION")),
            ("kernel", &exporter.kernel),
            ("netns", &exporter.netns),
            ("transitions", transitions),
            ("time_wait", time_wait),
            ("syn_recv", syn_recv),
        ],
        1_u64,
    );
}

/// Seconds since 1970, for [`Exporter::started`].
#[must_use]
pub fn unix_seconds(time: std::time::SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
