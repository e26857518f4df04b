//! Parses one record of a list: `struct inet_diag_msg` and its attributes.

use std::{mem::size_of, net::SocketAddr, num::NonZeroU32, time::Duration};

use netlink_packet_core::{NlasIterator, Parseable as _};
use netlink_packet_sock_diag::inet::{InetResponseBuffer, InetResponseHeader, Timer};
use tcpstate_common::State;

use super::{Detail, Error, Socket, SocketFile};

/// The number of the attribute that contains the cgroup id (`linux/inet_diag.h`). The attribute
/// exists since Linux 5.9. Only full sockets have a cgroup id.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// The number of the attribute that contains `struct tcp_info` (`linux/inet_diag.h`). The kernel
/// sends this attribute only if the request asks for the attribute. Only full sockets have a
/// `struct tcp_info`.
const INET_DIAG_INFO: u16 = 2;
/// The number of the attribute that contains the memory counters of a socket (`linux/inet_diag.h`).
/// The kernel sends this attribute only if the request asks for the attribute.
const INET_DIAG_SKMEMINFO: u16 = 7;

/// The byte offset of the field `idiag_expires` in a record. The unit of the field is milliseconds.
/// The netlink library does not return the expiry of time-wait sockets.
const EXPIRES: usize = 52;
/// The byte offset of the field `tcpi_last_ack_recv` in `struct tcp_info`. The unit of the field is
/// milliseconds.
const LAST_ACK_RECEIVED: usize = 56;
/// The byte offset of the number of drops in the memory counters (`SK_MEMINFO_DROPS`).
const DROPS: usize = 32;

/// Parses a record.
pub(super) fn parse(bytes: &[u8], wants_attributes: bool) -> Result<Socket, Error> {
    let malformed = |what: String| Error::Malformed(format!("record of a socket: {what}"));
    let header = InetResponseHeader::parse(bytes).map_err(|error| malformed(error.to_string()))?;
    let state = State::from_number(header.state.into())
        .ok_or_else(|| malformed(format!("unknown state {}", header.state)))?;
    let id = &header.socket_id;
    let attributes = if wants_attributes {
        Attributes::read(&bytes[size_of::<InetResponseBuffer>()..]).map_err(malformed)?
    } else {
        Attributes::default()
    };
    let retransmits = match header.timer {
        Some(Timer::Retransmit(_, times)) => times,
        _ => 0,
    };
    Ok(Socket {
        state,
        local: SocketAddr::new(id.source_address, id.source_port),
        remote: SocketAddr::new(id.destination_address, id.destination_port),
        // If the record has no inode, the user id is always 0 and has no meaning.
        holder: NonZeroU32::new(header.inode).map(|inode| SocketFile { uid: header.uid, inode }),
        cgroup: attributes.cgroup,
        cookie: u64::from_ne_bytes(id.cookie),
        detail: Detail {
            receive_queue: header.recv_queue,
            backlog: (state == State::Listen).then_some(header.send_queue),
            is_time_wait: matches!(header.timer, Some(Timer::TimeWait)),
            timer: header.timer.and(milliseconds(bytes, EXPIRES)),
            retransmits,
            // A mini socket has no `struct tcp_info`.
            silence: attributes.silence,
            drops: attributes.drops,
        },
    })
}

#[derive(Default)]
struct Attributes {
    cgroup: Option<u64>,
    silence: Option<Duration>,
    drops: Option<u32>,
}

impl Attributes {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut read = Self::default();
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            match attribute.kind() {
                INET_DIAG_CGROUP_ID => {
                    let id = attribute.value().try_into().map_err(|_| "cgroup id of no 8 bytes")?;
                    read.cgroup = Some(u64::from_ne_bytes(id));
                }
                INET_DIAG_INFO => {
                    let silence = milliseconds(attribute.value(), LAST_ACK_RECEIVED);
                    read.silence = Some(silence.ok_or("tcp_info of less than 60 bytes")?);
                }
                INET_DIAG_SKMEMINFO => read.drops = number(attribute.value(), DROPS),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// Reads a number of milliseconds from the bytes of a record. The function returns `None` if there
/// are too few bytes for the number.
fn milliseconds(bytes: &[u8], at: usize) -> Option<Duration> {
    number(bytes, at).map(|number| Duration::from_millis(number.into()))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let number = bytes.get(at..at + 4)?.try_into().expect("these are four bytes");
    Some(u32::from_ne_bytes(number))
}
