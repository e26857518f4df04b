//! The flags that select sockets. The conditions of all flags are combined with AND.

use clap::Args;

use super::{family, help::FILTERS};
use crate::filter::{Addresses, End, Filter, Ports, States};

/// The flags that select sockets. A socket must match each given flag. A list matches if one of its
/// items matches.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Local or remote port
    #[arg(long, value_name = "PORTS", help_heading = FILTERS)]
    port: Option<Ports>,

    /// Local port, such as 443 or 80,8000-8100
    #[arg(long, value_name = "PORTS")]
    local_port: Option<Ports>,

    /// Remote port
    #[arg(long, value_name = "PORTS", help_heading = FILTERS)]
    remote_port: Option<Ports>,

    /// Local or remote address or network
    #[arg(long, value_name = "ADDRESSES", help_heading = FILTERS)]
    address: Option<Addresses>,

    /// Local address or network
    #[arg(long, value_name = "ADDRESSES", help_heading = FILTERS)]
    local: Option<Addresses>,

    /// Remote address or network, such as 10.0.0.0/8
    #[arg(long, value_name = "ADDRESSES")]
    remote: Option<Addresses>,

    /// State, such as established,time-wait
    ///
    /// State, such as established,time-wait, in the spelling of the kernel, ss or RFC 9293.
    #[arg(long, value_name = "STATES", help_heading = FILTERS)]
    pub(super) state: Option<States>,

    /// IP version of the sockets
    ///
    /// IP version of the sockets. 6 includes IPv6 sockets with IPv4-mapped addresses, as `ss -6`
    /// does.
    #[arg(long, value_name = "4|6|all", default_value = "all", value_parser = family::parse, help_heading = FILTERS)]
    pub(super) family: family::Choice,
}

impl Flags {
    /// Returns the filter of all flags.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            family: self.family.0,
            states: self.state.unwrap_or_default(),
            ports: self.ports(),
            addresses: self.addresses(),
        }
    }

    /// Returns the conditions on ports.
    pub(super) fn ports(&self) -> Vec<(End, Ports)> {
        by_end([&self.port, &self.local_port, &self.remote_port])
    }

    /// Returns the conditions on addresses.
    pub(super) fn addresses(&self) -> Vec<(End, Addresses)> {
        by_end([&self.address, &self.local, &self.remote])
    }

    /// Returns the name of the first given flag, except `--family`.
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
