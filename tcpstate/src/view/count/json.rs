//! Counts for programs: one JSON object on each line.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{super::json::times, CountView, by_state};
use crate::report::count::{Count, Groups, Key, Name, States, total};

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
        if let Some(groups) = &count.groups {
            add_groups(&mut line, groups);
        }
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }
}

fn add_groups(line: &mut Value, groups: &Groups) {
    let rows = groups.rows.iter().map(|group| {
        json!({
            "by": { groups.by.label(): key(&group.name) },
            "total": total(&group.states),
            "states": states(&group.states),
        })
    });
    line["by"] = json!(groups.by.label());
    line["groups"] = rows.collect();
    let other = &groups.other;
    line["other"] = json!({
        "groups": other.groups,
        "ungrouped": other.beyond,
        "total": total(&other.states),
        "states": states(&other.states),
    });
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
        super::tests::{plain, processes, shown},
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
    fn groups_are_in_the_line_of_the_count() {
        let text = shown(&mut Json, &processes());
        assert_eq!(text.lines().count(), 1);
        assert!(!text.trim_end().contains(|c: char| c.is_control()), "{text:?}");
        let line: Value = serde_json::from_str(&text).expect("an object");
        assert_eq!(line["by"], "process");
        assert_eq!(line["groups"][0]["by"]["process"]["pid"], 7);
        assert_eq!(line["groups"][0]["by"]["process"]["comm"], "ev\u{1b}[2J\til");
        assert_eq!(line["groups"][1]["by"]["process"], "none");
        assert_eq!(line["groups"][2]["by"]["process"], Value::Null);
        assert_eq!(line["groups"][0]["states"]["established"], 490);
        assert_eq!((&line["other"]["groups"], &line["other"]["total"]), (&json!(3), &json!(7)));
    }
}
