//! Compares the kernel's list of sockets with `ss`, and the filters in the kernel with the filters
//! in user space.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
};

use socket2::Socket;
use tcpstate::{
    filter::{End, Filter},
    report::Family as Kind,
    source::sock_diag::{Detail, Query, Socket as Listed, collect, count_by_state},
};
use tcpstate_common::State;
use tcpstate_tests::{
    netns::{Namespace, add_loopback_address},
    paths,
    traffic::{Family, Listener, Mixed, leave_time_wait, socket},
    truth::{Counts, sockets, ss},
    wait,
};

fn counted() -> Counts {
    let counts = count_by_state(&Filter::default()).expect("this kernel has sock_diag");
    let states = State::ALL.map(|state| (state, counts[state.number()]));
    Counts::from(states.as_slice())
}

/// At a checkpoint no socket changes its state, but TIME_WAIT sockets of an earlier path may end
/// between two readings. If a TIME_WAIT socket ends between two readings, all readings are
/// repeated.
fn compare(label: &str) {
    loop {
        let (before, counted, ss) = (sockets().all(), counted(), ss());
        if sockets().all() == before {
            assert_eq!(counted, before, "{label}: sock_diag, /proc");
            return assert_eq!(counted, ss, "{label}: sock_diag, ss");
        }
    }
}

#[test]
fn count_equals_ss_and_proc_at_every_checkpoint_of_every_path() {
    thread::scope(|scope| {
        // Most of the time is spent waiting for the kernel's timers. Several paths therefore run at
        // the same time, each in its own namespace.
        for group in paths::ALL.chunks(5) {
            scope.spawn(move || {
                let _namespace = Namespace::enter();
                for path in group {
                    path.run(&mut compare);
                }
            });
        }
    });
}

/// Opens connections from many addresses, in three states, of both families, including mapped
/// addresses.
fn from_many_addresses() -> Vec<Socket> {
    let second: Ipv6Addr = "2001:db8::1".parse().expect("an address");
    add_loopback_address(second);
    let any = |family, address: IpAddr| {
        let socket = socket(family);
        if family == Family::V6 {
            socket.set_only_v6(false).expect("a fresh socket may choose");
        }
        socket.bind(&SocketAddr::from((address, 0)).into()).expect("there are ports");
        Listener::on(family, socket, 128)
    };
    let mut held = Vec::new();
    for family in Family::BOTH {
        let everywhere: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let listener = any(family, everywhere);
        for host in 1..=20 {
            connect(&listener, [127, 0, host % 5, host].into(), &mut held);
        }
        if family == Family::V6 {
            for from in [Ipv6Addr::LOCALHOST, second] {
                (0..10).for_each(|_| connect(&listener, from.into(), &mut held));
            }
        }
        held.push(listener.socket().try_clone().expect("there is a file descriptor left"));
    }
    leave_time_wait(60, &Family::BOTH);
    let in_flight = || sockets().all()[State::FinWait1] + sockets().all()[State::LastAck];
    wait::until_equal("each FIN to be acknowledged", &0, in_flight);
    held
}

/// Makes a connection from an address to the same address. Every third connection is half-closed.
fn connect(listener: &Listener, address: IpAddr, held: &mut Vec<Socket>) {
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let client = socket(family);
    client.bind(&SocketAddr::from((address, 0)).into()).expect("loopback has the address");
    client.connect(&SocketAddr::from((address, listener.port())).into()).expect("somebody listens");
    let server = listener.accept();
    if held.len().is_multiple_of(3) {
        client.shutdown(std::net::Shutdown::Write).expect("it is connected");
    }
    held.extend([client, server]);
}

/// Returns all sockets that match a filter, and the number of sockets that the kernel listed.
fn listed(filter: &Filter) -> (Vec<Listed>, u64) {
    let query = Query::of(filter);
    // Timers change from one list to the next, so they are not compared.
    let push = |all: &mut Vec<Listed>, socket: &Listed| {
        all.push(Listed { detail: Detail::default(), ..*socket });
    };
    let answer = collect(&query, Vec::new, push).expect("a whole list");
    assert!(answer.instead_of.is_none(), "{:?}", answer.instead_of);
    let mut sockets = answer.sum;
    sockets.sort_by_key(|socket| (socket.local, socket.remote, socket.state));
    (sockets, answer.listed)
}

/// A pseudo-random generator with a fixed sequence (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn end(&mut self) -> End {
        self.one(&[End::Local, End::Remote, End::Either])
    }

    fn list(&mut self, mut item: impl FnMut(&mut Self) -> String) -> String {
        let items = 1 + self.below(5);
        (0..items).map(|_| item(self)).collect::<Vec<_>>().join(",")
    }

    /// Returns a list that contains mostly ports of the sockets.
    fn ports(&mut self, sockets: &[Listed]) -> String {
        self.list(|dice| {
            let (socket, other) = (dice.one(sockets), dice.one(sockets));
            let port = dice.one(&[socket.local.port(), socket.remote.port(), 0, 65535]);
            let second = dice.one(&[other.local.port(), port.saturating_add(1), 65535]);
            match dice.below(2) {
                0 => port.to_string(),
                _ => format!("{}-{}", port.min(second), port.max(second)),
            }
        })
    }

    fn addresses(&mut self, sockets: &[Listed]) -> String {
        self.list(|dice| {
            let socket = dice.one(sockets);
            let address = dice.one(&[socket.local.ip(), socket.remote.ip()]);
            let address = dice.one(&[address, address.to_canonical()]);
            let longest = if address.is_ipv4() { 32 } else { 128 };
            match dice.below(3) {
                0 => address.to_string(),
                _ => format!("{address}/{}", dice.below(longest + 1)),
            }
        })
    }

    fn filter(&mut self, sockets: &[Listed]) -> Filter {
        let family = self.one(&[None, None, Some(Kind::V4), Some(Kind::V6)]);
        let mut filter = Filter { family, ..Filter::default() };
        if self.below(3) == 0 {
            let among = 1 + self.below(10);
            filter.states = (0..among).map(|_| self.one(&State::GAUGES)).collect();
        }
        for _ in 0..self.below(3) {
            let (end, text) = (self.end(), self.ports(sockets));
            filter.ports.push((end, text.parse().expect(&text)));
        }
        for _ in 0..self.below(3) {
            let (end, text) = (self.end(), self.addresses(sockets));
            filter.addresses.push((end, text.parse().expect(&text)));
        }
        filter
    }
}

#[test]
fn count_filters_agree_in_kernel_and_user_space() {
    let _namespace = Namespace::enter();
    let _held = from_many_addresses();
    let (all, _) = listed(&Filter::default());
    assert!(all.len() > 150, "{}", all.len());
    let mut dice = Dice(0x5eed_cafe_f00d_0001);
    let (mut none, mut some) = (0, 0);
    for round in 0..2000 {
        let filter = dice.filter(&all);
        let matching =
            |socket: &&Listed| filter.matches(socket.state, &socket.local, &socket.remote);
        let ours: Vec<Listed> = all.iter().filter(matching).copied().collect();
        let (kernels, how_many) = listed(&filter);
        assert_eq!(kernels, ours, "round {round}: {filter:?}");
        // The bytecode in the kernel is as precise as the filter, so the kernel sent no socket that
        // does not match.
        assert_eq!(how_many, ours.len() as u64, "round {round}: {filter:?}");
        match ours.len() {
            0 => none += 1,
            few if few < all.len() => some += 1,
            _ => {}
        }
    }
    // The random filters are useful, because many match some sockets and some match none.
    assert!(none > 100 && some > 500, "{none} filters chose nothing, {some} some");
}

#[test]
fn count_with_a_filter_too_long_for_the_kernel_is_right() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let _pairs = listener.pairs(11);
    let port = listener.port();
    let many = (1..=600).map(|number| (2 * number).to_string()).collect::<Vec<_>>().join(",");
    let mut filter = Filter::default();
    filter.ports.push((End::Remote, format!("{many},{port}").parse().expect("ports")));
    let (matching, how_many) = listed(&filter);
    assert!(how_many > matching.len() as u64, "the kernel was to send all: {how_many}");
    assert_eq!(matching.len(), 11);
}

#[test]
fn count_of_mixed_sockets_has_every_state_except_closing() {
    let _namespace = Namespace::enter();
    let _mixed = Mixed::open(1000);
    let counted = counted();
    assert_eq!(counted, ss());
    for state in State::GAUGES {
        // No socket can be held in CLOSING, because both sides must close at the same time.
        assert_eq!(counted[state] > 0, state != State::Closing, "{state}: {counted:?}");
    }
}
