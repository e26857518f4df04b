//! Packets that no socket would send, such as a RST for a connection that has ended.

use socket2::{Domain, Protocol, Socket, Type};

use super::Family;

const HEADER_BYTES: usize = 20;
const RST: u8 = 0x04;

/// Returns the sequence number of the socket's next byte or FIN.
///
/// # Panics
/// Panics if the caller may not put sockets into repair mode, which root may.
#[must_use]
pub fn sequence_number(socket: &Socket) -> u32 {
    const SEND_QUEUE: u32 = 2;
    // The numbers are Linux's TCP_REPAIR, TCP_REPAIR_QUEUE and TCP_QUEUE_SEQ. A process that leaves
    // repair mode with -1 sends no window probe.
    let (repair, queue, sequence) = (19, 20, 21);
    let leave = u32::MAX;
    set(socket, repair, 1);
    set(socket, queue, SEND_QUEUE);
    let number = get(socket, sequence);
    set(socket, repair, leave);
    number
}

/// Sends a RST over loopback.
///
/// # Panics
/// Panics if the caller is not root.
pub fn send_reset(family: Family, from_port: u16, to_port: u16, sequence: u32) {
    let mut segment = [0; HEADER_BYTES];
    segment[0..2].copy_from_slice(&from_port.to_be_bytes());
    segment[2..4].copy_from_slice(&to_port.to_be_bytes());
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment[12] = u8::try_from(HEADER_BYTES / 4).expect("5 words") << 4;
    segment[13] = RST;
    let checksum = checksum(family, &segment);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket =
        Socket::new(domain, Type::RAW, Some(Protocol::TCP)).expect("root may send packets");
    let to = family.loopback(0).into();
    let sent = socket.send_to(&segment, &to).expect("loopback takes packets");
    assert_eq!(sent, HEADER_BYTES);
}

/// The checksum also covers the addresses, the length and the protocol (RFC 9293, section 3.1).
/// Source and destination are both the loopback address.
fn checksum(family: Family, segment: &[u8]) -> u16 {
    let address = match family.loopback(0).ip() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = u16::try_from(segment.len()).expect("a header is small").to_be_bytes();
    let protocol = [0, 6];
    let words = [&address, &address, &protocol[..], &length[..], segment].concat();
    let sum = words.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    !u16::try_from(fold(fold(sum))).expect("two folds leave 16 bits")
}

fn set(socket: &Socket, option: libc::c_int, value: u32) {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the kernel reads one int, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of_int(),
        )
    };
    assert_eq!(result, 0, "TCP option {option}: {}", std::io::Error::last_os_error());
}

fn get(socket: &Socket, option: libc::c_int) -> u32 {
    use std::os::fd::AsRawFd as _;
    let (mut value, mut length) = (0_u32, size_of_int());
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `value`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "TCP option {option}: {}", std::io::Error::last_os_error());
    value
}

fn size_of_int() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<u32>()).expect("4")
}
