//! Finds the process whose listener accepted a connection.

use std::{collections::HashMap, net::SocketAddr};

use super::{owners::Owners, sock_diag::SocketFile};

/// The files of the listeners, by the port of the listener.
#[derive(Clone, Debug, Default)]
pub struct Listening(HashMap<u16, Vec<(SocketAddr, SocketFile)>>);

impl Listening {
    /// Adds a listener.
    pub fn add(&mut self, local: SocketAddr, holder: SocketFile) {
        self.0.entry(local.port()).or_default().push((local, holder));
    }

    /// Returns the process of the listener that accepts connections to a local address.
    #[must_use]
    pub fn pid(&self, local: SocketAddr, owners: &Owners) -> Option<u32> {
        let listeners = self.0.get(&local.port())?;
        let address = local.ip().to_canonical();
        let rank = |listener: &SocketAddr| match listener.ip().to_canonical() {
            ip if ip == address => Some(0),
            ip if ip.is_unspecified() && ip.is_ipv4() == address.is_ipv4() => Some(1),
            // A listener on `::` may also accept IPv4 connections.
            ip if ip.is_unspecified() && address.is_ipv4() => Some(2),
            _ => None,
        };
        let best = listeners.iter().filter_map(|(ip, file)| Some((rank(ip)?, file)));
        owners.pid(best.min_by_key(|&(rank, _)| rank)?.1.inode)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn the_listener_with_the_best_address_is_found() {
        let file = |inode| SocketFile { uid: 0, inode: NonZeroU32::new(inode).expect("not 0") };
        let address = |text: &str| text.parse().expect("an address with a port");
        let mut listening = Listening::default();
        for (local, inode) in
            [("0.0.0.0:80", 1), ("10.0.0.1:80", 2), ("[::]:80", 3), ("[::]:81", 4)]
        {
            listening.add(address(local), file(inode));
        }
        let owners = Owners::of([(1, 11), (2, 12), (3, 13), (4, 14)]);
        for (local, expected) in [
            ("10.0.0.1:80", Some(12)),
            ("[::ffff:10.0.0.1]:80", Some(12)),
            ("10.0.0.2:80", Some(11)),
            ("[2001:db8::1]:80", Some(13)),
            ("10.0.0.1:81", Some(14)),
            ("10.0.0.1:82", None),
        ] {
            assert_eq!(listening.pid(address(local), &owners), expected, "{local}");
        }
    }
}
