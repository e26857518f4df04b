//! The flags that say which sockets are meant: all of them have to hold.

use clap::Args;

use super::family;
use crate::filter::{Addresses, End, Filter, Ports, States};

/// Which sockets: all conditions have to hold, and of each list one item.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (all have to hold; lists as in 80,443,8000-8100)")]
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
    state: Option<States>,

    /// Kind of sockets: IPv4, IPv6 (as in ss -6, those with IPv4 connections included), or both
    #[arg(long, value_name = "4|6|all", default_value = "all", value_parser = family::parse)]
    family: family::Choice,
}

impl Flags {
    /// What they say together.
    pub(super) fn filter(&self) -> Filter {
        let ends = [End::Either, End::Local, End::Remote];
        let ports = [&self.port, &self.local_port, &self.remote_port];
        let addresses = [&self.address, &self.local, &self.remote];
        Filter {
            family: self.family.0,
            states: self.state.unwrap_or_default(),
            ports: given(ends, ports),
            addresses: given(ends, addresses),
        }
    }
}

fn given<T: Clone>(ends: [End; 3], lists: [&Option<T>; 3]) -> Vec<(End, T)> {
    ends.into_iter().zip(lists).filter_map(|(end, list)| Some((end, list.clone()?))).collect()
}
