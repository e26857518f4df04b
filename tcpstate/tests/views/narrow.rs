//! Tests the views on terminals of 80 columns: no line wraps, and each view that leaves something
//! out prints a note.

use std::{
    ffi::OsString,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use tcpstate::{
    report::{
        Caller, CloseReason, Connection, Event, Family, Group, Hook, NamespaceRow, Report, Role,
        TimeWait,
    },
    view::{
        Clock, ConnectionCsv, ConnectionTable, EventLines, EventTable, GroupOrder, Heat, HistTable,
        Json, Screen, Section, Size, Table, View,
    },
};
use tcpstate_common::{State, histogram::By};

use super::{
    COLOURED, PLAIN, Terminal,
    hist::grouped_by,
    made_up::{at, run, shown, start},
};

const NARROW: Size = Size { columns: 80, rows: 24 };
const WIDE: Size = Size { columns: 200, rows: 50 };
const V4: &str = "255.255.255.255";
const V6: &str = "2001:db8:1234:5678:9abc:def0:1234:5678";

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Returns an event whose fields are as long as possible.
pub(super) fn event(address: &str, comm: &str, hook: Hook) -> Event {
    let address: Option<IpAddr> = address.parse().ok();
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_521_600);
    Event {
        time: noon,
        monotonic: Duration::from_micros(12_345_678_123_456),
        hook,
        from: State::Established,
        to: State::Established,
        family: Family::V6,
        local: address,
        local_port: Some(65_535),
        remote: address,
        remote_port: Some(65_534),
        netns: 4_026_531_840,
        cookie: Some(u64::MAX),
        pid: Some(4_194_304),
        comm: Some(OsString::from(comm)),
        uid: Some(0),
        cgroup: None,
        duration: Some(Duration::from_secs(123_456)),
        ended_by: Some(CloseReason::RemoteRst),
        closed_by: None,
        opened_by: None,
        connection: None,
    }
}

fn events_shown(mut table: EventTable, events: &[Event]) -> String {
    let mut out = Vec::new();
    table.show(&Report::Start(start()), &mut out).expect("a vector accepts every write");
    table.show_events(events, &mut out).expect("a vector accepts every write");
    String::from_utf8(out).expect("it is UTF-8")
}

#[test]
fn events_fit_into_80_columns_with_long_addresses_and_names() {
    let events = [
        event(V4, "curl", Hook::Transitions),
        event(V4, "abcdefghijklmno", Hook::TimeWait),
        event(V6, "\u{1b}[2J\u{1b}[2J\u{1b}[2J", Hook::TimeWait),
        event("::1", "nginx", Hook::SynRecv),
    ];
    for clock in [Clock::Zone(jiff::tz::TimeZone::UTC), Clock::Monotonic] {
        let table = EventTable::new(clock).on_terminal(|| NARROW);
        let text = events_shown(table, &events);
        assert!(widest(&text) <= 80, "{text}");
        let whole = [format!("[{V6}]:65535"), format!("[{V6}]:65534 remote_rst (mini)")];
        assert!(whole.iter().all(|part| text.contains(part)), "{text}");
    }
    let table = EventTable::new(Clock::Zone(jiff::tz::TimeZone::UTC)).on_terminal(|| NARROW);
    insta::assert_snapshot!(events_shown(table, &events));
}

#[test]
fn events_have_one_line_each_in_a_pipe_and_on_a_wide_terminal() {
    let events = [event(V6, "curl", Hook::TimeWait), event(V4, "curl", Hook::Transitions)];
    let clock = || Clock::Zone(jiff::tz::TimeZone::UTC);
    let piped = events_shown(EventTable::new(clock()), &events);
    assert_eq!(events_shown(EventTable::new(clock()).on_terminal(|| WIDE), &events), piped);
    let lines: Vec<&str> = piped.lines().skip_while(|line| !line.starts_with("TIME ")).collect();
    assert_eq!(lines.len(), 3, "{piped}");
}

/// Returns the last event of a connection whose fields are as long as possible.
pub(super) fn ended(address: &str, comm: &str) -> Event {
    let time = |seconds| Some(Duration::from_secs(seconds));
    Event {
        from: State::FinWait2,
        to: State::Close,
        ended_by: Some(CloseReason::RemoteFin),
        opened_by: Some(Caller { pid: Some(4_194_304), comm: OsString::from(comm) }),
        connection: Some(Box::new(Connection {
            opened: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)),
            role: Some(Role::Client),
            duration: time(1_234_567),
            handshake: time(127),
            states: vec![(State::SynSent, time(127)), (State::Established, None)],
            time_wait: Some(true),
            bytes_sent: Some(u64::MAX),
            bytes_received: Some(999_900_000),
            retransmits: Some(123_456),
            srtt: Some(Duration::from_micros(999_999)),
            is_mptcp: false,
        })),
        ..event(address, comm, Hook::Transitions)
    }
}

fn connections_shown(mut table: ConnectionTable, events: &[Event]) -> String {
    let mut out = Vec::new();
    table.show(&Report::Start(start()), &mut out).expect("a vector accepts every write");
    table.show_events(events, &mut out).expect("a vector accepts every write");
    String::from_utf8(out).expect("it is UTF-8")
}

#[test]
fn connections_fit_into_80_columns_with_long_addresses_and_names() {
    let unknown = Event {
        opened_by: None,
        ended_by: None,
        connection: Some(Box::default()),
        ..ended("::1", "")
    };
    let transition = event(V4, "no connection", Hook::Transitions);
    let events =
        [ended(V4, "abcdefghijklmno"), ended(V6, "\u{1b}[2J\u{1b}[2J"), unknown, transition];
    for clock in [Clock::Zone(jiff::tz::TimeZone::UTC), Clock::Monotonic] {
        let table = ConnectionTable::new(clock).on_terminal(|| NARROW);
        let text = connections_shown(table, &events);
        assert!(widest(&text) <= 80, "{text}");
    }
    let clock = || Clock::Zone(jiff::tz::TimeZone::UTC);
    let narrow = ConnectionTable::new(clock()).on_terminal(|| NARROW);
    insta::assert_snapshot!(connections_shown(narrow, &events));
    let piped = connections_shown(ConnectionTable::new(clock()), &events);
    assert_eq!(
        connections_shown(ConnectionTable::new(clock()).on_terminal(|| WIDE), &events[..1]),
        connections_shown(ConnectionTable::new(clock()), &events[..1])
    );
    insta::assert_snapshot!("connections_in_a_pipe", piped);
}

#[test]
fn connections_in_json_and_csv_have_all_fields() {
    let events = [ended(V4, "=cmd\u{1b}"), event(V4, "curl", Hook::Transitions)];
    let lines = EventLines { transitions: false, connections: true };
    let mut json = Vec::new();
    Json::new(GroupOrder::default(), lines).show_events(&events, &mut json).expect("memory");
    insta::assert_snapshot!("connection_in_json", String::from_utf8_lossy(&json));
    let mut csv = Vec::new();
    ConnectionCsv.show(&Report::Start(start()), &mut csv).expect("memory");
    ConnectionCsv.show_events(&events, &mut csv).expect("memory");
    let csv = String::from_utf8(csv).expect("it is UTF-8");
    let widths: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(widths, [35, 35], "{csv}");
    insta::assert_snapshot!("connection_in_csv", csv);
}

#[test]
fn groups_of_hist_fit_into_80_columns_and_keep_their_names() {
    let path = "/kubepods.slice/kubepods-burstable.slice/pod-1/cri-containerd-0123456789abcdef";
    let names =
        [Group::Address(V6.parse().expect("an address")), Group::Cgroup(1, Some(path.into()))];
    let reports = grouped_by(By::Cgroup, &names);
    let sections = Some(vec![Section::Lifetime]);
    let text = shown(
        &mut HistTable::new(sections.clone(), Some(PLAIN)).on_terminal(|| NARROW),
        reports.clone(),
    );
    assert!(widest(&text) <= 80, "{text}");
    assert!(text.contains(&format!("\n{V6}\n  ")) && text.contains(&path[1..]), "{text}");
    let piped = shown(&mut HistTable::new(sections, None), reports);
    assert!(piped.lines().any(|line| line.starts_with(path) && line.len() > 100), "{piped}");
}

/// Returns the transition matrix that `trace` draws on a terminal of this size.
fn matrix(size: Size) -> String {
    let mut heat = Heat::new(Some(PLAIN), move || size);
    let text = shown(&mut heat, [Report::Start(start()), Report::Snapshot(at(1, 0))]);
    let mut emulator = vt100::Parser::new(size.rows, size.columns, 0);
    emulator.process(text.replace('\n', "\r\n").as_bytes());
    emulator.screen().contents().trim().to_owned()
}

#[test]
fn matrix_says_what_does_not_fit() {
    insta::assert_snapshot!("matrix_80x24", matrix(NARROW));
    let short = matrix(Size { columns: 80, rows: 10 });
    assert!(short.contains("and 12 more transitions (no room for the map)"), "{short}");
    let slim = matrix(Size { columns: 60, rows: 50 });
    assert!(slim.contains("columns that do not fit: TIME_WAIT, CLOSE"), "{slim}");
    let whole = matrix(Size { columns: 80, rows: 50 });
    assert!(!whole.contains("more transitions") && !whole.contains("do not fit"), "{whole}");
}

#[test]
fn matrix_of_a_pipe_is_whole() {
    let mut heat = Heat::new(None, || Size { columns: 10, rows: 5 });
    let text = shown(&mut heat, [Report::Start(start()), Report::Snapshot(at(1, 0))]);
    assert!(text.contains("\nTIME_WAIT   CLOSE * "), "{text}");
    assert!(!text.contains("more transitions") && !text.contains("do not fit"), "{text}");
}

/// Returns one row for each of `count` namespaces. The last row has the most sockets.
fn namespaces(count: u32) -> Vec<NamespaceRow> {
    let row = |number: u32| NamespaceRow {
        netns: 4_026_532_000 + u64::from(number),
        name: number.is_multiple_of(2).then(|| format!("blue-{number}")),
        is_gone: false,
        states: start().states.map(|mut gauge| {
            gauge.current = Some(i64::from(number));
            gauge
        }),
        time_wait: TimeWait::default(),
    };
    (1..=count).map(row).collect()
}

fn run_with_namespaces(count: u32) -> Vec<Report> {
    let mut snapshot = at(1, 0);
    snapshot.namespaces = Some(namespaces(count));
    vec![Report::Start(start()), Report::Snapshot(snapshot)]
}

#[test]
fn screen_has_the_largest_namespaces_and_the_number_of_the_rest() {
    let mut terminal = Terminal::new(80, 24, COLOURED);
    terminal.show(run_with_namespaces(10));
    insta::assert_snapshot!("screen_with_namespaces_80x24", terminal.contents());
    let mut terminal = Terminal::new(80, 60, COLOURED);
    terminal.show(run_with_namespaces(10));
    let contents = terminal.contents();
    assert!(contents.contains("\n4026532001 ") && !contents.contains("more namespace"));
}

#[test]
fn summary_has_all_namespaces_in_a_pipe_and_those_that_fit_on_a_terminal() {
    let mut end = at(1, 0);
    end.namespaces = Some(namespaces(100));
    let reports = [Report::Start(start()), Report::End(end)];
    let piped = shown(&mut Table::default(), reports.clone());
    assert!(piped.contains("\n4026532001 ") && !piped.contains("more namespace"), "{piped}");
    let screen = shown(&mut Screen::new(PLAIN, || NARROW), reports);
    assert!(screen.contains("\nblue-100 ") && screen.contains("\nand 79 more namespaces\n"));
}

#[test]
fn screen_announces_the_transitions_that_do_not_fit() {
    let note = "transitions: not shown; they need a terminal of 40 lines";
    for (rows, is_shown) in [(24, false), (39, false), (40, true)] {
        let mut terminal = Terminal::new(80, rows, COLOURED);
        terminal.show(run(3));
        let contents = terminal.contents();
        assert_eq!(contents.contains(note), !is_shown, "{rows}: {contents}");
        assert_eq!(contents.contains("TIME_WAIT    -> CLOSE *"), is_shown, "{rows}: {contents}");
    }
}

/// Returns the number that a line has in a column.
fn number(words: &[&str], column: usize) -> i64 {
    words[column].replace(',', "").parse().expect("a number")
}

#[test]
fn a_reader_of_the_summary_can_add_the_rows_up() {
    let text = shown(&mut Table::default(), [Report::Start(start()), Report::End(at(10, 0))]);
    let words: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    // Each of these lines has the columns FROM, `->`, TO, a mark, the count, and the count per
    // second.
    let rows: Vec<&[&str]> =
        words.iter().filter(|words| words.get(1) == Some(&"->")).map(Vec::as_slice).collect();
    assert_eq!(rows.len(), 17, "{text}");
    let count = |row: &[&str]| number(row, row.len() - 2);
    for state in State::GAUGES {
        let gauge = words.iter().find(|words| words.first() == Some(&state.name()));
        let gauge = gauge.expect("every state has a row");
        let into = rows.iter().filter(|row| row[2] == state.name());
        let out_of = rows.iter().filter(|row| row[0] == state.name() && row[3] != "+");
        assert_eq!(into.map(|row| count(row)).sum::<i64>(), number(gauge, 4), "{state}: {text}");
        assert_eq!(out_of.map(|row| count(row)).sum::<i64>(), number(gauge, 5), "{state}: {text}");
    }
}
