//! Tests the counters by owner: each group has the sockets of its owner, and all groups together
//! have all sockets.

mod churn;
pub(crate) mod closers;
mod combined;
mod earlier;
mod half_open;
mod recycled;

use tcpstate::{
    probe::{Options, OwnerOptions},
    report::{Column, Key, OwnerGroup, OwnerKind, Owners, Snapshot, key::Value},
};
use tcpstate_common::State;
use tcpstate_tests::{
    actor::{Actor, Costume},
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Family, Listener, answer, ask},
    wait,
};

/// The number of connections of one test.
const CONNECTIONS: u64 = 20;

fn by(keys: &[Key]) -> Options {
    Options { owners: Some(OwnerOptions::by(keys.to_vec())), ..options() }
}

fn owners(snapshot: &Snapshot) -> &Owners {
    snapshot.owners.as_ref().expect("sockets are counted by owner")
}

/// Returns the only group that matches.
fn group(owners: &Owners, is_wanted: impl Fn(&[Value]) -> bool) -> &OwnerGroup {
    let is_wanted =
        |group: &&OwnerGroup| matches!(&group.kind, OwnerKind::Group(values) if is_wanted(values));
    let mut groups = owners.groups.iter().filter(is_wanted);
    let group = groups.next().unwrap_or_else(|| panic!("no such group: {owners:#?}"));
    assert!(groups.next().is_none(), "two such groups: {owners:#?}");
    group
}

fn is_process(pid: u32) -> impl Fn(&[Value]) -> bool {
    move |values| matches!(&values[0], Value::Process(process) if process.pid == pid)
}

fn sockets(group: &OwnerGroup, state: State) -> u64 {
    let slot = State::GAUGES.iter().position(|&gauge| gauge == state).expect("a gauge");
    group.states.expect("a group has sockets")[slot]
}

/// Asserts that all groups together have the counts and the sockets of the whole run.
fn assert_sums(snapshot: &Snapshot) {
    assert_eq!(differences(snapshot), [""; 0], "{:#?}", owners(snapshot));
}

/// Returns the columns and the states whose sum over all groups is not that of the whole run.
fn differences(snapshot: &Snapshot) -> Vec<String> {
    differences_over(snapshot, 0)
}

/// Returns the columns and the states whose sum over all groups differs by more than `limit` from
/// that of the whole run.
fn differences_over(snapshot: &Snapshot, limit: u64) -> Vec<String> {
    let owners = owners(snapshot);
    let totals = snapshot.totals();
    let columns = Column::ALL.into_iter().map(|column| {
        let sum = owners.groups.iter().map(|group| group.total.get(column)).sum();
        (format!("{column:?}"), sum, totals.get(column))
    });
    let gauges = State::GAUGES.iter().zip(&snapshot.states).enumerate();
    let states = gauges.map(|(slot, (state, gauge))| {
        let states = owners.groups.iter().filter_map(|group| group.states);
        let sum: u64 = states.map(|states| states[slot]).sum();
        (format!("{state:?}"), sum, gauge.current.and_then(|now| u64::try_from(now).ok()))
    });
    let is_over = |sum: u64, total: Option<u64>| total.is_none_or(|n| n.abs_diff(sum) > limit);
    let all = columns.chain(states).filter(|&(_, sum, total)| is_over(sum, total));
    all.map(|(name, sum, total)| format!("{name}: {sum}, not {total:?}")).collect()
}

#[test]
fn owners_have_the_sockets_of_their_processes() {
    let _namespace = Namespace::enter();
    for family in Family::BOTH {
        let mut traced = Traced::with(&by(&[Key::Process]));
        let listener = Listener::open(family);
        let mut server =
            Actor::start(Costume::named("server"), || answer(listener.socket(), CONNECTIONS));
        let mut client =
            Actor::start(Costume::named("client"), || ask(listener.address(), CONNECTIONS));
        let pids = (server.pid(), client.pid());
        server.cue();
        client.cue();
        client.join();
        server.join();
        wait::grace_period();
        traced.assert_equal("by process");
        let snapshot = traced.snapshot();
        if traced.uncounted() > 0 {
            println!("{family}: skipped: the kernel kept events from the programs");
            continue;
        }
        assert_sums(&snapshot);
        let owners = owners(&snapshot);
        let client = group(owners, is_process(pids.1));
        assert_eq!(client.total.opened, CONNECTIONS, "{owners:#?}");
        assert_eq!(client.total.connected, CONNECTIONS, "{owners:#?}");
        assert_eq!(client.total.closed_first, CONNECTIONS, "{owners:#?}");
        assert_eq!(client.total.time_wait_entries, CONNECTIONS, "{owners:#?}");
        assert_eq!(sockets(client, State::TimeWait), CONNECTIONS, "{owners:#?}");
        let server = group(owners, is_process(pids.0));
        assert_eq!(server.total.accepted, CONNECTIONS, "{owners:#?}");
        assert_eq!(server.total.closed_second, CONNECTIONS, "{owners:#?}");
        assert_eq!(server.total.time_wait_entries, 0, "{owners:#?}");
    }
}
