//! A filter as the program that `inet_diag` runs for each socket (`INET_DIAG_REQ_BYTECODE`).
//!
//! The program is a row of conditional jumps, all forward (`inet_diag_bc_run` in the kernel's `net/ipv4/inet_diag.c`):
//! a condition that holds goes on with the next instruction, one that does not jumps. Who arrives exactly at the end
//! has matched, who jumps beyond has not.
//!
//! Families and states are no part of it: the request names them.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::filter::{Addresses, End, Filter, Ports};

/// Longer programs are not sent. The kernel runs them step by step for each socket, and from some hundred steps on it
/// is cheaper to look at the sockets here.
const LONGEST: usize = 4096;

// The numbers of the instructions, from `linux/inet_diag.h`. Those that compare for equality are newer than 5.10.
const JUMP: u8 = 1;
const LOCAL_PORT_AT_LEAST: u8 = 2;
const LOCAL_PORT_AT_MOST: u8 = 3;
const REMOTE_PORT_AT_LEAST: u8 = 4;
const REMOTE_PORT_AT_MOST: u8 = 5;
const LOCAL_ADDRESS: u8 = 7;
const REMOTE_ADDRESS: u8 = 8;

/// Length of an instruction without what it compares with.
const INSTRUCTION: usize = 4;

/// The program for the filter's ports and addresses; none if it has no such conditions, or too many.
pub(super) fn compile(filter: &Filter) -> Option<Vec<u8>> {
    let ports = filter.ports.iter().map(|(end, ports)| both_ends(*end, |end| any_port(end, ports)));
    let addresses = filter
        .addresses
        .iter()
        .map(|(end, addresses)| both_ends(*end, |end| any_address(end, addresses)));
    let Fragment(program) = ports.chain(addresses).reduce(Fragment::and)?;
    (!program.is_empty() && program.len() <= LONGEST).then_some(program)
}

/// A piece of a program: who matches arrives at its end, who does not jumps an instruction's length beyond.
///
/// Every jump leads to the beginning of another instruction or out of the piece, as the kernel demands.
struct Fragment(Vec<u8>);

impl Fragment {
    /// Matches every socket.
    fn always() -> Self {
        Self(Vec::new())
    }

    fn condition(code: u8, operand: &[u8]) -> Self {
        let length = INSTRUCTION + operand.len();
        let mut bytes = instruction(code, length, length + INSTRUCTION).to_vec();
        bytes.extend_from_slice(operand);
        Self(bytes)
    }

    fn and(mut self, second: Self) -> Self {
        self.fail_later_by(second.0.len());
        self.0.extend(second.0);
        self
    }

    /// After the first one, a jump past the second; who fails in the first one lands behind that jump.
    fn or(self, second: Self) -> Self {
        if self.0.is_empty() || second.0.is_empty() {
            return Self::always();
        }
        let mut bytes = self.0;
        bytes.extend(instruction(JUMP, INSTRUCTION, INSTRUCTION + second.0.len()));
        bytes.extend(second.0);
        Self(bytes)
    }

    /// Moves the point that failures jump to.
    fn fail_later_by(&mut self, distance: usize) {
        let failure = self.0.len() + INSTRUCTION;
        let mut at = 0;
        while at < self.0.len() {
            let (yes, no) = (usize::from(self.0[at + 1]), &mut self.0[at + 2..at + 4]);
            let jump = usize::from(u16::from_ne_bytes([no[0], no[1]]));
            if at + jump == failure {
                no.copy_from_slice(&short(jump + distance));
            }
            at += yes;
        }
    }
}

/// An instruction: where to go on if its condition holds, and if not, from its own beginning.
fn instruction(code: u8, yes: usize, no: usize) -> [u8; INSTRUCTION] {
    let yes = u8::try_from(yes).expect("an instruction with an address has at most 28 bytes");
    let [low, high] = short(no);
    [code, yes, low, high]
}

/// A jump's distance. Too long ones are cut: no program of such a length is sent.
fn short(distance: usize) -> [u8; 2] {
    u16::try_from(distance).unwrap_or(u16::MAX).to_ne_bytes()
}

fn both_ends(end: End, condition: impl Fn(End) -> Fragment) -> Fragment {
    match end {
        End::Either => condition(End::Local).or(condition(End::Remote)),
        one => condition(one),
    }
}

fn any(conditions: impl DoubleEndedIterator<Item = Fragment>) -> Fragment {
    // From the last to the first, so that who matches needs one jump.
    conditions
        .rev()
        .reduce(|later, earlier| earlier.or(later))
        .expect("a list has at least one item")
}

fn any_port(end: End, ports: &Ports) -> Fragment {
    let (at_least, at_most) = match end {
        End::Remote => (REMOTE_PORT_AT_LEAST, REMOTE_PORT_AT_MOST),
        _ => (LOCAL_PORT_AT_LEAST, LOCAL_PORT_AT_MOST),
    };
    // The port is in the place where instructions have their second jump.
    let compare = |code, port: u16| {
        let [low, high] = port.to_ne_bytes();
        Fragment::condition(code, &[0, 0, low, high])
    };
    any(ports.ranges().iter().map(|range| match (*range.start(), *range.end()) {
        (0, u16::MAX) => Fragment::always(),
        (0, last) => compare(at_most, last),
        (first, u16::MAX) => compare(at_least, first),
        (first, last) => compare(at_least, first).and(compare(at_most, last)),
    }))
}

fn any_address(end: End, addresses: &Addresses) -> Fragment {
    let code = if end == End::Remote { REMOTE_ADDRESS } else { LOCAL_ADDRESS };
    any(addresses.networks().iter().map(|network| Fragment::condition(code, &host(network))))
}

/// `struct inet_diag_hostcond`: family, prefix length, any port, address.
fn host(network: &IpNet) -> Vec<u8> {
    const ANY_PORT: i32 = -1;
    let (family, address) = match network.addr() {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let family = u8::try_from(family).expect("families of sockets are small numbers");
    let mut condition = vec![family, network.prefix_len(), 0, 0];
    condition.extend(ANY_PORT.to_ne_bytes());
    condition.extend(address);
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(ports: &[(End, &str)], addresses: &[(End, &str)]) -> Filter {
        Filter {
            ports: ports.iter().map(|(end, text)| (*end, text.parse().expect(text))).collect(),
            addresses: addresses
                .iter()
                .map(|(end, text)| (*end, text.parse().expect(text)))
                .collect(),
            ..Filter::default()
        }
    }

    /// Instructions as `code`, `yes`, `no`, at the places where the kernel finds them.
    fn listing(program: &[u8]) -> Vec<(usize, u8, usize)> {
        let mut instructions = Vec::new();
        let mut at = 0;
        while at < program.len() {
            let no = u16::from_ne_bytes([program[at + 2], program[at + 3]]);
            instructions.push((at, program[at], at + usize::from(no)));
            at += usize::from(program[at + 1]);
        }
        assert_eq!(at, program.len(), "the last instruction ends with the program");
        instructions
    }

    #[test]
    fn a_range_is_two_comparisons_that_fail_beyond_the_end() {
        let program = compile(&filter(&[(End::Local, "8000-8100")], &[])).expect("a program");
        assert_eq!(listing(&program), [(0, LOCAL_PORT_AT_LEAST, 20), (8, LOCAL_PORT_AT_MOST, 20)]);
        assert_eq!(program[4..8], [0, 0, 0x40, 0x1f]);
    }

    #[test]
    fn alternatives_fail_into_the_next_one_and_succeed_past_it() {
        let program = compile(&filter(&[(End::Either, "7-")].map(|_| (End::Either, "7")), &[]));
        let expected = [
            (0, LOCAL_PORT_AT_LEAST, 20),
            (8, LOCAL_PORT_AT_MOST, 20),
            (16, JUMP, 36),
            (20, REMOTE_PORT_AT_LEAST, 40),
            (28, REMOTE_PORT_AT_MOST, 40),
        ];
        assert_eq!(listing(&program.expect("a program")), expected);
    }

    #[test]
    fn every_jump_leads_to_an_instruction_the_end_or_just_beyond() {
        let many = (0..40).map(|n| (n * 7).to_string()).collect::<Vec<_>>().join(",");
        let program = compile(&filter(
            &[(End::Either, &many), (End::Remote, "1-9,80,65000-65535")],
            &[(End::Either, "10.0.0.0/8,2001:db8::/32"), (End::Local, "127.0.0.1")],
        ));
        let program = program.expect("a program");
        let instructions = listing(&program);
        let starts: Vec<usize> = instructions.iter().map(|&(at, ..)| at).collect();
        for (at, _, no) in instructions {
            let is_out = no == program.len() || no == program.len() + INSTRUCTION;
            assert!(no > at && (is_out || starts.contains(&no)), "{at} -> {no}");
        }
    }

    #[test]
    fn what_holds_for_every_socket_needs_no_program() {
        assert_eq!(compile(&Filter::default()), None);
        assert_eq!(compile(&filter(&[(End::Either, "0-65535")], &[])), None);
    }

    #[test]
    fn a_program_that_would_be_slow_is_none() {
        let odd = (0..2000).map(|n| (2 * n + 1).to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(compile(&filter(&[(End::Either, &odd)], &[])), None);
    }
}
