//! Tests the owners of sockets that existed before the tracer started.

use tcpstate::report::{Key, OwnerKind, key::Value};
use tcpstate_common::State;
use tcpstate_tests::{
    netns::Namespace,
    traced::Traced,
    traffic::{Family, Listener, leave_time_wait},
    wait,
};

use super::{assert_sums, by, group, is_process, owners, sockets};

/// The number of connections that exist before the start.
const CONNECTIONS: u64 = 12;

#[test]
fn owners_of_earlier_sockets_are_their_holders() {
    for family in Family::BOTH {
        let _namespace = Namespace::enter();
        let listener = Listener::open(family);
        let connect = || (listener.connect(), listener.accept());
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
        leave_time_wait(5, &[family]);
        let mut traced = Traced::with(&by(&[Key::Process]));
        let ours = is_process(std::process::id());
        let snapshot = traced.snapshot();
        assert_sums(&snapshot);
        let group_of = |snapshot: &_| group(owners(snapshot), &ours).clone();
        let before = group_of(&snapshot);
        assert_eq!(sockets(&before, State::Established), 2 * CONNECTIONS, "{snapshot:#?}");
        assert_eq!(sockets(&before, State::Listen), 1, "{snapshot:#?}");
        assert_eq!(sockets(&before, State::TimeWait), 0, "their owner is unknown");
        for (client, server) in connections {
            drop(client);
            drop(server);
        }
        wait::grace_period();
        traced.assert_equal("closed");
        let snapshot = traced.snapshot();
        if traced.uncounted() > 0 {
            println!("{family}: skipped: the kernel kept events from the programs");
            continue;
        }
        assert_sums(&snapshot);
        let after = group_of(&snapshot);
        assert_eq!(sockets(&after, State::Established), 0, "{snapshot:#?}");
        assert_eq!(sockets(&after, State::TimeWait), CONNECTIONS, "{snapshot:#?}");
        assert_eq!(after.total.closed_first, CONNECTIONS, "{snapshot:#?}");
        assert_eq!(after.total.time_wait_entries, CONNECTIONS, "{snapshot:#?}");
    }
}

#[test]
fn owners_of_earlier_sockets_are_their_ports() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let connections: Vec<_> = (0..3).map(|_| (listener.connect(), listener.accept())).collect();
    let mut traced = Traced::with(&by(&[Key::LocalPort]));
    let port = listener.port();
    let snapshot = traced.snapshot();
    assert_sums(&snapshot);
    let served = group(owners(&snapshot), |values| values == [Value::Port(port)]);
    assert_eq!(sockets(served, State::Established), 3, "{snapshot:#?}");
    let clients = group(owners(&snapshot), |values| values == [Value::Client]);
    assert_eq!(sockets(clients, State::Established), 3, "{snapshot:#?}");
    let groups = owners(&snapshot).groups.iter();
    let named = groups.filter(|group| matches!(group.kind, OwnerKind::Group(_)));
    assert_eq!(named.count(), 2, "ports that connect() chose have no row: {snapshot:#?}");
    drop(connections);
}

#[test]
fn owners_of_earlier_destinations_have_a_likely_process() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V6);
    let connections: Vec<_> = (0..3).map(|_| (listener.connect(), listener.accept())).collect();
    let mut traced = Traced::with(&by(&[Key::Remote, Key::RemotePort]));
    let snapshot = traced.snapshot();
    assert_sums(&snapshot);
    let port = Value::Port(listener.port());
    let destination = group(owners(&snapshot), |values| values[1] == port);
    assert_eq!(sockets(destination, State::Established), 3, "{snapshot:#?}");
    let likely = destination.likely_owner.as_ref().map(|process| process.pid);
    assert_eq!(likely, Some(std::process::id()), "{snapshot:#?}");
    drop(connections);
}
