//! Exports the sockets and the counts of each value of a key.

use std::collections::BTreeMap;

use tcpstate_common::State;

use super::metric::{Kind, Metrics};
use crate::report::{Column, Gauge, Key, KeySeries, OwnerCounts, Owners, SeriesOf, key::Value};

/// The columns of counts that have a metric, with the description of the metric.
const COUNTS: [(Column, &str); 4] = [
    (Column::Opened, "Calls of connect() that began a connection."),
    (Column::Accepted, "Incoming connections that were accepted, or that ended without accept()."),
    (
        Column::TimeWaitEntries,
        "Time-wait sockets created, by the owner that closed the connection.",
    ),
    (Column::Failed, "Calls of connect() that failed."),
];

/// The texts that identify a series. The first text is the value of the label with the name of the
/// key.
type Texts = [String; 3];

/// The sum of the series with equal texts.
#[derive(Clone, Debug, Default)]
struct Sums {
    states: [u64; State::GAUGES.len()],
    counts: OwnerCounts,
    has_sockets: bool,
}

/// Adds the metrics of all keys. `gauges` are the numbers of all sockets in each state; a state
/// that no hook observes has no sample.
pub(super) fn show(all: &mut Metrics, keys: &[KeySeries], gauges: &[Gauge; State::GAUGES.len()]) {
    for key in keys {
        of_key(all, key, gauges);
    }
    let help = "How often a value of the key found no room, so that its sockets count as other. A socket whose owner found no room counts each time.";
    let without_room = all.metric(Kind::Counter, "tcpstate_groups_without_room", help);
    for key in keys {
        without_room.sample(&[("by", key.key.label())], key.without_room);
    }
}

/// Adds the bound of the error of all series by owner, if sockets are counted by owner.
pub(super) fn show_missed(all: &mut Metrics, owners: Option<&Owners>) {
    let help = "Upper bound of the error of each series by owner: events that no program saw, and sockets that did not fit in the table of sockets.";
    let missed = all.metric(Kind::Counter, "tcpstate_groups_missed_events", help);
    if let Some(owners) = owners {
        missed.sample(&[], owners.missed);
    }
}

fn of_key(all: &mut Metrics, series: &KeySeries, gauges: &[Gauge; State::GAUGES.len()]) {
    let key = series.key;
    let mut sums: BTreeMap<Texts, Sums> = BTreeMap::new();
    for one in &series.series {
        let sum = sums.entry(texts(&one.of)).or_default();
        sum.counts.add(&one.counts);
        sum.has_sockets |= one.of != SeriesOf::Gone;
        for (sum, count) in sum.states.iter_mut().zip(one.states) {
            *sum += count;
        }
    }
    let Names { connections, counts } = names(key);
    // The series of namespaces have gauges of their own, which know all namespaces.
    if key != Key::Netns {
        let help = "TCP sockets by the value of a key and by state. Values above the limit of series are summed as other.";
        let metric = all.metric(Kind::Gauge, connections, help);
        for (texts, sum) in sums.iter().filter(|(_, sum)| sum.has_sockets) {
            for ((state, gauge), &count) in State::GAUGES.iter().zip(gauges).zip(&sum.states) {
                let mut labels = labels(key, texts);
                labels.push(("state", state.label()));
                metric.known(&labels, gauge.current.map(|_| count));
            }
        }
    }
    for ((column, help), name) in COUNTS.into_iter().zip(counts) {
        let metric = all.metric(Kind::Counter, name, help);
        for (texts, sum) in &sums {
            metric.sample(&labels(key, texts), sum.counts.get(column));
        }
    }
}

/// The names of the metrics of a key.
struct Names {
    connections: &'static str,
    /// The names of the metrics of [`COUNTS`].
    counts: [&'static str; COUNTS.len()],
}

fn names(key: Key) -> Names {
    macro_rules! names {
        ($key:literal) => {
            Names {
                connections: concat!("tcpstate_", $key, "_connections"),
                counts: [
                    concat!("tcpstate_", $key, "_opened"),
                    concat!("tcpstate_", $key, "_accepted"),
                    concat!("tcpstate_", $key, "_time_wait_entries"),
                    concat!("tcpstate_", $key, "_failed_connects"),
                ],
            }
        };
    }
    match key {
        Key::Process => names!("process"),
        Key::Comm => names!("comm"),
        Key::User => names!("user"),
        Key::Cgroup => names!("cgroup"),
        Key::Unit => names!("unit"),
        Key::Container => names!("container"),
        Key::Netns => names!("netns"),
        Key::LocalPort => names!("local_port"),
        Key::Remote => names!("remote"),
        Key::RemotePort => names!("remote_port"),
        Key::State => names!("state"),
    }
}

/// Returns the names of the labels of a key. A process and a namespace have further labels.
const fn label_names(key: Key) -> [Option<&'static str>; 3] {
    match key {
        Key::Process => [Some("process"), Some("pid"), Some("comm")],
        Key::Netns => [Some("netns"), Some("name"), None],
        other => [Some(other.label()), None, None],
    }
}

fn labels(key: Key, texts: &Texts) -> Vec<(&'static str, &str)> {
    let names = label_names(key).into_iter().zip(texts);
    names.filter_map(|(name, text)| Some((name?, &**text))).collect()
}

fn texts(of: &SeriesOf) -> Texts {
    let one = |text: &str| [text.to_owned(), String::new(), String::new()];
    match of {
        SeriesOf::Value(Value::Process(process)) => [
            format!("{}[{}]", process.name, process.pid),
            process.pid.to_string(),
            process.name.clone(),
        ],
        SeriesOf::Value(Value::Netns(inode, name)) => {
            [inode.to_string(), name.clone().unwrap_or_default(), String::new()]
        }
        SeriesOf::Value(value) => one(&text(value)),
        SeriesOf::Other => one("other"),
        SeriesOf::Unknown => one("unknown"),
        SeriesOf::Gone => one("gone"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Cgroup(cgroup) => cgroup.path.clone(),
        Value::Comm(text) | Value::Unit(text) | Value::Container(text) => text.clone(),
        Value::None => "none".to_owned(),
        value => crate::view::values::text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{OwnerSeries, Process},
        view::metrics::{Format, text as exposition},
    };

    fn lines(key: Key, series: Vec<(SeriesOf, u64, u64)>) -> Vec<String> {
        let series = series.into_iter().map(|(of, established, opened)| OwnerSeries {
            of,
            states: State::GAUGES
                .map(|state| if state == State::Established { established } else { 0 }),
            counts: OwnerCounts { opened, ..OwnerCounts::default() },
        });
        let key = KeySeries { key, series: series.collect(), without_room: 3 };
        let gauges = State::GAUGES.map(|state| Gauge {
            current: (state != State::TimeWait).then_some(1),
            ..Gauge::default()
        });
        let mut all = Metrics::default();
        show(&mut all, &[key], &gauges);
        let text = exposition(&all.all(), Format::Prometheus);
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn each_value_has_gauges_and_counters() {
        let process = Value::Process(Process { pid: 7, name: "a\"b".to_owned() });
        let lines = lines(
            Key::Process,
            vec![
                (SeriesOf::Value(process), 2, 5),
                (SeriesOf::Unknown, 1, 0),
                (SeriesOf::Gone, 0, 9),
            ],
        );
        for line in [
            r#"tcpstate_process_connections{process="a\"b[7]",pid="7",comm="a\"b",state="established"} 2"#,
            r#"tcpstate_process_connections{process="unknown",pid="",comm="",state="established"} 1"#,
            r#"tcpstate_process_opened_total{process="a\"b[7]",pid="7",comm="a\"b"} 5"#,
            r#"tcpstate_process_opened_total{process="gone",pid="",comm=""} 9"#,
            r#"tcpstate_process_failed_connects_total{process="unknown",pid="",comm=""} 0"#,
            r#"tcpstate_groups_without_room_total{by="process"} 3"#,
        ] {
            assert!(lines.iter().any(|it| it == line), "{line}: {lines:#?}");
        }
        let has = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(!has("time_wait\""), "no hook observes TIME_WAIT: {lines:#?}");
        assert!(!lines.iter().any(|it| it.contains("_connections{process=\"gone\"")));
    }

    #[test]
    fn series_with_equal_texts_are_added() {
        let comm = |name: &str| SeriesOf::Value(Value::Comm(name.to_owned()));
        let lines = lines(Key::Comm, vec![(comm("other"), 1, 2), (SeriesOf::Other, 10, 20)]);
        assert!(lines.contains(&r#"tcpstate_comm_opened_total{comm="other"} 22"#.to_owned()));
        let port = lines_of_ports();
        assert!(
            port.contains(
                &r#"tcpstate_remote_port_opened_total{remote_port="client"} 1"#.to_owned()
            )
        );
        assert!(
            port.contains(&r#"tcpstate_remote_port_opened_total{remote_port="80"} 2"#.to_owned())
        );
    }

    fn lines_of_ports() -> Vec<String> {
        let value = SeriesOf::Value;
        lines(Key::RemotePort, vec![(value(Value::Client), 0, 1), (value(Value::Port(80)), 0, 2)])
    }
}
