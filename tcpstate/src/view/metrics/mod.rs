//! Converts one snapshot to metrics. The module `exposition` writes the metrics as text. The names
//! and labels of metrics are stable. New metrics and labels may be added.
//!
//! Every counter is in the first text with the value 0, so that Prometheus notices the first
//! increase of a counter. A number that is unknown on this system has no sample.

mod durations;
mod exposition;
mod metric;
mod owners;
mod series;

pub use self::{
    durations::Durations,
    exposition::{Format, end, text},
    metric::{Distribution, Kind, Label, Metric, Value},
    series::{Series, SocketsOf},
};

use std::time::{Duration, UNIX_EPOCH};

use tcpstate_common::{
    State,
    transitions::{Seen, TRANSITIONS},
};

use self::metric::Metrics;
use crate::report::{
    ConnectFailure, FailedConnects, Family, Hooks, KeySeries, ListenDrops, LocalPorts, Snapshot,
};

/// The exported data that is not in the snapshot.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// The release of the running kernel.
    pub kernel: String,
    /// The network namespaces that are counted.
    pub netns: String,
    /// The time when counting started, in seconds since 1970.
    pub started: f64,
    /// The hooks that are in use.
    pub hooks: Hooks,
    /// Whether tcpstate has any limit on this system.
    pub is_degraded: bool,
    /// The pairs contain the name of each BPF map and the number of entries in the map.
    pub map_entries: Vec<(&'static str, u64)>,
    /// The number of texts that could not be written to the text file. The field is `None` if no
    /// text file is written.
    pub textfile_errors: Option<u64>,
    /// The counters by owner, for each key of `--by`.
    pub owners: Vec<KeySeries>,
    /// The failed connects since the start, if they are counted.
    pub failed_connects: Option<FailedConnects>,
    /// The packets that listeners dropped, if they are known.
    pub listen_drops: Option<ListenDrops>,
    /// The local ports at the last audit, if they are known.
    pub local_ports: Option<LocalPorts>,
    /// The counts of failed pushes. The field is `None` if metrics are not pushed to a receiver.
    pub pushed: Option<Pushed>,
}

/// Counts of failed pushes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pushed {
    /// The number of failed attempts to push a collection.
    pub errors: u64,
    /// The number of collections that were dropped without being pushed.
    pub dropped: u64,
}

/// Returns all metrics of an export. `series` contains the sockets of each namespace, if namespaces
/// have series. `durations` contains the histograms, if durations are measured.
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
    ports(&mut all, exporter);
    if let Some(series) = series {
        series.show(&mut all);
    }
    if let Some(durations) = durations {
        durations.show(&mut all, exporter.hooks);
    }
    owners::show(&mut all, &exporter.owners, &snapshot.states);
    owners::show_missed(&mut all, snapshot.owners.as_ref());
    accuracy(&mut all, snapshot, exporter);
    costs(&mut all, snapshot);
    about(&mut all, exporter);
    all.all()
}

/// Returns the metric that says how old the other numbers are. While a scan runs, an answer
/// contains the numbers of an earlier reading.
#[must_use]
pub fn reading_age(age: Duration) -> Metric {
    let mut all = Metrics::default();
    let help = "Time between the reading of these numbers and this answer.";
    all.metric(Kind::Gauge, "tcpstate_reading_age_seconds", help).sample(&[], age.as_secs_f64());
    all.all().remove(0)
}

fn label(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn sockets(all: &mut Metrics, snapshot: &Snapshot) {
    let families = || Family::BOTH.into_iter().zip(snapshot.families.iter().flatten());
    let help = "TCP sockets by state, as shown by ss, and by address family of the socket.";
    let connections = all.metric(Kind::Gauge, "tcpstate_connections", help);
    for (family, row) in families() {
        for (state, gauge) in State::GAUGES.iter().zip(&row.states) {
            let labels = [("state", state.label()), ("family", label(family))];
            connections.known(&labels, gauge.current);
        }
    }
    let help = "State changes reported by the tracepoint sock:inet_sock_set_state, including births and ends.";
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
    let help = "Time-wait sockets, including those in FIN_WAIT2.";
    all.metric(Kind::Gauge, "tcpstate_time_wait_sockets", help).known(&[], time_wait.sockets);
    let help = "Maximum number of time-wait sockets (net.ipv4.tcp_max_tw_buckets).";
    all.metric(Kind::Gauge, "tcpstate_time_wait_limit", help).known(&[], time_wait.limit);
    let help = "Time-wait sockets created.";
    all.metric(Kind::Counter, "tcpstate_time_wait_entries", help).known(&[], time_wait.entries);
    let exits = &time_wait.exits;
    let help = "Time-wait sockets that ended, by reason. If reused and killed cannot be distinguished, they are counted as other.";
    all.metric(Kind::Counter, "tcpstate_time_wait_exits", help)
        .known(&[("reason", "expired")], exits.expired)
        .known(&[("reason", "reused")], exits.reused)
        .known(&[("reason", "killed")], exits.killed)
        .known(&[("reason", "other")], exits.other);
    let help = "Time-wait sockets that were not created because the limit was reached.";
    let overflows = all.metric(Kind::Counter, "tcpstate_time_wait_overflows", help);
    overflows.known(&[], time_wait.overflows);
}

/// Adds the metrics of failed connects, of listeners and of local ports.
fn ports(all: &mut Metrics, exporter: &Exporter) {
    let help = "Calls of connect() that failed, by reason.";
    let failed = all.metric(Kind::Counter, "tcpstate_failed_connects", help);
    for reason in ConnectFailure::ALL {
        let count = exporter.failed_connects.map(|failed| failed.get(reason));
        failed.known(&[("reason", reason.label())], count);
    }
    let help = "Packets that the listeners of a local port dropped, for example because the accept queue was full.";
    let drops = all.metric(Kind::Counter, "tcpstate_listen_drops", help);
    if let Some(ListenDrops { ports, other }) = &exporter.listen_drops {
        for (port, count) in ports {
            drops.sample(&[("local_port", &port.to_string())], *count);
        }
        drops.sample(&[("local_port", "other")], *other);
    }
    let ports = exporter.local_ports;
    let help = "Local ports in use at the last audit, for the fullest source, destination and port, as a share of the available ports.";
    all.metric(Kind::Gauge, "tcpstate_local_ports_used_ratio", help)
        .known(&[], ports.map(|ports| ports.used_ratio()));
    let help = "Local ports that connect() could choose from at the last audit.";
    all.metric(Kind::Gauge, "tcpstate_local_ports_available", help)
        .known(&[], ports.map(|ports| ports.available));
}

/// Adds the metrics that describe the accuracy of the numbers.
fn accuracy(all: &mut Metrics, snapshot: &Snapshot, exporter: &Exporter) {
    let help = "1 if every gauge is equal to the number of sockets in the kernel, 0 if a gauge may be wrong.";
    all.metric(Kind::Gauge, "tcpstate_exact", help).sample(&[], snapshot.is_exact());
    let help = "Upper bound of the error of each gauge: missed events that no scan has corrected. NaN if the error is unknown.";
    all.metric(Kind::Gauge, "tcpstate_unreconciled_events", help)
        .or_nan(&[], snapshot.unreconciled);
    let help = "Comparisons of all gauges with the sockets in the kernel, without known losses.";
    all.metric(Kind::Counter, "tcpstate_audits", help).sample(&[], snapshot.audits);
    let help = "Time since the gauges were last compared with the sockets in the kernel.";
    let age = snapshot.audited.unwrap_or(snapshot.elapsed);
    all.metric(Kind::Gauge, "tcpstate_audit_age_seconds", help).sample(&[], age.as_secs_f64());
    let missed = &snapshot.missed;
    let help = "Events that the kernel did not deliver to the counting programs.";
    all.metric(Kind::Counter, "tcpstate_missed_events", help)
        .sample(&[("hook", "transitions")], missed.transitions)
        .sample(&[("hook", "time_wait")], missed.time_wait)
        .sample(&[("hook", "syn_recv")], missed.syn_recv);
    let help = "Events of other network namespaces that the kernel did not deliver. They make no gauge wrong.";
    all.metric(Kind::Counter, "tcpstate_missed_elsewhere", help)
        .sample(&[], snapshot.missed_elsewhere);
    let help = "Scans of all sockets, without the first scan.";
    all.metric(Kind::Counter, "tcpstate_reconciles", help).sample(&[], snapshot.reconciles);
    let help = "Entries in the BPF maps.";
    let entries = all.metric(Kind::Gauge, "tcpstate_map_entries", help);
    for &(map, count) in &exporter.map_entries {
        entries.sample(&[("map", map)], count);
    }
    let of_scans = snapshot.map_full.saturating_sub(missed.unrecorded + missed.unlisted);
    let help = "Insertions that failed because a BPF map was full.";
    all.metric(Kind::Counter, "tcpstate_map_full", help)
        .sample(&[("map", "touched")], of_scans)
        .sample(&[("map", "fin_wait2")], missed.unrecorded)
        .sample(&[("map", "namespaces")], missed.unlisted);
    let help = "1 if a feature is limited on this system; run tcpstate check for details.";
    all.metric(Kind::Gauge, "tcpstate_degraded", help).sample(&[], exporter.is_degraded);
    if let Some(errors) = exporter.textfile_errors {
        let help = "Failed writes of the textfile.";
        all.metric(Kind::Counter, "tcpstate_textfile_errors", help).sample(&[], errors);
    }
    if let Some(Pushed { errors, dropped }) = exporter.pushed {
        let help = "Failed attempts to push the metrics.";
        all.metric(Kind::Counter, "tcpstate_push_errors", help).sample(&[], errors);
        let help =
            "Collections that were dropped without being pushed, because the queue was full.";
        all.metric(Kind::Counter, "tcpstate_push_dropped", help).sample(&[], dropped);
    }
}

fn costs(all: &mut Metrics, snapshot: &Snapshot) {
    if !snapshot.cost.is_empty() {
        let help =
            "Run time of a BPF program on all CPUs, including the overhead of the measurement.";
        let seconds = all.metric(Kind::Counter, "tcpstate_bpf_run_seconds", help);
        for cost in &snapshot.cost {
            seconds.sample(&[("program", &cost.program)], cost.total.time.as_secs_f64());
        }
        let runs = all.metric(Kind::Counter, "tcpstate_bpf_runs", "Runs of a BPF program.");
        for cost in &snapshot.cost {
            runs.sample(&[("program", &cost.program)], cost.total.count);
        }
    }
    let help = "CPU time of this process since counting started.";
    all.metric(Kind::Counter, "tcpstate_process_cpu_seconds", help)
        .sample(&[], snapshot.process_time.as_secs_f64());
}

fn about(all: &mut Metrics, exporter: &Exporter) {
    let help = "Time when counting started, in seconds since 1970. All counters start then.";
    all.metric(Kind::Gauge, "tcpstate_start_time_seconds", help).sample(&[], exporter.started);
    let [transitions, time_wait, syn_recv] = exporter.hooks.names();
    let help = "Version of tcpstate, kernel release, counted network namespaces, and hooks in use.";
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

/// Converts a time to seconds since 1970, for the field [`Exporter::started`].
#[must_use]
pub fn unix_seconds(time: std::time::SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
