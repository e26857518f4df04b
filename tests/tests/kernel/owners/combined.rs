//! Tests counts by owner together with other features. The kernel limits the stack and the number
//! of instructions of a program, and a combination needs more than one feature alone.

use tcpstate::{
    probe::{EventOptions, Netns, Options},
    report::{Key, key::Value},
};
use tcpstate_common::State;
use tcpstate_tests::{
    actor::{Actor, Costume},
    netns::Namespace,
    traced::Traced,
    traffic::{Family, Listener, answer, ask},
    wait,
};

use super::{CONNECTIONS, assert_sums, by, group, owners, sockets};

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
        let mut server =
            Actor::start(Costume::named("server"), || answer(listener.socket(), CONNECTIONS));
        let mut client =
            Actor::start(Costume::named("client"), || ask(listener.address(), CONNECTIONS));
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
