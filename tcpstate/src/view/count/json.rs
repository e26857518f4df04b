//! Counts for programs: one JSON object on each line.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{
    super::{
        groups::key,
        json::times,
        json_lines::{add_list, write_line},
    },
    CountView, by_state,
};
use crate::report::{
    Key,
    count::{Count, Groups, Lack, Place, States, total},
    key::Value as KeyValue,
};

/// The version of the JSON lines. The version increases when the meaning of a key changes.
const VERSION: u32 = 1;

/// Writes JSON lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl CountView for Json {
    fn show(&mut self, count: &Count, out: &mut dyn Write) -> io::Result<()> {
        let (time, time_unix) = times(count.time);
        let mut line = json!({
            "type": "count",
            "version": VERSION,
            "time": time,
            "time_unix": time_unix,
            "netns": match count.netns {
                Place::One(inode) => Some(inode.to_string()),
                Place::All => Some("all".to_owned()),
                Place::Unknown => None,
            },
            "total": total(&count.states),
            "states": states(&count.states),
        });
        let Some(groups) = &count.groups else { return write_line(&line, out) };
        add_groups(&mut line, groups)?;
        write_line(&line, out)?;
        for group in group_lines(groups) {
            let mut line = json!({
                "type": "count_group",
                "version": VERSION,
                "time": time,
                "time_unix": time_unix,
                "by": labels(&groups.by),
            });
            if let Value::Object(line) = &mut line {
                line.extend(group);
            }
            write_line(&line, out)?;
        }
        Ok(())
    }
}

fn labels(by: &[Key]) -> Vec<&'static str> {
    by.iter().map(|key| key.label()).collect()
}

/// Returns the keys of a line for each group, largest first, then for the other groups and for the
/// sockets without a group, if there are any.
fn group_lines(groups: &Groups) -> Vec<Map<String, Value>> {
    let line = |kind: &str, key: Value, counts: &States| {
        Map::from_iter([
            ("kind".to_owned(), kind.into()),
            ("key".to_owned(), key),
            ("total".to_owned(), total(counts).into()),
            ("states".to_owned(), states(counts)),
        ])
    };
    let mut lines: Vec<_> = groups
        .rows
        .iter()
        .map(|group| line("group", key(&groups.by, &group.values), &group.states))
        .collect();
    let other = &groups.other.states;
    if total(other) > 0 {
        lines.push(line("other", Value::Null, other));
    }
    if !groups.without.is_empty() {
        let mut sum = States::default();
        for (_, counts) in &groups.without {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let mut unknown = line("unknown", Value::Null, &sum);
        let causes = groups.without.iter();
        let causes = causes.map(|(lack, counts)| (lack.label().to_owned(), total(counts).into()));
        unknown.insert("causes".to_owned(), Value::Object(causes.collect()));
        lines.push(unknown);
    }
    lines
}

/// Adds the list of groups, if it fits into the line. Each row of the list has the values by the
/// names of their keys.
fn add_groups(line: &mut Value, groups: &Groups) -> io::Result<()> {
    let by = |value: &dyn Fn(usize) -> Value| {
        let labels = groups.by.iter().map(|key| key.label().to_owned());
        Value::Object(labels.enumerate().map(|(at, label)| (label, value(at))).collect())
    };
    let row = |(by, counts): &(Value, &States)| json!({ "by": by, "total": total(counts), "states": states(counts) });
    let named = groups.rows.iter().map(|group| (by(&|at| value(&group.values[at])), &group.states));
    let without = groups.without.iter().map(|(lack, counts)| {
        let name = if *lack == Lack::Unknown { Value::Null } else { lack.label().into() };
        (by(&|_| name.clone()), counts)
    });
    let rows: Vec<_> = named.chain(without).collect();
    line["by"] = match labels(&groups.by)[..] {
        [key] => key.into(),
        ref keys => json!(keys),
    };
    let other = &groups.other;
    line["other"] = json!({
        "groups": other.groups,
        "ungrouped": other.beyond,
        "total": total(&other.states),
        "states": states(&other.states),
    });
    add_list(line, "groups", &rows, row)?;
    Ok(())
}

fn states(counts: &States) -> Value {
    let states = by_state(counts).map(|(state, count)| (state.label().to_owned(), count.into()));
    Value::Object(states.collect::<Map<_, _>>())
}

/// Returns a value for the list of groups, as a number, a text or an object. The value is null if
/// the sockets have none.
fn value(value: &KeyValue) -> Value {
    match value {
        KeyValue::Port(port) => json!(port),
        KeyValue::Client => json!("client"),
        KeyValue::Address(address) => json!(address.to_string()),
        KeyValue::Process(process) => json!({ "pid": process.pid, "comm": process.name }),
        KeyValue::User(uid) => json!(uid),
        KeyValue::Cgroup(cgroup) => json!(cgroup.path),
        KeyValue::Comm(text) | KeyValue::Unit(text) | KeyValue::Container(text) => {
            json!(text)
        }
        KeyValue::Netns(inode, _) => json!(inode.to_string()),
        KeyValue::State(state) => json!(state.label()),
        KeyValue::None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{grouped, pairs, plain, processes, shown},
        *,
    };

    #[test]
    fn a_count_is_one_line_with_all_ten_states() {
        assert_eq!(
            shown(&mut Json, &plain()),
            "{\"type\":\"count\",\"version\":1,\"time\":\"2023-11-14T22:13:20.123Z\",\"time_unix\":1700000000.123,\
             \"netns\":\"4026531840\",\"total\":47310,\"states\":{\"listen\":2,\"syn_sent\":0,\"syn_recv\":1,\
             \"established\":497,\"fin_wait1\":0,\"fin_wait2\":3,\"close_wait\":0,\"closing\":0,\"last_ack\":0,\
             \"time_wait\":46807}}\n"
        );
    }

    #[test]
    fn groups_are_in_the_line_of_the_count_and_in_lines_of_their_own() {
        let text = shown(&mut Json, &processes());
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("an object"));
        let lines: Vec<Value> = lines.collect();
        let line = &lines[0];
        assert_eq!(line["by"], "process");
        assert_eq!(line["groups"][0]["by"]["process"]["pid"], 7);
        assert_eq!(line["groups"][0]["by"]["process"]["comm"], "ev\u{1b}[2J\til");
        assert_eq!(line["groups"][1]["by"]["process"], "none");
        assert_eq!(line["groups"][2]["by"]["process"], "closed_meanwhile");
        assert_eq!(line["groups"][3]["by"]["process"], Value::Null);
        assert_eq!(line["groups"][0]["states"]["established"], 490);
        assert_eq!((&line["other"]["groups"], &line["other"]["total"]), (&json!(3), &json!(7)));
        let kinds: Vec<_> = lines[1..].iter().map(|line| &line["kind"]).collect();
        assert_eq!(kinds, ["group", "other", "unknown"]);
        assert_eq!(lines[1]["type"], "count_group");
        assert_eq!(lines[1]["by"], json!(["process"]));
        assert_eq!(lines[1]["key"], json!({ "pid": 7, "comm": "ev\u{1b}[2J\til" }));
        assert_eq!(lines[1]["states"], line["groups"][0]["states"]);
        assert_eq!((&lines[2]["key"], &lines[2]["total"]), (&Value::Null, &json!(7)));
        let causes = json!({ "none": 46_809, "closed_meanwhile": 1, "unknown": 2 });
        assert_eq!((&lines[3]["total"], &lines[3]["causes"]), (&json!(46_812), &causes));
    }

    #[test]
    fn groups_of_two_keys_have_both_values_in_one_key() {
        let text = shown(&mut Json, &pairs());
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("an object"));
        let lines: Vec<Value> = lines.collect();
        assert_eq!(lines[1]["by"], json!(["process", "remote"]));
        assert_eq!(lines[1]["key"], json!({ "pid": 7, "comm": "a", "remote": "10.0.0.1" }));
        assert_eq!(lines[2]["key"], json!({ "pid": 7, "comm": "b", "remote": null }));
        assert_eq!(lines[0]["by"], json!(["process", "remote"]));
        assert_eq!(lines[0]["groups"][0]["by"]["remote"], "10.0.0.1");
    }

    #[test]
    fn lines_are_short_for_any_number_of_groups() {
        for count in [1, 10, 100, 1000] {
            let rows = (0..count).map(|port| (vec![KeyValue::Port(port)], [u64::MAX / 20; 10]));
            let text = shown(&mut Json, &grouped(&[Key::LocalPort], rows.collect()));
            assert!(text.lines().all(|line| line.len() < 16 << 10), "{count}");
            assert_eq!(text.lines().count(), 2 + usize::from(count));
            assert_eq!(text.contains("\"groups\":["), count <= 10, "{count}");
            assert!(text.contains("\"key\":{\"local_port\":0}"), "{text}");
        }
    }
}
