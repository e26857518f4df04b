//! Tests the counts by owner in each view, with made-up groups.

use serde_json::Value;
use tcpstate::{
    report::{
        Column, Key, OwnerCounts, OwnerGroup, OwnerKind, Owners, Process, Report, Snapshot,
        key::Value as KeyValue,
    },
    view::{Clock, Csv, EventLines, EventTable, GroupOrder, Json, Screen, Size, SortBy, Table},
};
use tcpstate_common::State;

use super::{
    COLOURED, PLAIN, Terminal,
    made_up::{at, shown, start},
};

/// The counts of a group in each second, in the order of `Column::ALL`.
type PerSecond = [u64; 8];
type States = [u64; 10];

fn counts(per_second: PerSecond, seconds: u64) -> OwnerCounts {
    let mut counts = OwnerCounts::default();
    for (column, count) in Column::ALL.into_iter().zip(per_second) {
        *counts.get_mut(column) = count * seconds;
    }
    counts
}

fn group(
    kind: OwnerKind,
    per_second: PerSecond,
    states: Option<States>,
    of: &Snapshot,
) -> OwnerGroup {
    OwnerGroup {
        kind,
        states,
        total: counts(per_second, of.elapsed.as_secs()),
        interval: counts(per_second, of.interval.as_secs()),
        likely_owner: None,
    }
}

fn process(name: &str, pid: u32) -> OwnerKind {
    OwnerKind::Group(vec![KeyValue::Process(Process { pid, name: name.into() })])
}

/// Adds groups by process to a snapshot. The groups add up to the gauges and to the totals of the
/// snapshot. One process has a name with escape sequences.
fn by_process(snapshot: Snapshot) -> Snapshot {
    let t = snapshot.elapsed.as_secs();
    let of = &snapshot;
    let groups = vec![
        group(OwnerKind::Gone, [0, 0, 0, 5, 0, 5, 0, 0], None, of),
        group(
            process("postgres", 902),
            [0, 0, 20, 0, 20, 0, 0, 0],
            Some([2, 0, 0, 20, 0, 0, 0, 0, 0, 0]),
            of,
        ),
        group(
            process("\u{1b}[2Jevil\n", 31_337),
            [12, 12, 0, 12, 0, 12, 0, 0],
            Some([0, 0, 0, 3, 0, 0, 0, 0, 0, 3 * t]),
            of,
        ),
        group(process("idle", 7), [0; 8], Some([0; 10]), of),
        group(
            process("nginx", 1843),
            [0, 0, 900, 660, 240, 660, 0, 0],
            Some([4, 0, 0, 400 + 2 * t, 0, 41 + 5 * t, 0, 0, t, 120 * t]),
            of,
        ),
        group(
            OwnerKind::Unknown,
            [0, 0, 0, 0, 2, 0, 0, 0],
            Some([0, 0, 3, 0, 0, 0, 0, 0, 1, 45_027]),
            of,
        ),
        group(
            process("api-gateway", 22_017),
            [100, 99, 0, 90, 0, 90, 1, 0],
            Some([0, 0, 0, 60, 0, 0, 7, 0, 0, 15 * t]),
            of,
        ),
        group(
            OwnerKind::Other,
            [8, 7, 0, 7, 0, 7, 1, 0],
            Some([6, 0, 0, 14, 0, 0, 0, 0, 0, 2 * t]),
            of,
        ),
    ];
    with_groups(vec![Key::Process], groups, snapshot)
}

fn with_groups(by: Vec<Key>, groups: Vec<OwnerGroup>, snapshot: Snapshot) -> Snapshot {
    let accepted = groups.iter().map(|group| group.total.accepted).sum();
    let owners = Owners { by, groups, accepted, not_accepted: 3, without_room: 1240, missed: 2 };
    Snapshot { owners: Some(owners), ..snapshot }
}

/// Adds groups by destination to a snapshot.
fn by_destination(snapshot: Snapshot) -> Snapshot {
    let destinations = [
        ("10.0.0.5", 6379, 90, Some(("api-gateway", 22_017))),
        ("2001:db8:1234:5678:9abc:def0:1234:5678", 65_535, 12, Some(("\u{1b}[2Jevil\n", 31_337))),
        ("192.0.2.10", 443, 7, None),
    ];
    let mut groups: Vec<OwnerGroup> = destinations
        .into_iter()
        .map(|(address, port, rate, owner)| {
            let address = address.parse().expect("an address");
            let key = OwnerKind::Group(vec![KeyValue::Address(address), KeyValue::Port(port)]);
            let counts = [rate, rate, 0, rate, 0, rate, 0, 0];
            let likely_owner = owner.map(|(name, pid)| Process { pid, name: name.into() });
            let states = [0, 0, 0, rate / 2, 0, 0, 0, 0, 0, 60 * rate];
            OwnerGroup { likely_owner, ..group(key, counts, Some(states), &snapshot) }
        })
        .collect();
    let listeners = OwnerKind::Group(vec![KeyValue::None, KeyValue::None]);
    groups.push(group(listeners, [0; 8], Some([12, 0, 0, 0, 0, 0, 0, 0, 0, 0]), &snapshot));
    with_groups(vec![Key::Remote, Key::RemotePort], groups, snapshot)
}

fn run(of: fn(Snapshot) -> Snapshot) -> [Report; 3] {
    [Report::Start(start()), Report::Snapshot(of(at(30, 29))), Report::End(of(at(30, 0)))]
}

fn painted(columns: u16, rows: u16, snapshot: Snapshot) -> String {
    let mut terminal = Terminal::new(columns, rows, COLOURED);
    terminal.show([Report::Start(start()), Report::Snapshot(snapshot)]);
    terminal.contents()
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

fn json(order: GroupOrder, reports: impl IntoIterator<Item = Report>) -> Vec<Value> {
    let text = shown(&mut Json::new(order, EventLines::NONE), reports);
    assert!(text.lines().all(|line| line.len() < 16 << 10), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

#[test]
fn groups_are_below_the_gauges_of_terminals_of_all_sizes() {
    for (columns, rows) in [(80, 24), (80, 40), (200, 50), (60, 15), (40, 10)] {
        let name = format!("groups_on_screen_{columns}x{rows}");
        insta::assert_snapshot!(name, painted(columns, rows, by_process(at(30, 29))));
    }
    insta::assert_snapshot!("destinations_on_screen", painted(80, 40, by_destination(at(30, 29))));
}

#[test]
fn groups_on_a_screen_wrap_no_line() {
    for columns in (1..=210).step_by(3) {
        for rows in [2, 9, 24, 60] {
            let mut terminal = Terminal::new(columns, rows, COLOURED);
            for of in [by_process, by_destination] {
                terminal.show([Report::Start(start()), Report::Snapshot(of(at(9, 8)))]);
                let screen = terminal.emulator.screen();
                let wrapped = (0..rows).find(|&row| screen.row_wrapped(row));
                assert_eq!(wrapped, None, "{columns}x{rows}: {}", screen.contents());
            }
        }
    }
}

#[test]
fn groups_have_colour_only_on_a_terminal_with_colours() {
    let text = |caps| {
        let mut screen = Screen::new(caps, || Size { columns: 80, rows: 40 });
        shown(&mut screen, [Report::Start(start()), Report::Snapshot(by_process(at(9, 8)))])
    };
    // A sequence for colours has digits and semicolons between `[` and `m`.
    let is_style = |sequence: &str| {
        let codes = sequence.trim_start_matches(|c: char| "[;".contains(c) || c.is_ascii_digit());
        codes.starts_with('m')
    };
    let styles = |text: &str| text.split('\x1b').skip(1).filter(|&it| is_style(it)).count();
    assert_eq!(styles(&text(PLAIN)), 0);
    let coloured = text(COLOURED);
    assert!(
        coloured.contains("\x1b[1m   660.0\x1b[0m"),
        "the sorted column is strong: {coloured:?}"
    );
    assert!(styles(&coloured) > 0);
}

#[test]
fn groups_in_a_pipe_have_a_table_per_interval_and_in_the_summary() {
    let text = shown(&mut Table::default(), run(by_process));
    let is_safe = |c: char| c == '\n' || !c.is_control();
    assert!(text.chars().all(is_safe) && widest(&text) <= 80, "{text}");
    insta::assert_snapshot!("groups_in_a_pipe", text);
    let text = shown(&mut Table::default(), run(by_destination));
    assert!(text.chars().all(is_safe) && widest(&text) <= 80, "{text}");
    insta::assert_snapshot!("destinations_in_a_pipe", text);
}

#[test]
fn groups_are_between_event_lines_in_the_requested_order() {
    let clock = Clock::Zone(jiff::tz::TimeZone::UTC);
    let sort = SortBy::Rate(Column::Accepted);
    let mut table = EventTable::new(clock).with_order(GroupOrder { sort, top: Some(2) });
    let text = shown(&mut table, run(by_process));
    let rows = text.lines().skip_while(|line| !line.starts_with("PROCESS "));
    let names: Vec<&str> = rows.filter_map(|line| line.split(' ').next()).take(4).collect();
    assert_eq!(names, ["PROCESS", "nginx", "postgres", "other"], "{text}");
}

#[test]
fn groups_in_json_are_lines_after_the_snapshot_and_before_the_end() {
    let lines = json(GroupOrder::default(), run(by_process));
    let types: Vec<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    let expected = [&["start", "snapshot"][..], &["group"; 7], &["group"; 7], &["end"]].concat();
    assert_eq!(types, expected);
    assert_eq!((&lines[1]["group_lines"], &lines[16]["group_lines"]), (&7.into(), &7.into()));
    let mut lines = lines;
    lines.extend(json(GroupOrder::default(), run(by_destination)));
    let groups: Vec<&Value> = lines.iter().filter(|line| line["type"] == "group").collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&groups).expect("plain values"));
}

/// Returns the sum of a number over all lines of groups.
fn sum(lines: &[Value], path: &str) -> u64 {
    let groups = lines.iter().filter(|line| line["type"] == "group");
    groups.filter_map(|line| line.pointer(path)?.as_u64()).sum()
}

#[test]
fn groups_add_up_to_the_totals_for_any_number_of_shown_groups() {
    for top in [Some(1), Some(2), Some(3), Some(20), None] {
        let order = GroupOrder { top, ..GroupOrder::default() };
        let lines = json(order, [Report::Start(start()), Report::Snapshot(by_process(at(30, 29)))]);
        let snapshot = &lines[1];
        for column in Column::ALL {
            let total = snapshot["totals"][column.label()].as_u64();
            assert_eq!(total, Some(sum(&lines, &format!("/{}", column.label()))), "{column:?}");
        }
        for state in State::GAUGES {
            let path = format!("/states/{}", state.label());
            let gauge = snapshot.pointer(&format!("{path}/current")).and_then(Value::as_u64);
            assert_eq!(gauge, Some(sum(&lines, &path)), "{state}, {top:?}");
        }
        let hidden = 4 - top.unwrap_or(4).min(4) as u64;
        assert_eq!(sum(&lines, "/groups"), hidden, "{top:?}");
        assert_eq!(snapshot["group_lines"], lines.len() - 2);
    }
}

#[test]
fn groups_are_sorted_by_the_requested_column() {
    let first = |sort| {
        let order = GroupOrder { sort, ..GroupOrder::default() };
        let lines = json(order, [Report::Start(start()), Report::Snapshot(by_process(at(30, 29)))]);
        lines[2]["key"]["comm"].as_str().expect("a name").to_owned()
    };
    for (sort, name) in [
        (SortBy::Rate(Column::TimeWaitEntries), "nginx"),
        (SortBy::Rate(Column::Opened), "api-gateway"),
        (SortBy::Rate(Column::Failed), "api-gateway"),
        (SortBy::Sockets(State::CloseWait), "api-gateway"),
        (SortBy::Sockets(State::Listen), "nginx"),
    ] {
        assert_eq!(first(sort), name, "{sort:?}");
    }
}

#[test]
fn groups_in_csv_have_a_header_of_their_own_and_safe_cells() {
    let text = shown(&mut Csv::new(vec![Key::Process], GroupOrder::default()), run(by_process));
    insta::assert_snapshot!("groups_in_csv", text);
    let mut formula = by_destination(at(30, 29));
    let owners = formula.owners.as_mut().expect("groups");
    owners.by = vec![Key::Comm, Key::Netns, Key::Remote];
    for group in &mut owners.groups {
        if let OwnerKind::Group(values) = &mut group.kind {
            let netns = KeyValue::Netns(4_026_531_840, Some("=1+1".into()));
            *values = vec![KeyValue::Comm("@SUM(A1)".into()), netns, values[0].clone()];
        }
    }
    let by = vec![Key::Comm, Key::Netns, Key::Remote];
    let reports = [Report::Start(start()), Report::Snapshot(formula)];
    let text = shown(&mut Csv::new(by, GroupOrder::default()), reports);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().expect("a header").clone();
    for row in reader.records().map(|row| row.expect("a row")) {
        let cell = |name| &row[columns.iter().position(|column| column == name).expect(name)];
        assert_eq!((cell("comm"), cell("netns_name")), ("'@SUM(A1)", "'=1+1"));
        assert_eq!((cell("kind"), cell("netns")), ("group", "4026531840"));
    }
}

#[test]
fn json_without_groups_has_totals_and_no_lines_of_groups() {
    let text = shown(&mut Json::default(), [Report::Start(start()), Report::Snapshot(at(2, 1))]);
    let line: Value = serde_json::from_str(text.lines().nth(1).expect("a line")).expect("JSON");
    let totals = serde_json::json!({
        "opened": 240, "connected": 236, "accepted": null, "not_accepted": null,
        "closed_first": 1548, "closed_second": 524, "time_wait_entries": 1548, "failed": 4,
        "reset": 0,
    });
    assert_eq!(line["totals"], totals);
    assert!(line.get("group_lines").is_none() && text.lines().count() == 2, "{text}");
}
