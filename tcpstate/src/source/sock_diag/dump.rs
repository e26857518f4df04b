//! Implements one netlink dump of the kernel's list of sockets. The module encodes the request, and
//! checks each message of the answer.
//!
//! Messages are read in place, without allocation. The message type of the netlink library would
//! allocate each record with all its attributes. With 47,000 sockets, the allocations take more
//! time than the kernel needs to write the records.

use std::io;

use netlink_packet_core::{
    DefaultNla, DoneBuffer, Emitable, ErrorBuffer, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader,
};
use netlink_packet_sock_diag::{
    IPPROTO_TCP, SOCK_DIAG_BY_FAMILY,
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use nix::errno::Errno;

use super::{Error, Query};
use crate::report::Family;

/// The number of the request attribute that contains the filter bytecode (`linux/inet_diag.h`).
const INET_DIAG_REQ_BYTECODE: u16 = 1;
/// This flag of a message means that the socket tables changed during the dump (`linux/netlink.h`).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// The maximum size of a datagram in bytes. The kernel makes datagrams as large as the reader's
/// buffer allows, but not larger than this maximum.
pub(super) const DATAGRAM: usize = 32 * 1024;

/// Encodes the request for all TCP sockets of a family that have one of the states and match the
/// program.
pub(super) fn request(
    family: Family,
    query: &Query<'_>,
    program: Option<&[u8]>,
    sequence: u32,
) -> Vec<u8> {
    let (family, any) = match family {
        Family::V4 => (libc::AF_INET, SocketId::new_v4()),
        Family::V6 => (libc::AF_INET6, SocketId::new_v6()),
    };
    let request = InetRequest {
        family: u8::try_from(family).expect("families of sockets are small numbers"),
        protocol: IPPROTO_TCP,
        extensions: extensions(query),
        states: StateFlags::from_bits_truncate(query.filter.states.bits()),
        socket_id: any,
    };
    let program = program.map(|program| DefaultNla::new(INET_DIAG_REQ_BYTECODE, program.to_vec()));
    let mut header = NetlinkHeader::default();
    let head = header.buffer_len();
    let body = head + request.buffer_len();
    let length = body + program.as_ref().map_or(0, Emitable::buffer_len);
    header.length = u32::try_from(length).expect("a program is short");
    header.message_type = SOCK_DIAG_BY_FAMILY;
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let mut bytes = vec![0; length];
    header.emit(&mut bytes[..head]);
    request.emit(&mut bytes[head..body]);
    if let Some(program) = program {
        program.emit(&mut bytes[body..]);
    }
    bytes
}

fn extensions(query: &Query<'_>) -> ExtensionFlags {
    let mut extensions = ExtensionFlags::empty();
    extensions.set(ExtensionFlags::INFO, query.silence);
    extensions.set(ExtensionFlags::SKMEMINFO, query.drops);
    extensions
}

/// Whether a list is consistent, or the socket tables changed during the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The kernel reported that the list is complete.
    Whole,
    /// The kernel reported that its socket tables changed during the dump.
    Interrupted,
}

/// Reads datagrams until the list ends, and calls `record` with the bytes of each record.
///
/// `receive` fills the buffer and returns the length of the datagram. The length of the datagram
/// can be larger than the buffer.
pub(super) fn read(
    buffer: &mut [u8],
    sequence: u32,
    mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    mut record: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<End, Error> {
    let mut end = End::Whole;
    loop {
        let length = match receive(buffer) {
            Ok(0) => return Err(Error::Malformed("an empty datagram".into())),
            Ok(sent) if sent > buffer.len() => {
                return Err(Error::Truncated { sent, room: buffer.len() });
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(Error::System { action: "read the kernel's list of sockets", source });
            }
        };
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(malformed)?;
            if message.sequence_number() != sequence {
                return Err(Error::Malformed("an answer to another request".into()));
            }
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                end = End::Interrupted;
            }
            let payload = message.payload();
            match message.message_type() {
                SOCK_DIAG_BY_FAMILY => record(payload)?,
                NLMSG_DONE => {
                    let code = DoneBuffer::new_checked(payload).map_err(malformed)?.code();
                    return if code == 0 { Ok(end) } else { Err(refused(code)) };
                }
                NLMSG_ERROR => {
                    let code = ErrorBuffer::new_checked(payload).map_err(malformed)?.code();
                    return Err(match code {
                        Some(code) => refused(code.get()),
                        None => Error::Malformed("a receipt instead of a list".into()),
                    });
                }
                NLMSG_OVERRUN => return Err(refused(-(Errno::ENOBUFS as i32))),
                NLMSG_NOOP => {}
                other => return Err(Error::Malformed(format!("a message of type {other}"))),
            }
            // Messages are aligned to 4 bytes.
            let whole = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(whole..).unwrap_or_default();
        }
    }
}

fn malformed(error: impl std::fmt::Display) -> Error {
    Error::Malformed(error.to_string())
}

/// Converts a negative error number of the kernel to an error of this module.
fn refused(code: i32) -> Error {
    const NO_ENTRY: i32 = Errno::ENOENT as i32;
    const NOT_SUPPORTED: i32 = Errno::EOPNOTSUPP as i32;
    let number = code.saturating_neg();
    let error = io::Error::from_raw_os_error(number);
    match number {
        // Kernels without the modules inet_diag or tcp_diag return ENOENT or EOPNOTSUPP.
        NO_ENTRY | NOT_SUPPORTED => Error::Unavailable(error),
        _ => Error::Refused(error),
    }
}
