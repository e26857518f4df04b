//! Filters of sockets. A filter matches a socket if all conditions of the filter hold. A condition
//! is a list, and at least one item of the list must match.
//!
//! ```text
//! flags -> Filter -> matches()                      here, for each socket
//!                 -> source/sock_diag/bytecode.rs   in the kernel, as far as possible
//! ```
//!
//! Events have a separate filter, [`EventFilter`], which the BPF programs evaluate:
//!
//! ```text
//! flags -> EventFilter -> KernelFilter -> tcpstate-ebpf/src/event_filter.rs
//! ```
//!
//! Connections are filtered by what is known only at their end: see [`ConnectionFilter`].
//!
//! Groups are filtered by the values of their keys: see [`GroupFilter`].
//!
//! This module also parses the text of lists. The error for an invalid item contains the item's
//! position.

mod addresses;
mod connections;
mod events;
mod groups;
mod list;
mod moves;
mod ports;
mod processes;
mod states;

use std::net::SocketAddr;

use tcpstate_common::State;

use crate::report::Family;

pub(crate) use self::list::parse as list;
pub use self::{
    addresses::Addresses,
    connections::ConnectionFilter,
    events::{EventFilter, KernelFilter, TooManyNetworks},
    groups::{GroupFilter, NoKey},
    moves::Moves,
    ports::Ports,
    processes::{Names, Numbers},
    states::States,
};

/// The side (local or remote) of a connection that a condition checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The condition checks the local side.
    Local,
    /// The condition checks the remote side.
    Remote,
    /// The condition checks both sides, and at least one side must match.
    Either,
}

impl End {
    fn holds(self, local: bool, remote: bool) -> bool {
        match self {
            Self::Local => local,
            Self::Remote => remote,
            Self::Either => local || remote,
        }
    }
}

/// A filter of sockets. The default filter matches all counted sockets.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The address family of the sockets that match. If the value is `None`, both families match.
    pub family: Option<Family>,
    /// The states that match.
    pub states: States,
    /// Conditions on ports. All of these conditions must hold.
    pub ports: Vec<(End, Ports)>,
    /// Conditions on addresses. All of these conditions must hold.
    pub addresses: Vec<(End, Addresses)>,
}

impl Filter {
    /// Returns the address families for which the caller must request a list from the kernel.
    pub(crate) fn families(&self) -> impl Iterator<Item = Family> {
        Family::BOTH.into_iter().filter(|&family| self.family.is_none_or(|wanted| wanted == family))
    }

    /// Returns whether a socket with this state and these addresses matches.
    #[must_use]
    pub fn matches(&self, state: State, local: &SocketAddr, remote: &SocketAddr) -> bool {
        self.states.contain(state) && self.matches_ends(local, remote)
    }

    /// Returns whether a socket with these addresses matches, in any state. The addresses of an
    /// IPv6 socket with an IPv4 connection must be IPv4-mapped IPv6 addresses.
    #[must_use]
    pub fn matches_ends(&self, local: &SocketAddr, remote: &SocketAddr) -> bool {
        let family = if local.is_ipv4() { Family::V4 } else { Family::V6 };
        self.family.is_none_or(|wanted| wanted == family)
            && self.ports.iter().all(|(end, ports)| {
                end.holds(ports.contain(local.port()), ports.contain(remote.port()))
            })
            && self.addresses.iter().all(|(end, addresses)| {
                end.holds(addresses.contain(local.ip()), addresses.contain(remote.ip()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &Filter, local: &str, remote: &str) -> bool {
        let end = |text: &str| text.parse().expect("an address with a port");
        filter.matches_ends(&end(local), &end(remote))
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let filter = Filter {
            ports: vec![
                (End::Local, "80,443".parse().expect("ports")),
                (End::Either, "1000-2000".parse().expect("ports")),
            ],
            addresses: vec![(End::Remote, "10.0.0.0/8".parse().expect("addresses"))],
            ..Filter::default()
        };
        assert!(matches(&filter, "192.0.2.1:80", "10.1.2.3:1500"));
        assert!(!matches(&filter, "192.0.2.1:81", "10.1.2.3:1500"));
        assert!(!matches(&filter, "192.0.2.1:80", "10.1.2.3:2001"));
        assert!(!matches(&filter, "192.0.2.1:80", "11.1.2.3:1500"));
    }

    #[test]
    fn family_filter_uses_the_family_of_the_socket() {
        let v6 = Filter { family: Some(Family::V6), ..Filter::default() };
        let v4 = Filter { family: Some(Family::V4), ..Filter::default() };
        let mapped = ("[::ffff:192.0.2.1]:80", "[::ffff:10.1.2.3]:1500");
        assert!(matches(&v6, mapped.0, mapped.1));
        assert!(!matches(&v4, mapped.0, mapped.1));
        let ten = Filter {
            addresses: vec![(End::Remote, "10.0.0.0/8".parse().expect("addresses"))],
            ..v6
        };
        assert!(matches(&ten, mapped.0, mapped.1));
    }
}
