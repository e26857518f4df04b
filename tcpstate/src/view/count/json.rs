//! Counts for programs: one JSON object on each line.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{
    super::{
        json::times,
        json_lines::{add_list, write_line},
    },
    CountView, by_state,
};
use crate::report::count::{Count, Group, Groups, Key, Name, States, total};

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
            "netns": count.netns.map(|inode| inode.to_string()),
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
                "by": [groups.by.label()],
            });
            if let Value::Object(line) = &mut line {
                line.extend(group);
            }
            write_line(&line, out)?;
        }
        Ok(())
    }
}

/// Returns the keys of a line for each group, largest first, then for the other groups if they have
/// sockets.
fn group_lines(groups: &Groups) -> impl Iterator<Item = Map<String, Value>> {
    let line = |kind: &str, key: Value, counts: &States| {
        Map::from_iter([
            ("kind".to_owned(), kind.into()),
            ("key".to_owned(), key),
            ("total".to_owned(), total(counts).into()),
            ("states".to_owned(), states(counts)),
        ])
    };
    let rows = groups.rows.iter().map(move |group| match &group.name {
        Key::None => line("none", Value::Null, &group.states),
        Key::Unknown => line("unknown", Value::Null, &group.states),
        Key::Process(_) => line("group", key(&group.name), &group.states),
        name => line("group", json!({ groups.by.label(): key(name) }), &group.states),
    });
    let other = &groups.other.states;
    let other = (total(other) > 0).then(|| line("other", Value::Null, other));
    rows.chain(other)
}

fn add_groups(line: &mut Value, groups: &Groups) -> io::Result<()> {
    let row = |group: &Group| {
        json!({
            "by": { groups.by.label(): key(&group.name) },
            "total": total(&group.states),
            "states": states(&group.states),
        })
    };
    line["by"] = json!(groups.by.label());
    let other = &groups.other;
    line["other"] = json!({
        "groups": other.groups,
        "ungrouped": other.beyond,
        "total": total(&other.states),
        "states": states(&other.states),
    });
    add_list(line, "groups", &groups.rows, row)?;
    Ok(())
}

fn states(counts: &States) -> Value {
    let states = by_state(counts).map(|(state, count)| (state.label().to_owned(), count.into()));
    Value::Object(states.collect::<Map<_, _>>())
}

/// The key of a group: a number, a text or an object. The key is `"none"` for sockets without a
/// process, and null for sockets of unknown processes.
fn key(name: &Name) -> Value {
    match name {
        Key::Port(port) => json!(port),
        Key::Address(address) => json!(address.to_string()),
        Key::Process(process) => json!({ "pid": process.pid, "comm": process.name }),
        Key::Uid(uid) => json!(uid),
        Key::Cgroup(cgroup) => json!({ "id": cgroup.id, "path": cgroup.path }),
        Key::State(state) => json!(state.label()),
        Key::None => json!("none"),
        Key::Unknown => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{grouped, plain, processes, shown},
        *,
    };
    use crate::report::count::By;

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
        assert_eq!(line["groups"][2]["by"]["process"], Value::Null);
        assert_eq!(line["groups"][0]["states"]["established"], 490);
        assert_eq!((&line["other"]["groups"], &line["other"]["total"]), (&json!(3), &json!(7)));
        let kinds: Vec<_> = lines[1..].iter().map(|line| &line["kind"]).collect();
        assert_eq!(kinds, ["group", "none", "unknown", "other"]);
        assert_eq!(lines[1]["type"], "count_group");
        assert_eq!(lines[1]["by"], json!(["process"]));
        assert_eq!(lines[1]["key"], json!({ "pid": 7, "comm": "ev\u{1b}[2J\til" }));
        assert_eq!(lines[1]["states"], line["groups"][0]["states"]);
        assert_eq!((&lines[4]["key"], &lines[4]["total"]), (&Value::Null, &json!(7)));
    }

    #[test]
    fn lines_are_short_for_any_number_of_groups() {
        for count in [1, 10, 100, 1000] {
            let rows = (0..count).map(|port| (Key::Port(port), [u64::MAX / 20; 10]));
            let text = shown(&mut Json, &grouped(By::LocalPort, rows.collect()));
            assert!(text.lines().all(|line| line.len() < 16 << 10), "{count}");
            assert_eq!(text.lines().count(), 2 + usize::from(count));
            assert_eq!(text.contains("\"groups\":["), count <= 10, "{count}");
            assert!(text.contains("\"key\":{\"local_port\":0}"), "{text}");
        }
    }
}
