//! Compiles a filter to the bytecode that `inet_diag` runs for each socket
//! (`INET_DIAG_REQ_BYTECODE`).
//!
//! The bytecode is a sequence of conditional forward jumps (`inet_diag_bc_run` in the kernel's
//! `net/ipv4/inet_diag.c`). If the condition of an instruction holds, the next instruction runs. If
//! the condition of an instruction fails, the instruction jumps. A socket matches if execution
//! reaches exactly the end of the bytecode. A socket does not match if a jump leads beyond the end
//! of the bytecode.
//!
//! The request itself selects families and states, so the bytecode contains no conditions on
//! families or states.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::filter::{Addresses, End, Filter, Ports};

/// The maximum length of the bytecode in bytes. The kernel interprets the bytecode for each socket.
/// If the bytecode has more than some hundred instructions, filtering in user space is cheaper.
const MAX_PROGRAM_BYTES: usize = 4096;

// The codes of the instructions (`linux/inet_diag.h`). Linux 5.10 does not have the instructions
// that compare for equality.
const JUMP: u8 = 1;
const LOCAL_PORT_AT_LEAST: u8 = 2;
const LOCAL_PORT_AT_MOST: u8 = 3;
const REMOTE_PORT_AT_LEAST: u8 = 4;
const REMOTE_PORT_AT_MOST: u8 = 5;
const LOCAL_ADDRESS: u8 = 7;
const REMOTE_ADDRESS: u8 = 8;

/// The length of an instruction in bytes, without the operand of the instruction.
const INSTRUCTION: usize = 4;

/// Returns the bytecode for the filter's ports and addresses. Returns `None` if the filter has no
/// condition on ports or addresses, or if the bytecode is too long.
pub(super) fn compile(filter: &Filter) -> Option<Vec<u8>> {
    let ports = filter.ports.iter().map(|(end, ports)| both_ends(*end, |end| any_port(end, ports)));
    let addresses = filter
        .addresses
        .iter()
        .map(|(end, addresses)| both_ends(*end, |end| any_address(end, addresses)));
    let Fragment(program) = ports.chain(addresses).reduce(Fragment::and)?;
    (!program.is_empty() && program.len() <= MAX_PROGRAM_BYTES).then_some(program)
}

/// A part of the bytecode: instructions that check one condition or several conditions. If a socket
/// matches a part, execution continues at the end of the part. If a socket does not match a part,
/// execution jumps to one instruction length after the end of the part.
///
/// The kernel requires that every jump of a part leads to the start of an instruction or out of the
/// part.
struct Fragment(Vec<u8>);

impl Fragment {
    /// Returns a part that matches every socket.
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

    /// Joins two parts so that a socket matches if either part matches. A jump instruction
    /// separates the parts. If the first part matches, this instruction jumps over the second part.
    /// If the first part does not match, the second part runs.
    fn or(self, second: Self) -> Self {
        if self.0.is_empty() || second.0.is_empty() {
            return Self::always();
        }
        let mut bytes = self.0;
        bytes.extend(instruction(JUMP, INSTRUCTION, INSTRUCTION + second.0.len()));
        bytes.extend(second.0);
        Self(bytes)
    }

    /// Lengthens the jumps of failed conditions, so that these jumps also skip a part that is
    /// appended later.
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

/// Encodes an instruction. `yes` is the distance to the next instruction if the condition holds.
/// `no` is the distance to the next instruction if the condition fails.
fn instruction(code: u8, yes: usize, no: usize) -> [u8; INSTRUCTION] {
    let yes = u8::try_from(yes).expect("an instruction with an address has at most 28 bytes");
    let [low, high] = short(no);
    [code, yes, low, high]
}

/// Encodes the distance of a jump. A distance that is too long is truncated, but tcpstate never
/// sends bytecode of that length.
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
    // The function joins the parts from the last to the first, so that one jump after a match skips
    // all remaining parts.
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
    // The instruction stores the port in the field in which other instructions store the distance
    // of the second jump.
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

/// Encodes `struct inet_diag_hostcond`: the family, the prefix length, the value for any port, and
/// the address.
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

    /// Returns the instructions. Each instruction has its position, its code, and the position to
    /// which the kernel jumps if the condition fails.
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
    fn alternatives_jump_to_the_next_alternative_or_past_all() {
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
    fn jumps_lead_to_an_instruction_or_to_the_end() {
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
    fn filters_that_match_every_socket_need_no_program() {
        assert_eq!(compile(&Filter::default()), None);
        assert_eq!(compile(&filter(&[(End::Either, "0-65535")], &[])), None);
    }

    #[test]
    fn long_programs_are_not_sent() {
        let odd = (0..2000).map(|n| (2 * n + 1).to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(compile(&filter(&[(End::Either, &odd)], &[])), None);
    }
}
