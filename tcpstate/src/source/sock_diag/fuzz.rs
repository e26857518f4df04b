//! The functions of this module that the fuzzer calls.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
};

use tcpstate_common::State;

use super::{Error, Socket, bytecode, dump, proc_net, record};
use crate::{
    error::Help as _,
    filter::{End, Filter, States},
};

/// The sequence number of the request. Each input is an answer to this request.
const SEQUENCE: u32 = 1;

/// Reads a list in the format of the kernel, from one datagram.
pub(crate) fn netlink(bytes: &[u8]) {
    for wants_attributes in [false, true] {
        let mut datagrams = [bytes].into_iter();
        let receive = |buffer: &mut [u8]| {
            let datagram = datagrams.next().ok_or(ErrorKind::UnexpectedEof)?;
            let length = datagram.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram[..length]);
            Ok(datagram.len())
        };
        let mut sockets = 0;
        let end = dump::read(&mut vec![0; dump::DATAGRAM], SEQUENCE, receive, |bytes| {
            look_at(&record::parse(bytes, wants_attributes)?);
            sockets += 1;
            Ok(())
        });
        // A message needs at least 88 bytes: a header of 16 bytes and a record of 72 bytes.
        assert!(sockets <= bytes.len() / 88, "{sockets} sockets in {} bytes", bytes.len());
        if let Err(error) = end {
            assert!(!error.to_string().is_empty() && !error.help().is_empty());
        }
    }
}

/// Reads `/proc/net/tcp` or `tcp6`.
pub(crate) fn proc_net(bytes: &[u8]) {
    let read = proc_net::read(bytes, &mut |socket| look_at(socket));
    if let Err(source) = read {
        let error = Error::Table { file: "tcp".into(), source };
        assert!(!error.to_string().is_empty());
    }
}

/// Checks that a socket can be displayed and filtered.
fn look_at(socket: &Socket) {
    assert!(!format!("{socket:?}").is_empty());
    assert!(Filter { states: [socket.state].into_iter().collect(), ..Filter::default() }.matches(
        socket.state,
        &socket.local,
        &socket.remote
    ));
    assert!(socket.state == State::Listen || socket.detail.backlog.is_none());
}

/// Reads lines with ports, addresses, states and the two addresses of a socket. The filter in user
/// space and the bytecode in the kernel must select the same sockets.
pub(crate) fn filter(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (ports, addresses, states) = (line().parse(), line().parse(), line().parse::<States>());
    for error in [ports.as_ref().err(), states.as_ref().err()].into_iter().flatten() {
        assert!(error.starts_with("at character "), "{error}");
    }
    if let Ok(states) = states {
        assert!(states.bits() != 0 && !states.contain(State::Close));
    }
    let (Ok(local), Ok(remote)) = (line().parse(), line().parse()) else { return };
    for end in [End::Local, End::Remote, End::Either] {
        let mut filter = Filter::default();
        filter.ports.extend(ports.clone().map(|ports| (end, ports)));
        filter.addresses.extend(addresses.clone().map(|addresses| (end, addresses)));
        // One request to the kernel lists sockets of only one address family.
        if let (Some(program), SocketAddr::V4(_), SocketAddr::V4(_))
        | (Some(program), SocketAddr::V6(_), SocketAddr::V6(_)) =
            (bytecode::compile(&filter), local, remote)
        {
            let matched = run(&program, &local, &remote);
            assert_eq!(
                matched,
                filter.matches_ends(&local, &remote),
                "{filter:?} {local} {remote}"
            );
        }
    }
}

/// Runs the bytecode as the kernel does (`inet_diag_bc_run` in `net/ipv4/inet_diag.c`).
fn run(program: &[u8], local: &SocketAddr, remote: &SocketAddr) -> bool {
    let mut at = 0;
    while let Some([code, yes, no @ ..]) = program.get(at..at + 4) {
        let operand = || &program[at + 4..at + usize::from(*yes)];
        let port = || u16::from_ne_bytes(operand()[2..4].try_into().expect("a port"));
        let holds = match code {
            1 => false,
            2 => local.port() >= port(),
            3 => local.port() <= port(),
            4 => remote.port() >= port(),
            5 => remote.port() <= port(),
            7 => is_host(operand(), local.ip()),
            8 => is_host(operand(), remote.ip()),
            code => panic!("{code} is no instruction that this writes"),
        };
        let no = usize::from(u16::from_ne_bytes(no.try_into().expect("two bytes")));
        at += if holds { usize::from(*yes) } else { no };
        assert!(at <= program.len() + 4, "a jump to nowhere");
    }
    at == program.len()
}

/// Returns whether an address is in a network (`struct inet_diag_hostcond`).
fn is_host(condition: &[u8], address: IpAddr) -> bool {
    let [family, prefix, ..] = *condition else { panic!("a condition begins with both") };
    let network = &condition[8..];
    let is_v4 = i32::from(family) == libc::AF_INET;
    let bytes = match (is_v4, address) {
        (true, IpAddr::V4(address)) => address.octets().to_vec(),
        (false, IpAddr::V6(address)) => address.octets().to_vec(),
        (true, IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.octets().to_vec(),
            None => return false,
        },
        (false, IpAddr::V4(_)) => return false,
    };
    assert_eq!(bytes.len(), network.len());
    (0..usize::from(prefix)).all(|bit| {
        let of = |bytes: &[u8]| bytes[bit / 8] >> (7 - bit % 8) & 1;
        of(&bytes) == of(network)
    })
}
