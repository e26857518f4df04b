//! One record of a list: `struct inet_diag_msg`, and the attributes behind it.

use std::{mem::size_of, net::SocketAddr, num::NonZeroU32};

use netlink_packet_core::{NlasIterator, Parseable as _};
use netlink_packet_sock_diag::inet::{InetResponseBuffer, InetResponseHeader};
use tcpstate_common::State;

use super::{Error, Holder, Socket};

/// `linux/inet_diag.h`; since 5.9, and only with full sockets.
const INET_DIAG_CGROUP_ID: u16 = 21;

/// Reads a record.
pub(super) fn parse(bytes: &[u8], wants_cgroup: bool) -> Result<Socket, Error> {
    let malformed = |what: String| Error::Malformed(format!("record of a socket: {what}"));
    let header = InetResponseHeader::parse(bytes).map_err(|error| malformed(error.to_string()))?;
    let state = State::from_number(header.state.into())
        .ok_or_else(|| malformed(format!("unknown state {}", header.state)))?;
    let id = &header.socket_id;
    let cgroup = if wants_cgroup {
        cgroup(&bytes[size_of::<InetResponseBuffer>()..]).map_err(malformed)?
    } else {
        None
    };
    Ok(Socket {
        state,
        local: SocketAddr::new(id.source_address, id.source_port),
        remote: SocketAddr::new(id.destination_address, id.destination_port),
        // Without an inode, the user is a mere 0.
        holder: NonZeroU32::new(header.inode).map(|inode| Holder { uid: header.uid, inode }),
        cgroup,
    })
}

fn cgroup(attributes: &[u8]) -> Result<Option<u64>, String> {
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        if attribute.kind() == INET_DIAG_CGROUP_ID {
            let id = attribute.value().try_into().map_err(|_| "cgroup id of no 8 bytes")?;
            return Ok(Some(u64::from_ne_bytes(id)));
        }
    }
    Ok(None)
}
