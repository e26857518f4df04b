//! Creates sockets, traffic and idle connections on the loopback device of the thread's namespace,
//! and a tun device whose packets the test itself reads and writes.

mod conversation;
mod deaf;
mod flood;
mod idle;
mod in_flight;
mod load;
mod mixed;
mod neighbours;
mod raw;
pub mod segment;
mod sides;
mod sockets;
mod time_wait;
mod tun;
mod wire;

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

pub use conversation::{answer, ask, connect_and_reset};
pub use deaf::{deaf_clients, deafen, hear};
pub use flood::{deaf_flood, flood};
pub use idle::Idle;
pub use in_flight::InFlight;
pub use load::{LISTENERS, Load, Style};
pub use mixed::Mixed;
pub use neighbours::Neighbours;
pub use raw::{send_reset, sequence_number};
pub use sides::{Sides, vanish};
use socket2::Domain;
pub use sockets::{
    Listener, TcpInfo, begin_connect, bound, connecting, disconnect, port, reset, set_option,
    shutdown, socket, state, tcp_info,
};
pub use time_wait::leave_time_wait;
pub use tun::Tun;
pub use wire::Wire;

/// The address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`
    V4,
    /// `AF_INET6`
    V6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Returns the loopback address with this port. If the port is 0, the kernel chooses a port.
    #[must_use]
    pub fn loopback(self, port: u16) -> SocketAddr {
        match self {
            Self::V4 => (Ipv4Addr::LOCALHOST, port).into(),
            Self::V6 => (Ipv6Addr::LOCALHOST, port).into(),
        }
    }

    pub(crate) fn domain(self) -> Domain {
        match self {
            Self::V4 => Domain::IPV4,
            Self::V6 => Domain::IPV6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
