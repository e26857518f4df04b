//! Filters events and durations. The filter selects a duration if the filter selects the event that
//! ends the duration. The BPF programs evaluate the filter.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use ipnet::IpNet;
use tcpstate_common::filter::{
    END_EITHER, END_LOCAL, END_REMOTE, FILTER_ADDRESS, FILTER_CGROUP, FILTER_COMM, FILTER_DURATION,
    FILTER_ITEMS, FILTER_LOCAL, FILTER_LOCAL_PORT, FILTER_MOVES, FILTER_NETWORKS,
    FILTER_NO_CHOSEN_PORT, FILTER_PID, FILTER_PORT, FILTER_REMOTE, FILTER_REMOTE_PORT, FILTER_TREE,
    FILTER_UID, FilterConfig, Network, PORT_SETS, PORTS_EITHER, PORTS_LOCAL, PORTS_REMOTE, PortSet,
};

use super::{Addresses, End, Moves, Names, Numbers, Ports};

/// A filter of events. The default filter matches all events. If a field of an event is unknown, a
/// condition on the field does not match.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Conditions on ports, at most one for each side of the connection.
    pub ports: Vec<(End, Ports)>,
    /// Conditions on addresses, at most one for each side of the connection.
    pub addresses: Vec<(End, Addresses)>,
    /// The transitions that match.
    pub moves: Option<Moves>,
    /// The process ids that match the owner of the socket.
    pub pids: Option<Numbers>,
    /// The id of a process. The process and its descendants match the owner of the socket.
    pub program: Option<u32>,
    /// The process names that match the owner of the socket.
    pub comms: Option<Names>,
    /// The user ids that match the socket.
    pub uids: Option<Numbers>,
    /// The ids of the cgroups that match. Sockets in descendants of these cgroups also match.
    pub cgroups: Option<Vec<u64>>,
    /// The minimum time that a socket must have been in the state before the transition.
    pub min_duration: Option<Duration>,
}

/// The error if a filter has more networks than the BPF programs can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot use --address, --local and --remote: they have {0} items, and the limit is {FILTER_NETWORKS}"
)]
pub struct TooManyNetworks(pub usize);

/// An event filter in the layout that the BPF programs read.
#[derive(Clone, Debug)]
pub struct KernelFilter {
    pub(crate) config: FilterConfig,
    pub(crate) ports: Vec<PortSet>,
}

impl EventFilter {
    /// Returns whether the filter matches all events.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        let Self { ports, addresses, moves, pids, program, comms, uids, cgroups, min_duration } =
            self;
        ports.is_empty()
            && addresses.is_empty()
            && moves.is_none()
            && pids.is_none()
            && program.is_none()
            && comms.is_none()
            && uids.is_none()
            && cgroups.is_none()
            && min_duration.is_none()
    }

    /// Returns an error if the filter has more networks than the BPF programs can check.
    pub fn check(&self) -> Result<(), TooManyNetworks> {
        let networks = self.addresses.iter().map(|(_, addresses)| addresses.networks().len()).sum();
        if networks <= FILTER_NETWORKS { Ok(()) } else { Err(TooManyNetworks(networks)) }
    }

    /// Converts the filter to the layout that the BPF programs read. The function omits items that
    /// do not fit. The function [`check`](Self::check) reports such items.
    ///
    /// `chosen` is the range from which the kernel chooses local ports automatically. The value is
    /// `None` if the range is unknown.
    pub(crate) fn for_kernel(&self, chosen: Option<&RangeInclusive<u16>>) -> KernelFilter {
        let mut filter =
            KernelFilter { config: FilterConfig::NONE, ports: vec![PortSet::EMPTY; PORT_SETS] };
        let config = &mut filter.config;
        for (end, ports) in &self.ports {
            let (condition, set) = match end {
                End::Local => (FILTER_LOCAL_PORT, PORTS_LOCAL),
                End::Remote => (FILTER_REMOTE_PORT, PORTS_REMOTE),
                End::Either => (FILTER_PORT, PORTS_EITHER),
            };
            config.conditions |= condition;
            add(&mut filter.ports[set as usize], ports);
        }
        let may_match_chosen_port = |(end, ports): &(End, Ports)| {
            let meets = |chosen: &RangeInclusive<u16>| {
                let overlap = |range: &RangeInclusive<u16>| {
                    range.start() <= chosen.end() && chosen.start() <= range.end()
                };
                ports.ranges().iter().any(overlap)
            };
            *end != End::Remote && chosen.is_none_or(meets)
        };
        if !self.ports.iter().any(may_match_chosen_port) {
            config.conditions |= FILTER_NO_CHOSEN_PORT;
        }
        for (end, addresses) in &self.addresses {
            let (condition, end) = match end {
                End::Local => (FILTER_LOCAL, END_LOCAL),
                End::Remote => (FILTER_REMOTE, END_REMOTE),
                End::Either => (FILTER_ADDRESS, END_EITHER),
            };
            config.conditions |= condition;
            let free = config.network.iter_mut().skip(config.networks as usize);
            for (place, from) in free.zip(addresses.networks()) {
                *place = network(*from, end);
                config.networks += 1;
            }
        }
        if let Some(moves) = self.moves {
            config.conditions |= FILTER_MOVES;
            config.moves = moves.bits();
        }
        let mut list = |condition, is_given| {
            config.conditions |= if is_given { condition } else { 0 };
        };
        list(FILTER_PID, self.pids.is_some());
        list(FILTER_TREE, self.program.is_some());
        list(FILTER_COMM, self.comms.is_some());
        list(FILTER_UID, self.uids.is_some());
        list(FILTER_CGROUP, self.cgroups.is_some());
        list(FILTER_DURATION, self.min_duration.is_some());
        config.program = self.program.unwrap_or_default();
        config.pids = fill(&mut config.pid, self.pids.as_ref().map_or(&[], Numbers::items));
        config.comms = fill(&mut config.comm, self.comms.as_ref().map_or(&[], Names::items));
        config.uids = fill(&mut config.uid, self.uids.as_ref().map_or(&[], Numbers::items));
        config.cgroups = fill(&mut config.cgroup, self.cgroups.as_deref().unwrap_or_default());
        let nanos = self.min_duration.unwrap_or_default().as_nanos();
        config.min_duration = u64::try_from(nanos).unwrap_or(u64::MAX);
        filter
    }
}

/// Copies items into an array of fixed length and returns the number of items.
fn fill<T: Copy>(places: &mut [T; FILTER_ITEMS], items: &[T]) -> u32 {
    let pairs = places.iter_mut().zip(items);
    let count = pairs.map(|(place, item)| *place = *item).count();
    u32::try_from(count).expect("there are few places")
}

fn add(set: &mut PortSet, ports: &Ports) {
    for port in ports.ranges().iter().cloned().flatten() {
        set.0[usize::from(port >> 6)] |= 1 << (port & 63);
    }
}

fn network(network: IpNet, end: u32) -> Network {
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let mut mask = mapped(network.netmask());
    if network.addr().is_ipv4() {
        // The first 12 bytes are equal in all IPv4-mapped addresses.
        mask[..12].fill(0xff);
    }
    Network {
        first: halves(mapped(network.network())),
        mask: halves(mask),
        end,
        is_v6: network.addr().is_ipv6().into(),
    }
}

/// Returns both halves of an address in memory order.
fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let half = |at: usize| u64::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
    [half(0), half(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_ipv4_are_mapped_and_networks_of_ipv6_are_not() {
        let bytes = |half: u64| half.to_ne_bytes();
        let v4 = network("10.1.2.3/8".parse().expect("a network"), END_LOCAL);
        assert_eq!(
            (bytes(v4.first[0]), bytes(v4.first[1])),
            ([0; 8], [0, 0, 0xff, 0xff, 10, 0, 0, 0])
        );
        let mask = [0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0];
        assert_eq!((bytes(v4.mask[0]), bytes(v4.mask[1])), ([0xff; 8], mask));
        let v6 = network("2001:db8::/32".parse().expect("a network"), END_REMOTE);
        assert_eq!(bytes(v6.first[0]), [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0]);
        assert_eq!((v6.mask[1], v6.is_v6, v4.is_v6), (0, 1, 0));
    }

    #[test]
    fn only_given_conditions_are_set() {
        assert!(EventFilter::default().matches_all());
        let none = EventFilter::default().for_kernel(None).config;
        assert_eq!(none, FilterConfig { conditions: FILTER_NO_CHOSEN_PORT, ..FilterConfig::NONE });
        let filter = EventFilter {
            ports: vec![(End::Local, "80,443".parse().expect("ports"))],
            pids: Some("7,8".parse().expect("numbers")),
            min_duration: Some(Duration::from_millis(3)),
            ..EventFilter::default()
        };
        assert!(!filter.matches_all());
        let KernelFilter { config, ports } = filter.for_kernel(None);
        for (chosen, excludes_chosen_ports) in
            [(1000..=2000, true), (443..=500, false), (1..=65535, false)]
        {
            let conditions = filter.for_kernel(Some(&chosen)).config.conditions;
            assert_eq!(conditions & FILTER_NO_CHOSEN_PORT != 0, excludes_chosen_ports);
        }
        assert_eq!(config.conditions, FILTER_LOCAL_PORT | FILTER_PID | FILTER_DURATION);
        assert_eq!((config.pids, &config.pid[..3]), (2, &[7, 8, 0][..]));
        assert_eq!(config.min_duration, 3_000_000);
        assert_eq!(ports[PORTS_LOCAL as usize].0[1], 1 << (80 - 64));
        assert_eq!(ports[PORTS_REMOTE as usize], PortSet::EMPTY);
        let tree = EventFilter { program: Some(9), ..EventFilter::default() };
        assert!(!tree.matches_all());
        let config = tree.for_kernel(None).config;
        assert_eq!((config.conditions, config.program), (FILTER_TREE | FILTER_NO_CHOSEN_PORT, 9));
    }

    #[test]
    fn too_many_networks_are_refused() {
        let list = |count: usize| vec!["10.0.0.1"; count].join(",").parse().expect("addresses");
        let filter = |count| EventFilter {
            addresses: vec![(End::Local, list(count)), (End::Either, list(1))],
            ..EventFilter::default()
        };
        assert_eq!(filter(FILTER_NETWORKS - 1).check(), Ok(()));
        let too_many = FILTER_NETWORKS + 1;
        assert_eq!(filter(FILTER_NETWORKS).check(), Err(TooManyNetworks(too_many)));
        assert_eq!(filter(FILTER_NETWORKS).for_kernel(None).config.networks, 32);
    }
}
