//! Packets that no socket would send, such as a RST for a connection that has ended.

use socket2::{Protocol, Socket, Type};

use super::{
    Family,
    segment::{RST, Segment},
    set_option,
};

/// Returns the sequence number of the socket's next byte or FIN.
///
/// # Panics
/// Panics if the caller may not put sockets into repair mode, which root may.
#[must_use]
pub fn sequence_number(socket: &Socket) -> u32 {
    const SEND_QUEUE: i32 = 2;
    // The numbers are Linux's TCP_REPAIR, TCP_REPAIR_QUEUE and TCP_QUEUE_SEQ. A process that leaves
    // repair mode with -1 sends no window probe.
    let (repair, queue, sequence) = (19, 20, 21);
    let leave = -1;
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
    let (from, to) = (family.loopback(from_port), family.loopback(to_port));
    let segment = Segment { window: 0, ..Segment::new(from, to, RST, sequence) }.tcp();
    let socket = Socket::new(family.domain(), Type::RAW, Some(Protocol::TCP))
        .expect("root may send packets");
    let to = family.loopback(0).into();
    let sent = socket.send_to(&segment, &to).expect("loopback takes packets");
    assert_eq!(sent, segment.len());
}

fn set(socket: &Socket, option: libc::c_int, value: i32) {
    set_option(socket, libc::IPPROTO_TCP, option, value)
        .unwrap_or_else(|error| panic!("TCP option {option}: {error}"));
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
