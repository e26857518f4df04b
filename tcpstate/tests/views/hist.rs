//! Tests the views of `hist` in each output format, for made-up durations of each kind.

use std::time::Duration;

use serde_json::Value;
use tcpstate::{
    report::{Group, Histogram, Histograms, Of, Report, Snapshot, SocketKind, Tally, Untimed},
    view::{HistCsv, HistJson, HistTable, Section, TerminalCaps},
};
use tcpstate_common::{
    State::{Close, Established, SynRecv, SynSent, TimeWait},
    histogram::{BUCKETS, By, LONGEST_NS, bucket_of},
};

use super::made_up::{at, shown, start};

const MICROSECOND: u64 = 1000;
const MILLISECOND: u64 = 1000 * MICROSECOND;
const SECOND: u64 = 1000 * MILLISECOND;

/// Creates a tally. Each pair in `durations` is a duration in ns and how often the duration
/// occurred.
fn tally(durations: &[(u64, u64)], unknown: u64) -> Tally {
    let nanos = |ns: Option<u64>| ns.map(Duration::from_nanos);
    let lengths = || durations.iter().map(|&(ns, _)| ns);
    let mut tally = Tally::default();
    tally.sum =
        durations.iter().map(|&(ns, count)| Duration::from_nanos(ns).mul_f64(count as f64)).sum();
    (tally.longest, tally.shortest) = (nanos(lengths().max()), nanos(lengths().min()));
    tally.unknown = unknown;
    let buckets = durations.iter().map(|&(ns, count)| (bucket_of(ns), count));
    tally.with_buckets(buckets).expect("there are such buckets")
}

fn histogram(of: Of, durations: &[(u64, u64)], unknown: u64) -> Histogram {
    Histogram { of, group: None, tally: tally(durations, unknown) }
}

/// Durations from the shortest to the longest possible, and unknown durations.
fn durations() -> Histograms {
    const DAY: u64 = 86_400 * SECOND;
    let handshakes = [(45 * MICROSECOND, 800), (70 * MICROSECOND, 290), (210 * MILLISECOND, 28)];
    let all = vec![
        histogram(Of::ConnectClient, &handshakes, 0),
        histogram(Of::ConnectServer, &[], 920),
        histogram(Of::Lifetime, &[(MILLISECOND, 31), (2 * SECOND, 1_234_567), (3 * DAY, 2)], 497),
        histogram(Of::TimeWaitHold, &[(60 * SECOND + MILLISECOND, 640)], 0),
        histogram(Of::State(SynSent, SocketKind::Full), &handshakes, 2),
        histogram(Of::State(SynRecv, SocketKind::Mini), &[(90 * MICROSECOND, 5)], 0),
        histogram(Of::State(Established, SocketKind::Full), &[(7, 1), (LONGEST_NS + DAY, 1)], 41),
        histogram(Of::State(TimeWait, SocketKind::Mini), &[(60 * SECOND, 640)], 0),
        histogram(Of::Transition(SynSent, Established), &handshakes, 0),
        histogram(Of::Transition(Established, Close), &[(7, 1), (LONGEST_NS + DAY, 1)], 41),
        histogram(Of::OtherTransitions, &[], 1),
    ];
    Histograms { by: None, all, untimed: Untimed::default(), is_filtered: false }
}

fn with(mut snapshot: Snapshot, histograms: Histograms) -> Snapshot {
    snapshot.histograms = Some(histograms);
    snapshot
}

/// Returns the reports of a run. Few durations ended in the interval of the snapshot.
fn reports() -> [Report; 3] {
    let mut recent = durations();
    recent.all.truncate(2);
    let mut all = durations();
    all.untimed = Untimed { missed: 3, untracked: 12_000, untracked_minis: 1, group_errors: 0 };
    [
        Report::Start(start()),
        Report::Snapshot(with(at(1, 0), recent)),
        Report::End(with(at(10, 0), all)),
    ]
}

/// Returns reports that group durations by process name. One process name contains escape
/// sequences.
fn grouped() -> [Report; 2] {
    let groups = [
        (Group::Comm("nginx".into()), 45 * MICROSECOND, 0),
        (Group::Comm("\u{1b}[2Jevil\u{202e}".into()), MILLISECOND, 0),
        (Group::None, 70 * MICROSECOND, 920),
        (Group::Other, 3 * SECOND, 1),
    ];
    let of = |of: Of| {
        groups.clone().map(|(group, ns, unknown)| Histogram {
            of,
            group: Some(group),
            tally: tally(&[(ns, 10)], unknown),
        })
    };
    let all = [Of::ConnectClient, Of::Lifetime].into_iter().flat_map(of).collect();
    let untimed = Untimed { group_errors: 2, ..Untimed::default() };
    let histograms = Histograms { by: Some(By::Comm), all, untimed, is_filtered: false };
    [Report::Start(start()), Report::End(with(at(10, 0), histograms))]
}

/// Returns reports that contain one histogram of connection lifetimes for each of `groups`.
pub(super) fn grouped_by(by: By, groups: &[Group]) -> [Report; 2] {
    let histogram = |group: &Group| Histogram {
        of: Of::Lifetime,
        group: Some(group.clone()),
        tally: tally(&[(MILLISECOND, 10)], 20),
    };
    let all = groups.iter().map(histogram).collect();
    let histograms =
        Histograms { by: Some(by), all, untimed: Untimed::default(), is_filtered: false };
    [Report::Start(start()), Report::End(with(at(10, 0), histograms))]
}

#[test]
fn hist_as_a_table_has_the_matrix_percentiles_and_bars() {
    insta::assert_snapshot!(shown(&mut HistTable::new(None, None), reports()));
}

#[test]
fn hist_by_process_has_a_line_per_process() {
    let sections = Some(vec![Section::Connect, Section::Lifetime]);
    let text = shown(&mut HistTable::new(sections, None), grouped());
    assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    insta::assert_snapshot!(text);
}

#[test]
fn hist_in_json_has_buckets_that_add_up() {
    let json = |reports: &[Report], sections| -> Vec<Value> {
        let text = shown(&mut HistJson::new(sections), reports.iter().cloned());
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("an object a line"));
        // The JSON output also contains the lines of `trace`, which are dropped here.
        lines.filter(|line: &Value| line["type"] == "histogram").collect()
    };
    let mut lines = json(&reports(), Section::ALL.to_vec());
    lines.extend(json(&grouped(), vec![Section::Lifetime]));
    insta::assert_snapshot!(serde_json::to_string_pretty(&lines).expect("they are plain values"));
}

#[test]
fn hist_in_csv_has_a_row_per_histogram() {
    insta::assert_snapshot!(shown(&mut HistCsv::new(Section::ALL.to_vec()), reports()));
}

#[test]
fn hist_as_a_table_has_80_columns_for_the_longest_durations() {
    let mut all = durations();
    for histogram in &mut all.all {
        let bucket = (BUCKETS - 1, 99_999_999);
        histogram.tally = histogram.tally.clone().with_buckets([bucket]).expect("there is one");
        histogram.tally.longest = Some(Duration::from_secs(10_000_000));
        histogram.tally.shortest = Some(Duration::from_nanos(LONGEST_NS));
        histogram.tally.unknown = 9_999_999;
    }
    let caps = Some(TerminalCaps { coloured: false, unicode: true });
    let view = &mut HistTable::new(Some(Section::ALL.to_vec()), caps);
    let reports = [Report::Start(start()), Report::End(with(at(604_800, 0), all))];
    let text = shown(view, reports);
    let widest = text.lines().max_by_key(|line| line.chars().count()).expect("there are lines");
    assert!(widest.chars().count() <= 80, "{widest}");
}

#[test]
fn hist_with_a_filter_has_no_matrix() {
    let filtered = Histograms { is_filtered: true, ..durations() };
    let reports = [Report::Start(start()), Report::End(with(at(10, 0), filtered))];
    let text = shown(&mut HistTable::new(None, None), reports.clone());
    assert!(!text.contains("% OF ALL") && text.contains("\nlifetime "), "{text}");
    let json = shown(&mut HistJson::new(vec![Section::Lifetime]), reports);
    assert!(json.contains(r#""filtered":true,"of":"lifetime""#), "{json}");
}

#[test]
fn hist_without_ended_states_says_nothing_ended() {
    let nothing = Histograms { all: Vec::new(), ..durations() };
    let sections = Some(vec![Section::Connect]);
    let end = Report::End(with(at(10, 0), nothing));
    let text = shown(&mut HistTable::new(sections, None), [Report::Start(start()), end]);
    assert!(text.ends_with("nothing ended\n\nmissed 0\n"), "{text}");
}
