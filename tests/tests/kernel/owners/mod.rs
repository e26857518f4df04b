//! Tests the counters by owner: each group has the sockets of its owner, and all groups together
//! have all sockets.

pub(crate) mod closers;
mod combined;
mod earlier;
mod half_open;
mod recycled;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use socket2::{SockAddr, Socket};
use tcpstate::{
    probe::{Options, OwnerOptions},
    report::{Column, Key, OwnerGroup, OwnerKind, Owners, Snapshot, key::Value},
};
use tcpstate_common::State;
use tcpstate_tests::{
    actor::{Actor, Costume},
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Family, Listener},
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
    let owners = owners(snapshot);
    let totals = snapshot.totals();
    let mut differences = Vec::new();
    for column in Column::ALL {
        let sum: u64 = owners.groups.iter().map(|group| group.total.get(column)).sum();
        if Some(sum) != totals.get(column) {
            differences.push(format!("{column:?}: {sum}, not {:?}", totals.get(column)));
        }
    }
    for (slot, (state, gauge)) in State::GAUGES.iter().zip(&snapshot.states).enumerate() {
        let states = owners.groups.iter().filter_map(|group| group.states);
        let sum: u64 = states.map(|states| states[slot]).sum();
        if i64::try_from(sum).ok() != gauge.current {
            differences.push(format!("{state:?}: {sum}, not {:?}", gauge.current));
        }
    }
    differences
}

/// Accepts connections, and closes each when the peer has closed.
fn serve(listener: &Socket) {
    for _ in 0..CONNECTIONS {
        let mut server = TcpStream::from(listener.accept().expect("a connection comes").0);
        let mut byte = [0];
        server.read_exact(&mut byte).expect("the client sends");
        server.write_all(&byte).expect("the client stands");
        assert_eq!(server.read(&mut byte).expect("the client closes"), 0);
    }
}

/// Connects and closes first.
fn ask(to: &SockAddr) {
    let to = to.as_socket().expect("an address of the internet");
    for _ in 0..CONNECTIONS {
        let mut client = TcpStream::connect(to).expect("the server listens");
        client.write_all(&[1]).expect("the server stands");
        client.read_exact(&mut [0]).expect("the server answers");
    }
}

#[test]
fn owners_have_the_sockets_of_their_processes() {
    let _namespace = Namespace::enter();
    for family in Family::BOTH {
        let mut traced = Traced::with(&by(&[Key::Process]));
        let listener = Listener::open(family);
        let mut server = Actor::start(named("server"), || serve(listener.socket()));
        let mut client = Actor::start(named("client"), || ask(listener.address()));
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

fn named(name: &'static str) -> Costume<'static> {
    Costume { name, uid: 0, cgroup: None }
}
