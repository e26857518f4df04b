//! Tests the order and the sums of groups, and the width and the length of lines for any name.

use super::*;
use crate::report::Key;

fn group(kind: OwnerKind, opened: u64, interval: u64) -> OwnerGroup {
    OwnerGroup {
        kind,
        states: Some([opened; 10]),
        total: OwnerCounts { opened, ..OwnerCounts::default() },
        interval: OwnerCounts { opened: interval, ..OwnerCounts::default() },
        likely_owner: None,
    }
}

fn port(port: u16, opened: u64, interval: u64) -> OwnerGroup {
    group(OwnerKind::Group(vec![Value::Port(port)]), opened, interval)
}

fn owners(by: Vec<Key>, groups: Vec<OwnerGroup>) -> Owners {
    Owners { by, groups, accepted: 0, not_accepted: 0, without_room: 0, missed: 0 }
}

/// Returns the port, or the label of another row, with the recent count of each row.
fn shown(owners: &Owners, top: Option<usize>, span: Span) -> Vec<(String, u64)> {
    let order = GroupOrder { sort: SortBy::Rate(Column::Opened), top };
    let name = |row: &Row<'_>| match values(row.kind) {
        Some([Value::Port(port)]) => port.to_string(),
        _ => format!("{}/{}", row.kind.label(), row.hidden),
    };
    rows(owners, span, order).iter().map(|row| (name(row), row.recent.opened)).collect()
}

fn pairs(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn groups_are_sorted_by_rate_then_by_total_then_by_value() {
    let groups = vec![
        port(5, 10, 0),
        group(OwnerKind::Unknown, 1, 99),
        port(4, 9, 9),
        port(3, 20, 0),
        port(2, 10, 0),
    ];
    let owners = owners(vec![Key::LocalPort], groups);
    let sorted = pairs(&[("4", 9), ("3", 0), ("2", 0), ("5", 0), ("unknown/0", 99)]);
    assert_eq!(shown(&owners, None, Span::Interval), sorted);
    let of_run = pairs(&[("3", 20), ("2", 10), ("5", 10), ("4", 9), ("unknown/0", 1)]);
    assert_eq!(shown(&owners, None, Span::Run), of_run);
}

#[test]
fn groups_that_are_not_shown_are_in_other() {
    let mut groups: Vec<OwnerGroup> = (1..=9).map(|n| port(n, n.into(), n.into())).collect();
    groups.push(group(OwnerKind::Other, 100, 100));
    let owners = owners(vec![Key::LocalPort], groups);
    let expected = pairs(&[("9", 9), ("8", 8), ("other/7", 100 + 28)]);
    assert_eq!(shown(&owners, Some(2), Span::Interval), expected);
    let expected = pairs(&[("other/9", 100 + 45)]);
    assert_eq!(shown(&owners, Some(0), Span::Interval), expected);
    assert_eq!(shown(&owners, Some(9), Span::Interval).last(), Some(&("other/0".into(), 100)));
    let order = GroupOrder { sort: SortBy::Rate(Column::Opened), top: Some(2) };
    let sums = rows(&owners, Span::Interval, order);
    assert_eq!(sums.iter().map(Row::sockets).sum::<u64>(), 10 * (100 + 45));
}

#[test]
fn groups_and_rows_without_anything_are_left_out() {
    let groups = vec![port(1, 0, 0), group(OwnerKind::Gone, 0, 0), group(OwnerKind::Unknown, 0, 0)];
    assert_eq!(shown(&owners(vec![Key::LocalPort], groups), None, Span::Interval), []);
}

#[test]
fn order_of_equal_groups_does_not_depend_on_the_order_of_the_kernel() {
    let mut groups: Vec<OwnerGroup> = (1..=50).map(|n| port(n, 1, 1)).collect();
    let first = shown(&owners(vec![Key::LocalPort], groups.clone()), Some(7), Span::Interval);
    groups.reverse();
    assert_eq!(shown(&owners(vec![Key::LocalPort], groups), Some(7), Span::Interval), first);
    assert_eq!(first[6].0, "7");
}

/// Returns groups by all keys with the longest values, and names that must be escaped.
fn longest(name: &str) -> Owners {
    let by: Vec<Key> = Key::ALL.into_iter().filter(|&key| key != Key::State).collect();
    let process = Process { pid: u32::MAX, name: name.into() };
    let values = by.iter().map(|key| match key {
        Key::Process => Value::Process(process.clone()),
        Key::Comm => Value::Comm(name.into()),
        Key::User => Value::User(u32::MAX),
        Key::Cgroup => Value::Cgroup(name.to_owned().into()),
        Key::Unit => Value::Unit(name.into()),
        Key::Container => Value::Container(name.into()),
        Key::Netns => Value::Netns(u64::MAX, Some(name.into())),
        Key::LocalPort | Key::RemotePort => Value::Port(u16::MAX),
        Key::Remote => Value::Address(std::net::Ipv6Addr::from([0xab; 16]).into()),
        Key::State => Value::State(State::Established),
    });
    let kind = OwnerKind::Group(values.collect());
    let groups = vec![
        OwnerGroup { likely_owner: Some(process), ..group(kind, u64::MAX / 4, u64::MAX / 4) },
        group(OwnerKind::Other, u64::MAX / 4, u64::MAX / 4),
    ];
    let mut owners = owners(by, groups);
    (owners.without_room, owners.missed) = (u64::MAX, u64::MAX);
    owners
}

/// Names that are long, invisible, wide or made of escape sequences.
fn names(longest: usize) -> impl Iterator<Item = String> {
    let parts = ["a", "\u{1b}", "\u{e0001}", "\u{4f60}", "\"", "\u{202e}"];
    let counts = [0, 1, 15, longest];
    parts.into_iter().flat_map(move |part| counts.map(|count| part.repeat(count)))
}

#[test]
fn lines_of_a_table_fit_into_the_width_for_any_name_and_any_keys() {
    use unicode_width::UnicodeWidthStr as _;

    use crate::view::line::Line;

    let text = |line: &Line| {
        let mut text = Vec::new();
        line.write(false, &mut text).expect("memory takes all");
        String::from_utf8(text).expect("it is UTF-8")
    };
    for name in names(600) {
        let all = longest(&name);
        for keys in [1, 2, 3, all.by.len()] {
            for skipped in 0..=all.by.len() - keys {
                let mut owners = all.clone();
                owners.by = all.by[skipped..skipped + keys].to_vec();
                if let OwnerKind::Group(values) = &mut owners.groups[0].kind {
                    *values = values[skipped..skipped + keys].to_vec();
                }
                for width in [80, 132] {
                    for span in [Span::Interval, Span::Run] {
                        let space = Space { width, height: None };
                        let lines = lines(&owners, 0.3, span, GroupOrder::default(), space);
                        assert!(lines.len() >= 5, "{lines:?}");
                        for line in lines.iter().map(text) {
                            assert!(line.width() <= width, "{line}");
                            assert!(line.chars().all(crate::text::is_plain), "{line:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_json_line_is_short_for_any_name() {
    use serde_json::Value as Json;

    use crate::view::json_lines::{MAX_LINE, serialize};

    for name in names(100_000) {
        let owners = longest(&name);
        let row = &rows(&owners, Span::Interval, GroupOrder::default())[0];
        let line = line(&owners.by, row, 0.3);
        assert_eq!(line["key"]["comm"], name);
        let mut text = Vec::new();
        serialize(&line, &mut text).expect("memory takes all");
        // The line of a group has also a type, a version and times.
        assert!(text.len() + 128 <= MAX_LINE, "{}", name.len());
        let written: Json = serde_json::from_slice(&text).expect("JSON");
        let comm = written["key"]["comm"].as_str().expect("a name");
        match comm.strip_suffix('…') {
            Some(kept) => assert!(name.len() > 4000 && name.starts_with(kept), "{comm}"),
            None => assert_eq!(comm, name),
        }
    }
}
