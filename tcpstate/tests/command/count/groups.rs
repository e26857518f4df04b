//! Tests `count --by`. The sum of the counts of all groups must be the total, and each socket must
//! be in the group of its owner.

use std::fs;

use serde_json::{Value, json};
use tcpstate::report::Key;
use tcpstate_tests::{
    command::{ALL_PROCESSES, as_nobody, with_mounts},
    netns::{Namespace, Place},
    traffic::{Family, InFlight, Listener, Load, Mixed, Style, leave_time_wait},
    truth::{Counts, ss},
};

use super::{Public, count, counts_of, json_groups, output, stdout};

#[test]
fn count_by_groups_adds_up_to_the_total_in_every_state() {
    let _namespace = Namespace::enter();
    let _mixed = Mixed::open(1000);
    let all = ss();
    let keys = Key::ALL.map(Key::name);
    for by in keys.into_iter().chain(["uid", "process,state", "comm,remote,local-port"]) {
        for top in ["1", "3", "65536"] {
            let text = output(&mut count(&["--by", by, "--top", top, "-o", "json"])).0;
            let (_, groups) = json_groups(&text);
            let parts = groups.iter();
            let sum = parts.clone().map(|part| counts_of(&part["states"]));
            assert_eq!(sum.fold(Counts::default(), |sum, part| sum + part), all, "{by} {top}");
            let totals = parts.map(|part| part["total"].as_u64().expect("a number"));
            assert_eq!(totals.sum::<u64>(), all.total(), "{by} {top}");
            // The groups `unknown` and `other` do not count towards the limit of groups.
            assert!(groups.len() <= top.parse::<usize>().expect("a number") + 2, "{by} {top}");
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
    let unknown = &lines[1];
    assert_eq!((&unknown["kind"], &unknown["key"]), (&"unknown".into(), &Value::Null));
    assert_eq!(unknown["causes"], serde_json::json!({ "none": 8 }), "{unknown}");

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
    assert_eq!(stdout(&mut count(&["--by", "user"])), "0\t7\nnone\t5\n");
    let cgroups = fs::read_to_string("/proc/self/cgroup").expect("processes are in cgroups");
    let is_version_1 = |line: &&str| !line.starts_with("0::") && !line.contains(":name=");
    if let Some(ours) = cgroups.lines().find(|line| line.contains(":memory:")) {
        // On a host with version 1, the cgroup of a socket is that of its process.
        let path = ours.rsplit_once(':').expect("the line has three fields").1;
        let groups = stdout(&mut count(&["--by", "cgroup"]));
        assert_eq!(groups, format!("{path}\t7\nnone\t5\n"));
        return;
    }
    let Some(ours) = cgroups.lines().find_map(|line| line.strip_prefix("0::")) else {
        println!("skipped: no cgroups of version 2");
        return;
    };
    assert_eq!(cgroups.lines().find(is_version_1), None, "a host with version 1 has memory");
    assert_eq!(stdout(&mut count(&["--by", "cgroup"])), format!("{ours}\t7\nnone\t5\n"));
}

#[test]
fn count_by_two_keys_has_a_group_for_each_pair_of_values() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let _ours = listener.pairs(5);
    let name = fs::read_to_string("/proc/self/comm").expect("the process has a name");
    let (name, pid) = (name.trim_end(), std::process::id());
    let rows = stdout(&mut count(&["--by", "process,state"]));
    assert_eq!(rows, format!("{name}[{pid}]\tESTABLISHED\t10\n{name}[{pid}]\tLISTEN\t1\n"));
    let (line, groups) = json_groups(&stdout(&mut count(&["--by", "comm,state", "-o", "json"])));
    assert_eq!(line["by"], json!(["comm", "state"]));
    assert_eq!(groups[0]["by"], json!(["comm", "state"]));
    assert_eq!(groups[0]["key"], json!({ "comm": name, "state": "established" }));
    assert_eq!((&groups[0]["total"], &groups[1]["total"]), (&10.into(), &1.into()));
    let table = stdout(&mut count(&["--by", "process,state", "-o", "table"]));
    assert!(table.starts_with("PROCESS ") && table.contains("  STATE "), "{table}");
}

#[test]
fn count_names_the_command_that_knows_who_makes_time_wait() {
    let _namespace = Namespace::enter();
    leave_time_wait(7, &[Family::V4]);
    let (rows, stderr) = output(&mut count(&["--state", "time-wait", "--by", "process"]));
    assert_eq!(rows, "none\t7\n");
    assert_eq!(
        stderr,
        "tcpstate: 7 sockets in TIME_WAIT have no process any more\n\
         help: to see which processes make them, run tcpstate trace --by process\n"
    );
    // Without --state, most users do not ask for TIME_WAIT.
    assert_eq!(stdout(&mut count(&["--by", "process"])), "none\t7\n");
}

#[test]
fn count_under_load_has_sockets_that_closed_meanwhile_and_no_wrong_help() {
    let _namespace = Namespace::enter();
    let load = Load::start(2, Style::Rst);
    let mut has_closed = false;
    while !has_closed {
        let (text, stderr) = output(&mut count(&["--by", "process", "-o", "json"]));
        let (_, groups) = json_groups(&text);
        let causes = groups.iter().map(|group| &group["causes"]);
        for causes in causes {
            assert!(causes["unknown"].is_null(), "{text}{stderr}");
            has_closed |= causes["closed_meanwhile"].is_u64();
        }
        assert_eq!(stderr, "");
    }
    assert!(load.stop() > 0);
}

#[test]
fn count_names_the_listener_of_sockets_in_no_file_table() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V6);
    let (_clients, servers): (Vec<_>, Vec<_>) =
        (0..5).map(|_| (listener.connect(), listener.accept())).unzip();
    let _in_flight = InFlight::send(servers);
    let (rows, stderr) = output(&mut count(&["--by", "process"]));
    assert!(rows.ends_with("unknown\t5\n"), "{rows}");
    let listens = format!("[{}] listens for 5 of them\n", std::process::id());
    assert!(stderr.contains(&listens), "{stderr}");
    assert!(stderr.contains("SCM_RIGHTS") && !stderr.contains("as root"), "{stderr}");
}

#[test]
fn count_enters_the_chosen_namespaces() {
    let here = Namespace::enter();
    let [one, two] = [Place::new(), Place::new()];
    let open = |place: &Place, pairs| {
        place.inside(|| {
            let listener = Listener::open(Family::V4);
            let pairs = listener.pairs(pairs);
            (listener, pairs)
        })
    };
    let _open = (open(&one, 2), open(&two, 3));
    let established = |netns: &str| {
        let arguments = ["--netns", netns, "--state", "established", "-o", "json"];
        let (line, _) = json_groups(&stdout(&mut count(&arguments)));
        (line["total"].clone(), line["netns"].clone())
    };
    let path = |place: &Place| format!("path:{}", place.path().display());
    assert_eq!(established(&path(&one)), (4.into(), one.inode().to_string().into()));
    assert_eq!(established(&path(&two)), (6.into(), two.inode().to_string().into()));
    assert_eq!(established("self"), (0.into(), here.inode().to_string().into()));
    let (all, netns) = established("all");
    assert!(all.as_u64() >= Some(10) && netns == "all", "{all} {netns}");
    let by = ["--netns", "all", "--state", "established", "--by", "netns", "--top", "65536"];
    let (_, groups) = json_groups(&output(&mut count(&[&by[..], &["-o", "json"]].concat())).0);
    for (place, sockets) in [(&one, 4), (&two, 6)] {
        let inode = place.inode().to_string();
        let group = groups.iter().find(|group| group["key"]["netns"] == *inode);
        assert_eq!(group.map(|group| group["total"].clone()), Some(sockets.into()), "{groups:?}");
    }
    let nobody = Public::new("netns");
    let refused = nobody.count(&["--netns", "all"]).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr.contains("cannot count all network namespaces: this process lacks"), "{stderr}");
}
