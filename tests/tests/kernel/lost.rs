//! Tests that each silent loss of events is found in time. The BPF programs lose events on purpose,
//! or the kernel changes sockets without an event. No count of missed events includes the losses.
//!
//! Each test makes traffic with losses and waits until no socket changes its state. In every scope,
//! each snapshot must then be right or say that it may be wrong. A tracer that scans must be exact
//! and right again within [`TIME`].

use std::time::Duration;

use socket2::Socket;
use tcpstate::{
    probe::{Lost, Options, Pattern, SeededLosses, Testing},
    report::Provider,
};
use tcpstate_common::State;
use tcpstate_tests::{
    netns::{Namespace, Sysctl},
    traced::{options, testing},
    traffic::{
        Family, Listener, begin_connect, connecting, deafen, leave_time_wait, reset, set_option,
        shutdown, socket,
    },
    truth, wait,
    watch::{Scope, Watch},
};

/// The maximum time from the last change of a socket to an exact and right snapshot.
const TIME: Duration = Duration::from_secs(5);
/// A snapshot may be exact and wrong for at most this time after the last change of a socket, if
/// there are few sockets.
const FEW: Duration = Duration::ZERO;
/// The time of [`FEW`] if there are more than 3,000 sockets.
const MANY: Duration = Duration::from_secs(1);

fn lose(events: Lost, pattern: Pattern) -> Options {
    lose_if(events, pattern, false)
}

fn lose_if(events: Lost, pattern: Pattern, spares_timers: bool) -> Options {
    let losses = Some(SeededLosses { events, pattern, spares_timers });
    Options { testing: Testing { losses, ..testing() }, ..options() }
}

/// Lets the tracers of every scope rest, and asserts that the loss is found in time.
fn assert_found(watch: &Watch) {
    watch.rest(Some(TIME)).assert_honest(FEW, |_| true);
}

/// Opens half-open connections of each family, and waits until the kernel has removed them after
/// about a second.
pub(crate) fn flood(connections: usize) {
    // The listener sends no SYN-ACK again, so a request socket expires after 1 s.
    let _once = Sysctl::held("net.ipv4.tcp_synack_retries", "0");
    let listeners = Family::BOTH.map(Listener::open);
    for (listener, family) in listeners.iter().zip(Family::BOTH) {
        // Each client closes before it sends its SYN again.
        (0..connections).for_each(|_| drop(deaf_client(family, listener)));
    }
    wait::until("the requests to expire", || truth::sockets().requests == 0);
    drop(listeners);
    truth::await_end_of_sockets();
}

/// Returns a client that does not receive the listener's SYN-ACK.
fn deaf_client(family: Family, listener: &Listener) -> Socket {
    let client = socket(family);
    deafen([&client]);
    begin_connect(&client, listener.address());
    client
}

#[test]
fn lost_ends_of_requests_are_found() {
    let _namespace = Namespace::enter();
    let watch = Watch::start(&lose(Lost::RequestEnds, Pattern::EveryNth(3)));
    flood(97);
    assert_found(&watch);
}

#[test]
fn lost_ends_of_all_requests_are_found() {
    let _namespace = Namespace::enter();
    let watch = Watch::start(&lose(Lost::RequestEnds, Pattern::Switched));
    watch.set_losing(true);
    flood(97);
    watch.set_losing(false);
    assert_found(&watch);
}

#[test]
fn lost_ends_of_time_wait_in_bursts_are_found() {
    let _namespace = Namespace::enter();
    let watch = Watch::start(&lose(Lost::TimeWaitEnds, Pattern::Bursts(1000)));
    let _servers = expired_orphans(1501);
    watch.rest(Some(TIME)).assert_honest(MANY, |_| true);
}

/// Later sockets use the memory of the sockets whose ends were lost.
#[test]
fn lost_ends_of_orphans_do_not_disturb_later_sockets() {
    let _namespace = Namespace::enter();
    let watch = Watch::start(&lose(Lost::TimeWaitEnds, Pattern::EveryNth(2)));
    let _servers = expired_orphans(151);
    assert_found(&watch);
    leave_time_wait(602, &Family::BOTH);
    wait::until("the last servers to close", || truth::sockets().full.total() == 302);
    watch.rest(Some(TIME)).assert_honest(FEW, |_| false);
}

/// Closes the clients of this number of connections of each family. The clients become mini sockets
/// in FIN_WAIT2, which end after a second. The function returns the servers, in CLOSE_WAIT.
pub(crate) fn expired_orphans(connections: usize) -> Vec<Socket> {
    let _short = Sysctl::held("net.ipv4.tcp_fin_timeout", "1");
    let close = |family| {
        let (clients, servers) = Listener::open(family).pairs(connections);
        shutdown(&clients);
        // A client whose FIN is acknowledged during close() would stay a full socket.
        wait::until("FINs to be acknowledged", || truth::sockets().full[State::FinWait1] == 0);
        drop(clients);
        servers
    };
    let servers = Family::BOTH.into_iter().flat_map(close).collect();
    wait::until("the mini sockets to end", || truth::sockets().minis.total() == 0);
    servers
}

#[test]
fn lost_ends_of_killed_time_wait_are_found() {
    let _namespace = Namespace::enter();
    let watch = Watch::start(&lose(Lost::TimeWaitEnds, Pattern::EveryNth(2)));
    leave_time_wait(202, &Family::BOTH);
    truth::await_end_of_sockets();
    truth::ss_kill(&["state", "time-wait"]);
    if truth::sockets().minis.total() > 0 {
        println!("skipped: this kernel does not end mini sockets for `ss -K`");
        return;
    }
    assert_found(&watch);
}

#[test]
fn lost_moves_between_lasting_states_are_found() {
    let _namespace = Namespace::enter();
    let (from, to) = (Some(State::Established), Some(State::CloseWait));
    let watch = Watch::start(&lose(Lost::Transitions { from, to }, Pattern::EveryNth(3)));
    let held = Family::BOTH.map(half_closed);
    assert_found(&watch);
    drop(held);
}

/// Makes connections whose clients are in FIN_WAIT2 and whose servers are in CLOSE_WAIT.
fn half_closed(family: Family) -> (Listener, Vec<Socket>, Vec<Socket>) {
    const CONNECTIONS: usize = 31;
    let listener = Listener::open(family);
    let before = truth::sockets_of(family).full[State::CloseWait];
    let (clients, servers) = listener.pairs(CONNECTIONS);
    shutdown(&clients);
    let expected = before + CONNECTIONS as u64;
    let moved = || {
        let full = truth::sockets_of(family).full;
        [full[State::CloseWait], full[State::FinWait1]]
    };
    wait::until_equal("servers in CLOSE_WAIT", &[expected, 0], moved);
    (listener, clients, servers)
}

#[test]
fn lost_transitions_of_a_moment_are_found() {
    let _namespace = Namespace::enter();
    let all = Lost::Transitions { from: None, to: None };
    let watch = Watch::start(&lose(all, Pattern::Switched));
    let held = Family::BOTH.map(|family| {
        let listener = Listener::open(family);
        let pairs = listener.pairs(31);
        (listener, pairs)
    });
    watch.set_losing(true);
    let lost = Family::BOTH.map(half_closed);
    let (listeners, pairs): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    let established = truth::sockets().full[State::Established];
    for (clients, servers) in pairs {
        clients.into_iter().for_each(reset);
        drop(servers);
    }
    assert!(established > 0, "the connections were open");
    wait::until("the resets", || truth::sockets().full[State::Established] == 0);
    wait::grace_period();
    watch.set_losing(false);
    assert_found(&watch);
    drop((listeners, lost));
}

/// As many births as ends of full sockets are lost, so no sum of sockets shows the loss.
#[test]
fn lost_transitions_that_leave_the_sums_equal_are_found() {
    const SOCKETS: usize = 62;
    let _namespace = Namespace::enter();
    let all = Lost::Transitions { from: None, to: None };
    let watch = Watch::start(&lose(all, Pattern::Switched));
    let held = Family::BOTH.map(|family| {
        let listener = Listener::open(family);
        let pairs = listener.pairs(SOCKETS / 2);
        (listener, pairs)
    });
    let before = truth::sockstat();
    watch.set_losing(true);
    let (listeners, pairs): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    for (clients, servers) in pairs {
        clients.into_iter().for_each(reset);
        drop(servers);
    }
    let open = |family| (0..SOCKETS).map(move |_| Listener::open(family));
    let listeners: Vec<_> =
        listeners.into_iter().chain(Family::BOTH.into_iter().flat_map(open)).collect();
    wait::until("the resets", || truth::sockets().full[State::Established] == 0);
    wait::grace_period();
    watch.set_losing(false);
    let after = truth::sockstat();
    assert_eq!((after.inuse, after.inuse6), (before.inuse, before.inuse6), "the sums");
    assert_found(&watch);
    drop(listeners);
}

/// The number of births is too small to prove that the hook is silent.
#[test]
fn lost_births_of_a_few_time_wait_are_found() {
    silent_births(4, false);
}

#[test]
fn lost_births_of_many_time_wait_are_found() {
    silent_births(34, false);
}

/// The timers see every birth, so a tracer that replaces the silent hook is exact again.
#[test]
fn lost_births_by_functions_are_found() {
    silent_births(34, true);
}

/// Makes the hook of births silent, and leaves time-wait sockets of each family.
fn silent_births(sockets: usize, spares_timers: bool) {
    let _namespace = Namespace::enter();
    let options = lose_if(Lost::TimeWaitBirths, Pattern::EveryNth(1), spares_timers);
    let watch = Watch::start(&options);
    if spares_timers && watch.time_wait() != Provider::Fentry {
        println!("skipped: this kernel does not let programs attach to its functions");
        return;
    }
    leave_time_wait(2 * sockets, &Family::BOTH);
    truth::await_end_of_sockets();
    // A tracer whose hook is silent need not be exact again.
    watch.rest(spares_timers.then_some(TIME)).assert_honest(FEW, |_| true);
}

/// The number of requests is too small to prove that the hook is silent.
#[test]
fn lost_births_of_a_few_requests_are_found() {
    let _namespace = Namespace::enter();
    let watch = Watch::start(&lose(Lost::RequestBirths, Pattern::EveryNth(1)));
    let listeners = Family::BOTH.map(Listener::open);
    // The clients stay open, so the requests do not end.
    let clients = listeners
        .iter()
        .zip(Family::BOTH)
        .flat_map(|(listener, family)| (0..4).map(move |_| deaf_client(family, listener)));
    let clients: Vec<Socket> = clients.collect();
    wait::until("the requests", || truth::sockets().requests == clients.len() as u64);
    watch.rest(None).assert_honest(FEW, |_| true);
}

/// The option `IPV6_ADDRFORM` makes an IPv4 socket of an IPv6 socket, without any event.
#[test]
fn lost_changes_of_the_family_are_found() {
    let _namespace = Namespace::enter();
    let watch = Watch::start(&options());
    let listener = Listener::open(Family::V4);
    let clients: Vec<Socket> = (0..7).map(|_| mapped(&listener)).collect();
    let servers: Vec<Socket> = clients.iter().map(|_| listener.accept()).collect();
    clients.iter().for_each(become_v4);
    watch.rest(Some(TIME)).assert_honest(FEW, Scope::is_of_family);
    // The clients are counted as IPv6 sockets at their start, and as IPv4 sockets at their end.
    clients.into_iter().for_each(reset);
    drop(servers);
    wait::until("the resets", || truth::sockets().full[State::Established] == 0);
    watch.rest(Some(TIME)).assert_honest(FEW, |_| false);
    drop(listener);
}

/// Returns an IPv6 socket with a connection to an IPv4 listener.
fn mapped(listener: &Listener) -> Socket {
    let address = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    let to = std::net::SocketAddr::from((address, listener.port())).into();
    let client = connecting(Family::V6, &to);
    wait::until("the connection", || tcpstate_tests::traffic::state(&client) == State::Established);
    client
}

fn become_v4(client: &Socket) {
    set_option(client, libc::IPPROTO_IPV6, libc::IPV6_ADDRFORM, libc::AF_INET)
        .expect("the socket has an IPv4 connection");
}
