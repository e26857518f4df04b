//! Tests counts by owner together with other features. Each combination needs more of the stack
//! and of the instructions that the kernel allows a program.

use tcpstate::{
    probe::{EventOptions, Netns, Options},
    report::{Key, key::Value},
};
use tcpstate_common::State;
use tcpstate_tests::{
    actor::Actor,
    netns::Namespace,
    traced::Traced,
    traffic::{Family, Listener},
    wait,
};

use super::{CONNECTIONS, ask, assert_sums, by, group, named, owners, serve, sockets};

#[test]
fn owners_are_counted_beside_events_and_in_all_namespaces() {
    let events = || Some(EventOptions::default());
    let combinations = [
        ("events", Options { events: events(), ..by(&[Key::Process]) }),
        ("events, two keys", Options { events: events(), ..by(&[Key::Process, Key::Remote]) }),
        ("namespaces", Options { netns: Netns::All, ..by(&[Key::Process, Key::Netns]) }),
    ];
    for (what, options) in combinations {
        let _namespace = Namespace::enter();
        let mut traced = Traced::with(&options);
        let listener = Listener::open(Family::V6);
        let mut server = Actor::start(named("server"), || serve(listener.socket()));
        let mut client = Actor::start(named("client"), || ask(listener.address()));
        let pid = client.pid();
        server.cue();
        client.cue();
        client.join();
        server.join();
        wait::grace_period();
        traced.assert_equal(what);
        let snapshot = traced.snapshot();
        if traced.uncounted() > 0 {
            println!("{what}: skipped: the kernel kept events from the programs");
            continue;
        }
        if options.netns == Netns::Own {
            assert_sums(&snapshot);
        }
        let is_client = |values: &[Value]| {
            values.iter().any(|it| matches!(it, Value::Process(process) if process.pid == pid))
        };
        let client = group(owners(&snapshot), is_client);
        assert_eq!(client.total.opened, CONNECTIONS, "{what}: {client:#?}");
        assert_eq!(client.total.closed_first, CONNECTIONS, "{what}: {client:#?}");
        assert_eq!(client.total.time_wait_entries, CONNECTIONS, "{what}: {client:#?}");
        assert_eq!(sockets(client, State::TimeWait), CONNECTIONS, "{what}: {client:#?}");
    }
}
