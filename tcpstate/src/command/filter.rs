//! The flags that say which sockets are meant: all of them have to hold.

use clap::Args;

use super::family;
use crate::filter::{Addresses, End, Filter, Ports, States};

/// Which sockets: all conditions have to hold, and of each list one item.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (all have to hold; lists as in 80,443,8000-8100)")]
#[group(skip)]
pub(super) struct Flags {
    /// Local or remote port
    #[arg(long, value_name = "PORTS")]
    port: Option<Ports>,

    /// Local port
    #[arg(long, value_name = "PORTS")]
    local_port: Option<Ports>,

    /// Remote port
    #[arg(long, value_name = "PORTS")]
    remote_port: Option<Ports>,

    /// Local or remote address, or network: 10.0.0.0/8,2001:db8::/32
    #[arg(long, value_name = "ADDRESSES")]
    address: Option<Addresses>,

    /// Local address or network
    #[arg(long, value_name = "ADDRESSES")]
    local: Option<Addresses>,

    /// Remote address or network
    #[arg(long, value_name = "ADDRESSES")]
    remote: Option<Addresses>,

    /// State, as the kernel, ss or RFC 9293 spell it: established,TIME-WAIT
    #[arg(long, value_name = "STATES")]
    pub(super) state: Option<States>,

    /// Kind of sockets: IPv4, IPv6 (as in ss -6, those with IPv4 connections included), or both
    #[arg(long, value_name = "4|6|all", default_value = "all", value_parser = family::parse)]
    pub(super) family: family::Choice,
}

impl Flags {
    /// What they say together.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            family: self.family.0,
            states: self.state.unwrap_or_default(),
            ports: self.ports(),
            addresses: self.addresses(),
        }
    }

    /// Conditions on ports.
    pub(super) fn ports(&self) -> Vec<(End, Ports)> {
        by_end([&self.port, &self.local_port, &self.remote_port])
    }

    /// Conditions on addresses.
    pub(super) fn addresses(&self) -> Vec<(End, Addresses)> {
        by_end([&self.address, &self.local, &self.remote])
    }

    /// The first flag that is given, the family's apart.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            (self.port.is_some(), "--port"),
            (self.local_port.is_some(), "--local-port"),
            (self.remote_port.is_some(), "--remote-port"),
            (self.address.is_some(), "--address"),
            (self.local.is_some(), "--local"),
            (self.remote.is_some(), "--remote"),
            (self.state.is_some(), "--state"),
        ];
        flags.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }
}

fn by_end<T: Clone>(lists: [&Option<T>; 3]) -> Vec<(End, T)> {
    let ends = [End::Either, End::Local, End::Remote];
    ends.into_iter().zip(lists).filter_map(|(end, list)| Some((end, list.clone()?))).collect()
}
