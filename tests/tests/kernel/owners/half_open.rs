//! Tests the owners of half-open connections: the owners of their listeners.

use tcpstate::report::{Key, OwnerKind, Owners, key::Value};
use tcpstate_common::State;
use tcpstate_tests::{
    netns::Namespace,
    traced::Traced,
    traffic::{Family, Listener, deaf_clients, hear, reset},
    wait,
};

use super::{assert_sums, by, group, is_process, owners, sockets};

/// Returns the number of half-open connections of all groups with names, and of unknown owners.
fn named_and_unknown(owners: &Owners) -> [u64; 2] {
    let sum = |is_wanted: fn(&OwnerKind) -> bool| {
        let groups = owners.groups.iter().filter(|group| is_wanted(&group.kind));
        groups.map(|group| sockets(group, State::SynRecv)).sum()
    };
    [
        sum(|kind| matches!(kind, OwnerKind::Group(_))),
        sum(|kind| matches!(kind, OwnerKind::Unknown)),
    ]
}

#[test]
fn owners_of_half_open_connections_are_those_of_their_listeners() {
    for family in Family::BOTH {
        for key in [Key::Process, Key::LocalPort, Key::Remote] {
            let _namespace = Namespace::enter();
            let earlier = Listener::open(family);
            let mut traced = Traced::with(&by(&[key]));
            let later = Listener::open(family);
            let mut clients = deaf_clients(&earlier, family, 3);
            clients.extend(deaf_clients(&later, family, 5));
            traced.assert_equal("half-open");
            let snapshot = traced.snapshot();
            if traced.uncounted() > 0 {
                println!("{family}, {key:?}: skipped: the kernel kept events from the programs");
                continue;
            }
            assert_sums(&snapshot);
            let counted = owners(&snapshot);
            let of_port =
                |port| sockets(group(counted, |it| it == [Value::Port(port)]), State::SynRecv);
            match key {
                Key::Process => {
                    let ours = group(counted, is_process(std::process::id()));
                    assert_eq!(sockets(ours, State::SynRecv), 8, "{counted:#?}");
                }
                Key::LocalPort => {
                    let ports = [earlier.port(), later.port()].map(of_port);
                    assert_eq!(ports, [3, 5], "{counted:#?}");
                }
                _ => assert_eq!(named_and_unknown(counted), [0, 8], "{counted:#?}"),
            }
            // Four clients connect, and the others are refused.
            hear(&clients[..4]);
            let refused = clients.split_off(4);
            refused.into_iter().for_each(reset);
            wait::until("the requests to end", || {
                traced.snapshot().gauge(State::SynRecv).and_then(|it| it.current) == Some(0)
            });
            traced.assert_equal("connected or refused");
            let snapshot = traced.snapshot();
            assert_sums(&snapshot);
            assert_eq!(named_and_unknown(owners(&snapshot)), [0, 0], "{snapshot:#?}");
            clients.into_iter().for_each(reset);
        }
    }
}
