//! Tests one histogram per group: the groups, and the common histogram of all groups beyond the
//! limit.

use std::{collections::BTreeSet, time::Instant};

use tcpstate::{
    filter::{End, EventFilter, Ports},
    probe::{HistogramOptions, Options},
    report::{Acceptors, Group, Of, Provider, SocketKind},
};
use tcpstate_common::{
    State::{Close, FinWait2},
    histogram::By,
};
use tcpstate_tests::{
    actor::Actor,
    netns::{Namespace, Sysctl},
    traced::{Traced, options},
    traffic::{Family, Listener, reset, shutdown},
    truth, wait,
};

use crate::event_closers::{named, pass, perform};

use super::{assert_totals, held::await_state, summary, timed_by};

#[test]
fn hist_by_each_grouping_names_its_groups() {
    let _namespace = Namespace::enter();
    let comm = std::fs::read_to_string("/proc/self/comm").expect("procfs is mounted");
    let inode = std::os::unix::fs::MetadataExt::ino(
        &std::fs::metadata("/proc/thread-self/ns/net").expect("procfs is mounted"),
    );
    for family in Family::BOTH {
        let address = family.loopback(0).ip();
        for by in By::ALL {
            let mut traced =
                timed_by(HistogramOptions { by: Some(by), ..HistogramOptions::default() });
            let listener = Listener::open(family);
            let port = listener.port();
            let (client, server) = (listener.connect(), listener.accept());
            reset(client);
            await_state(&server, Close, Instant::now());
            drop((server, listener));
            let (snapshot, histograms) = summary(&mut traced);
            assert_totals(&snapshot, &histograms);
            if snapshot.missed.events() + histograms.untimed.missed + traced.uncounted() > 0 {
                println!("{family} {by:?}: skipped: events were kept from the programs");
                continue;
            }
            let mut lifetimes: Vec<Group> =
                histograms.of(Of::Lifetime).filter_map(|row| row.group.clone()).collect();
            lifetimes.sort();
            let mut expected = match by {
                By::LocalPort | By::RemotePort => {
                    vec![Group::Port(port), Group::Client]
                }
                By::Remote => vec![Group::Address(address)],
                By::Netns => vec![Group::Netns(inode)],
                By::Comm => {
                    // No process uses the accepted connection, so only accept() shows its process.
                    let is_known = traced.tracer.probe().acceptors() == Some(Acceptors::Accept);
                    let accepted = (!is_known).then_some(Group::None);
                    let own = Group::Comm(comm.trim_end().into());
                    [own].into_iter().chain(accepted).collect()
                }
                By::Cgroup => Vec::new(),
            };
            if by == By::Cgroup {
                // The cgroup of the test depends on the machine.
                assert!(
                    matches!(lifetimes[..], [Group::Cgroup(..) | Group::None]),
                    "{lifetimes:?}"
                );
                continue;
            }
            expected.sort();
            assert_eq!(lifetimes, expected, "{family} {by:?}");
        }
    }
}

/// The test process accepts a connection, and the client passes its end to another process, which
/// closes it. The durations of the full sockets belong to the processes that opened or accepted the
/// connection, and those of the time-wait socket to the process that closed the connection.
#[test]
fn hist_by_comm_knows_acceptors_and_closers() {
    let comm = std::fs::read_to_string("/proc/self/comm").expect("procfs is mounted");
    let by_timers = Options { time_wait: Some(Provider::Timer), ..options() };
    for (family, options) in Family::BOTH.into_iter().zip([options(), by_timers]) {
        let _namespace = Namespace::enter();
        let _soon = Sysctl::held("net.ipv4.tcp_fin_timeout", "1");
        let by = HistogramOptions { by: Some(By::Comm), ..HistogramOptions::default() };
        let mut traced = Traced::with(&Options { histograms: Some(by), ..options });
        let listener = Listener::open(family);
        let client = Actor::start(named("client", None), || pass(&listener, None));
        perform(&listener, client);
        let (snapshot, histograms) = summary(&mut traced);
        if snapshot.missed.events() + histograms.untimed.missed + traced.uncounted() > 0 {
            println!("{family}: skipped: events were kept from the programs");
            continue;
        }
        let groups = |of| -> BTreeSet<String> {
            let groups = histograms.of(of).filter(|row| row.tally.count() > 0);
            groups.map(|row| format!("{:?}", row.group)).collect()
        };
        let set = |names: &[&str]| -> BTreeSet<String> {
            let group = |&name: &&str| format!("{:?}", Some(Group::Comm(name.into())));
            names.iter().map(group).collect()
        };
        assert_eq!(groups(Of::Lifetime), set(&["client", comm.trim_end()]), "{family}");
        assert_eq!(groups(Of::TimeWaitHold), set(&["heir"]), "{family}");
        assert_eq!(groups(Of::State(FinWait2, SocketKind::Mini)), set(&["heir"]), "{family}");
    }
}

#[test]
fn hist_with_more_groups_than_room_sums_them_as_other() {
    let _namespace = Namespace::enter();
    let few =
        HistogramOptions { by: Some(By::LocalPort), max_groups: 3, ..HistogramOptions::default() };
    let mut traced = timed_by(few);
    for _ in 0..11 {
        let listener = Listener::open(Family::V6);
        let (client, server) = (listener.connect(), listener.accept());
        reset(client);
        await_state(&server, Close, Instant::now());
    }
    let (snapshot, histograms) = summary(&mut traced);
    assert_totals(&snapshot, &histograms);
    let mut groups: Vec<&Group> =
        histograms.all.iter().filter_map(|histogram| histogram.group.as_ref()).collect();
    groups.sort();
    groups.dedup();
    assert_eq!(groups.len(), 5, "{groups:?}");
    assert!(groups.contains(&&Group::Other) && groups.contains(&&Group::Client), "{groups:?}");
}

#[test]
fn hist_by_port_has_no_group_for_ports_that_connect_chose() {
    const CLIENTS: usize = 30;
    let _namespace = Namespace::enter();
    for family in Family::BOTH {
        for by in [By::LocalPort, By::RemotePort] {
            let earlier = Listener::open(family);
            let few =
                HistogramOptions { by: Some(by), max_groups: 2, ..HistogramOptions::default() };
            let mut traced = timed_by(few);
            let connect = |listener: &Listener| {
                let (client, server) = (listener.connect(), listener.accept());
                reset(client);
                await_state(&server, Close, Instant::now());
            };
            for _ in 0..CLIENTS {
                connect(&earlier);
            }
            // A time-wait socket has the group of its connection.
            let (client, server) = (earlier.connect(), earlier.accept());
            shutdown([&client, &server]);
            drop((client, server));
            let later = Listener::open(family);
            connect(&later);
            let (_, histograms) = summary(&mut traced);
            let mut groups: Vec<&Group> =
                histograms.all.iter().filter_map(|histogram| histogram.group.as_ref()).collect();
            groups.sort();
            groups.dedup();
            let ports = [earlier.port(), later.port()].map(Group::Port);
            let mut expected: Vec<&Group> = ports.iter().chain([&Group::Client]).collect();
            expected.sort();
            assert_eq!(groups, expected, "{family} {by:?}");
        }
    }
}

#[test]
fn hist_filter_makes_groups_of_matching_sockets_only() {
    let _namespace = Namespace::enter();
    let matching = Listener::open(Family::V4);
    let ports: Ports = matching.port().to_string().parse().expect("a port");
    let one =
        HistogramOptions { by: Some(By::LocalPort), max_groups: 1, ..HistogramOptions::default() };
    let event_filter = EventFilter { ports: vec![(End::Local, ports)], ..EventFilter::default() };
    let mut traced = Traced::with(&Options { histograms: Some(one), event_filter, ..options() });
    // The following sockets do not have the wanted port: two full sockets, and a client's mini
    // socket.
    let _soon = Sysctl::held("net.ipv4.tcp_fin_timeout", "1");
    let listener = Listener::open(Family::V4);
    let (client, server) = (listener.connect(), listener.accept());
    shutdown([&client]);
    wait::until("its FIN to be acknowledged", || truth::sockets().full[FinWait2] == 1);
    drop(client);
    wait::until("the orphan to expire", || truth::sockets().minis.total() == 0);
    drop((server, listener));
    let (client, server) = (matching.connect(), matching.accept());
    reset(client);
    await_state(&server, Close, Instant::now());
    let (_, histograms) = summary(&mut traced);
    let groups: BTreeSet<&Group> =
        histograms.all.iter().filter_map(|histogram| histogram.group.as_ref()).collect();
    assert_eq!(groups, BTreeSet::from([&Group::Port(matching.port())]));
}
