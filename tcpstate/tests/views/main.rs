//! Tests each view with made-up reports, at several sizes of the terminal.
//!
//! The expected texts are in `snapshots/`. `INSTA_UPDATE=always cargo test --test views` writes the
//! expected texts again. Review the differences.

mod groups;
mod hist;
mod long_lines;
mod made_up;
mod narrow;

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use serde_json::Value;
use tcpstate::{
    report::Report,
    view::{Csv, Json, Screen, Size, Table, TerminalCaps, View},
};
use tcpstate_common::State;

use self::made_up::{at, hostile_start, run, shown, start, unsure, with_cost};

const COLOURED: TerminalCaps = TerminalCaps { coloured: true, unicode: true };
const PLAIN: TerminalCaps = TerminalCaps { coloured: false, unicode: true };

/// A screen that is drawn on an emulated terminal.
struct Terminal {
    screen: Screen,
    emulator: vt100::Parser,
    size: [Arc<AtomicU16>; 2],
}

impl Terminal {
    fn new(columns: u16, rows: u16, caps: TerminalCaps) -> Self {
        let size = [columns, rows].map(|length| Arc::new(AtomicU16::new(length)));
        let asked = size.clone();
        let screen = Screen::new(caps, move || {
            let [columns, rows] = asked.each_ref().map(|length| length.load(Ordering::Relaxed));
            Size { columns, rows }
        });
        Self { screen, emulator: vt100::Parser::new(rows, columns, 0), size }
    }

    fn show(&mut self, reports: impl IntoIterator<Item = Report>) {
        let bytes = shown(&mut self.screen, reports);
        // The kernel's terminal driver adds the carriage return.
        self.emulator.process(bytes.replace('\n', "\r\n").as_bytes());
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        for (length, new) in self.size.iter().zip([columns, rows]) {
            length.store(new, Ordering::Relaxed);
        }
        self.emulator.screen_mut().set_size(rows, columns);
        let mut bytes = Vec::new();
        self.screen.redraw(&mut bytes).expect("a vector accepts every write");
        self.emulator.process(&bytes);
    }

    fn contents(&self) -> String {
        self.emulator.screen().contents()
    }
}

#[test]
fn screen_fills_terminals_of_all_sizes() {
    for (columns, rows) in [(80, 24), (200, 50), (60, 15), (40, 10)] {
        let mut terminal = Terminal::new(columns, rows, COLOURED);
        terminal.show(run(30));
        insta::assert_snapshot!(format!("screen_{columns}x{rows}"), terminal.contents());
    }
}

#[test]
fn screen_before_the_first_interval_has_gauges_and_no_rates() {
    let mut terminal = Terminal::new(80, 24, COLOURED);
    terminal.show([Report::Start(start())]);
    insta::assert_snapshot!(terminal.contents());
}

#[test]
fn screen_shows_unknown_and_inexact_numbers_and_escapes_text() {
    let mut terminal = Terminal::new(80, 24, COLOURED);
    terminal.show([Report::Start(hostile_start()), Report::Snapshot(unsure(at(5, 4)))]);
    insta::assert_snapshot!(terminal.contents());
}

#[test]
fn screen_without_utf_8_is_ascii() {
    let mut terminal = Terminal::new(80, 24, TerminalCaps { coloured: false, unicode: false });
    terminal.show(run(30));
    assert!(terminal.contents().is_ascii(), "{}", terminal.contents());
}

#[test]
fn screen_wraps_no_line_and_keeps_a_line_for_the_cursor() {
    for columns in (1..=210).step_by(3) {
        for rows in [2, 9, 24, 60] {
            let mut terminal = Terminal::new(columns, rows, COLOURED);
            terminal.show([Report::Start(hostile_start()), Report::Snapshot(with_cost(at(9, 8)))]);
            let screen = terminal.emulator.screen();
            let wrapped = (0..rows).find(|&row| screen.row_wrapped(row));
            assert_eq!(wrapped, None, "{columns}x{rows}: {}", screen.contents());
            let (row, column) = screen.cursor_position();
            let lines = screen.contents().trim_end().lines().count();
            assert!(usize::from(row) >= lines && column == 0, "{columns}x{rows}: {row}, {column}");
        }
    }
}

#[test]
fn screen_leaves_nothing_of_an_earlier_screen() {
    let sizes = [(80, 24), (40, 10), (200, 50), (60, 15), (80, 24)];
    let mut resized = Terminal::new(200, 50, COLOURED);
    resized.show(run(30));
    for (columns, rows) in sizes {
        resized.resize(columns, rows);
        let mut fresh = Terminal::new(columns, rows, COLOURED);
        fresh.show(run(30));
        assert_eq!(resized.contents(), fresh.contents(), "{columns}x{rows}");
    }
}

#[test]
fn screen_is_replaced_by_the_summary_and_keeps_the_terminal_modes() {
    let mut terminal = Terminal::new(80, 60, COLOURED);
    terminal.show(run(3));
    terminal.show([Report::End(at(3, 0))]);
    let screen = terminal.emulator.screen();
    assert!(screen.contents().starts_with("tcpstate trace: 3.0 s"), "{}", screen.contents());
    assert!(!screen.contents().contains("HISTORY"), "{}", screen.contents());
    assert!(!screen.hide_cursor() && !screen.alternate_screen());
    assert_eq!(screen.fgcolor(), vt100::Color::Default);
}

#[test]
fn screen_without_colour_has_no_attributes_and_each_frame_is_one_update() {
    let frame = shown(&mut Screen::new(PLAIN, || Size { columns: 80, rows: 24 }), run(1));
    let sequences: Vec<&str> = frame.split('\x1b').skip(1).collect();
    for sequence in &sequences {
        let end = sequence.find(|c: char| c.is_ascii_alphabetic()).expect("it ends");
        assert!(["H", "K", "J", "h", "l"].contains(&&sequence[end..=end]), "{sequence:?}");
    }
    let begun = sequences.iter().filter(|sequence| sequence.starts_with("[?2026h")).count();
    let ended = sequences.iter().filter(|sequence| sequence.starts_with("[?2026l")).count();
    assert_eq!((begun, ended), (2, 2));
    let coloured = shown(&mut Screen::new(COLOURED, || Size { columns: 80, rows: 24 }), run(1));
    assert!(coloured.contains("\x1b[32mexact\x1b[0m"), "{coloured:?}");
}

#[test]
fn a_full_table_of_time_wait_sockets_is_flagged() {
    let painted = |sockets| {
        let mut snapshot = at(1, 0);
        snapshot.time_wait.sockets = Some(sockets);
        let reports = [Report::Start(start()), Report::Snapshot(snapshot)];
        shown(&mut Screen::new(COLOURED, || Size { columns: 80, rows: 24 }), reports)
    };
    assert!(painted(200_000).contains("  76.3 % of the limit 262,144"));
    assert!(painted(230_000).contains("\x1b[1m\x1b[33m87.7 % of the limit 262,144\x1b[0m"));
    assert!(painted(262_144).contains("\x1b[1m\x1b[31m100.0 % of the limit 262,144\x1b[0m"));
}

#[test]
fn table_has_a_block_per_interval_and_a_summary() {
    let mut reports = run(2);
    reports.push(Report::End(at(2, 0)));
    insta::assert_snapshot!(shown(&mut Table::default(), reports));
}

#[test]
fn table_with_costs() {
    let snapshot = Report::Snapshot(with_cost(at(10, 9)));
    let end = Report::End(with_cost(at(10, 0)));
    insta::assert_snapshot!(shown(&mut Table::default(), [Report::Start(start()), snapshot, end]));
}

#[test]
fn table_shows_unknown_and_inexact_numbers_and_escapes_text() {
    let mut changed = unsure(at(2, 1));
    changed.attached = Some(hostile_start().attached);
    let reports =
        [Report::Start(hostile_start()), Report::Snapshot(changed), Report::End(unsure(at(2, 0)))];
    let text = shown(&mut Table::default(), reports);
    let is_safe = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
    assert!(text.chars().all(is_safe), "{text:?}");
    insta::assert_snapshot!(text);
}

#[test]
fn table_has_80_columns_after_a_week_on_a_large_host() {
    let mut reports = vec![Report::Start(hostile_start())];
    let mut snapshot = with_cost(at(604_800, 604_799));
    snapshot.attached = Some(hostile_start().attached);
    reports.extend([Report::Snapshot(snapshot), Report::End(with_cost(at(604_800, 0)))]);
    let text = shown(&mut Table::default(), reports);
    let widest = text.lines().max_by_key(|line| line.chars().count()).expect("there are lines");
    assert!(widest.chars().count() <= 80, "{widest}");
}

#[test]
fn csv_has_a_header_and_a_row_per_state_and_snapshot() {
    let mut reports = run(2);
    reports.push(Report::Snapshot(unsure(at(3, 2))));
    reports.push(Report::End(at(3, 0)));
    let text = shown(&mut Csv::default(), reports);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("there is one").iter().collect::<Vec<_>>().join(",");
    assert_eq!(header, "time,elapsed_seconds,netns,state,current,entered,left,corrected");
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 30);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(&row[3], State::GAUGES[index % 10].label());
        assert_eq!(&row[2], "4026531840");
    }
    let joined = |row: &csv::StringRecord| row.iter().collect::<Vec<_>>().join(",");
    let established = "2026-11-24T12:00:02.000Z,2.0,4026531840,established,501,2076,2072,0";
    assert_eq!(joined(&rows[13]), established);
    let unknown = "2026-11-24T12:00:03.000Z,3.0,4026531840,time_wait,,,,";
    assert_eq!(joined(&rows[29]), unknown);
}

#[test]
fn json_has_totals_since_the_start_and_rates_over_the_interval() {
    let reports = [
        Report::Start(start()),
        Report::Snapshot(with_cost(at(10, 9))),
        Report::End(unsure(at(10, 0))),
    ];
    let text = shown(&mut Json::default(), reports);
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let lines = serde_json::to_string_pretty(&lines).expect("they are plain values");
    insta::assert_snapshot!(lines);
}

#[test]
fn json_escapes_control_characters_and_keeps_the_value() {
    let mut start = start();
    start.kernel = "café \u{1b}[2J \u{9b}31m \u{7f} \u{202e} \u{e0001} \"quoted\" \\".into();
    let kernel = start.kernel.clone();
    let text = shown(&mut Json::default(), [Report::Start(start)]);
    let escaped = r#""kernel":"café \u001b[2J \u009b31m \u007f \u202e \udb40\udc01 \"quoted\" \\""#;
    assert!(text.contains(escaped), "{text}");
    let line: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(line["kernel"], kernel);
}
