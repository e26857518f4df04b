//! Tests `count --by`. The sum of the counts of all groups must be the total, and each socket must
//! be in the group of its owner.

use std::fs;

use serde_json::Value;
use tcpstate_tests::{
    command::{ALL_PROCESSES, as_nobody, with_mounts},
    netns::Namespace,
    traffic::{Family, Listener, Mixed, leave_time_wait},
    truth::{Counts, ss},
};

use super::{Public, count, counts_of, json_groups, output, stdout};

#[test]
fn count_by_groups_adds_up_to_the_total_in_every_state() {
    let _namespace = Namespace::enter();
    let _mixed = Mixed::open(1000);
    let all = ss();
    for by in ["local-port", "remote", "remote-port", "process", "uid", "cgroup", "state"] {
        for top in ["1", "3", "65536"] {
            let text = output(&mut count(&["--by", by, "--top", top, "-o", "json"])).0;
            let (_, groups) = json_groups(&text);
            let parts = groups.iter();
            let sum = parts.clone().map(|part| counts_of(&part["states"]));
            assert_eq!(sum.fold(Counts::default(), |sum, part| sum + part), all, "{by} {top}");
            let totals = parts.map(|part| part["total"].as_u64().expect("a number"));
            assert_eq!(totals.sum::<u64>(), all.total(), "{by} {top}");
            // The groups `none`, unknown and `other` do not count towards the limit of groups.
            assert!(groups.len() <= top.parse::<usize>().expect("a number") + 3, "{by} {top}");
            let (rows, _) = output(&mut count(&["--by", by, "--top", top]));
            let rows = rows.lines().map(|row| row.rsplit_once('\t').expect("two columns").1);
            let rows = rows.map(|number| number.parse::<u64>().expect("a number"));
            assert_eq!(rows.sum::<u64>(), all.total(), "{by} {top}");
        }
    }
}

#[test]
fn count_by_process_knows_the_owner_of_each_socket() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let _ours = listener.pairs(5);
    leave_time_wait(7, &[Family::V6]);
    // No process has accepted this connection yet, so no process owns its server socket.
    let _waiting = listener.connect();
    let (line, lines) = json_groups(&stdout(&mut count(&["--by", "process", "-o", "json"])));
    let of = |key: &Value| {
        let groups = line["groups"].as_array().expect("there are groups");
        let group = groups.iter().find(|group| group["by"]["process"] == *key);
        group.map(|group| group["total"].clone())
    };
    let name = fs::read_to_string("/proc/self/comm").expect("the process has a name");
    let us = serde_json::json!({ "pid": std::process::id(), "comm": name.trim_end() });
    assert_eq!(of(&us), Some(12.into()), "{line}");
    assert_eq!((&lines[0]["kind"], &lines[0]["key"]), (&"group".into(), &us), "{lines:?}");
    assert_eq!(of(&"none".into()), Some(8.into()), "{line}");
    assert_eq!(of(&Value::Null), None, "{line}");

    // A user without capabilities cannot see the owners of sockets. stderr must name the reason.
    let program = Public::new("process");
    let mut nobodys = as_nobody(&[], &program.0.display().to_string());
    nobodys.args(["count", "--by", "process"]);
    let (rows, stderr) = output(&mut with_mounts(ALL_PROCESSES, &nobodys));
    assert_eq!(rows, "none\t8\nunknown\t12\n");
    let why = "tcpstate: 12 sockets have an unknown process: this user may not read";
    assert!(stderr.starts_with(why) && stderr.contains("\nhelp: run tcpstate as root"), "{stderr}");
}

#[test]
fn count_by_user_and_cgroup_separates_kernel_sockets_from_roots() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V6);
    let _ours = listener.pairs(3);
    leave_time_wait(5, &[Family::V4]);
    assert_eq!(stdout(&mut count(&["--by", "uid"])), "0\t7\nnone\t5\n");
    let cgroups = fs::read_to_string("/proc/self/cgroup").expect("processes are in cgroups");
    let Some(ours) = cgroups.lines().find_map(|line| line.strip_prefix("0::")) else {
        println!("skipped: no cgroups of version 2");
        return;
    };
    assert_eq!(stdout(&mut count(&["--by", "cgroup"])), format!("{ours}\t7\nnone\t5\n"));
}
