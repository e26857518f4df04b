//! Tests that owners that have gone give their numbers to new owners, and that no count is lost.

use tcpstate::{
    probe::{Options, OwnerOptions},
    report::{Key, OwnerKind, Owners},
};
use tcpstate_tests::{
    actor::{Actor, Costume},
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Family, Listener, connect_and_reset},
    wait,
};

use super::{assert_sums, owners};

/// The number of owners that have room.
const ROOM: u32 = 16;
/// The number of processes that connect, one after the other.
const PROCESSES: u64 = 50;

fn opened(owners: &Owners, kind: &OwnerKind) -> u64 {
    let group = owners.groups.iter().find(|group| group.kind == *kind);
    group.map_or(0, |group| group.total.opened)
}

#[test]
fn owners_that_have_gone_give_their_room_to_others() {
    let _namespace = Namespace::enter();
    let by = OwnerOptions { max_owners: ROOM, ..OwnerOptions::by(vec![Key::Process]) };
    let mut traced = Traced::with(&Options { owners: Some(by), ..options() });
    let listener = Listener::open(Family::V4);
    let to = listener.address().as_socket().expect("an address of the internet");
    for _ in 0..PROCESSES {
        // Without a time-wait socket, nothing refers to the process after its end.
        let mut client = Actor::start(Costume::named("client"), || connect_and_reset(to));
        client.cue();
        client.join();
        drop(listener.accept());
        traced.snapshot();
    }
    wait::grace_period();
    traced.assert_equal("recycled");
    let snapshot = traced.snapshot();
    if traced.uncounted() > 0 {
        println!("skipped: the kernel kept events from the programs");
        return;
    }
    assert_sums(&snapshot);
    let owners = owners(&snapshot);
    assert_eq!(opened(owners, &OwnerKind::Other), 0, "each process had room: {owners:#?}");
    assert!(opened(owners, &OwnerKind::Gone) >= PROCESSES - u64::from(ROOM), "{owners:#?}");
    assert_eq!(owners.without_room, 0, "{owners:#?}");
}

#[test]
fn owners_without_room_are_one_group() {
    let _namespace = Namespace::enter();
    let by = OwnerOptions { max_owners: 2, ..OwnerOptions::by(vec![Key::RemotePort]) };
    let mut traced = Traced::with(&Options { owners: Some(by), ..options() });
    let listeners: Vec<_> = (0..5).map(|_| Listener::open(Family::V6)).collect();
    let clients: Vec<_> = listeners.iter().map(Listener::connect).collect();
    wait::grace_period();
    traced.assert_equal("without room");
    let snapshot = traced.snapshot();
    if traced.uncounted() > 0 {
        println!("skipped: the kernel kept events from the programs");
        return;
    }
    assert_sums(&snapshot);
    let owners = owners(&snapshot);
    // The listeners, which have no peer, are the first owner. The first client is the second.
    assert_eq!(opened(owners, &OwnerKind::Other), 4, "{owners:#?}");
    assert!(owners.without_room >= 4, "{owners:#?}");
    drop(clients);
}
