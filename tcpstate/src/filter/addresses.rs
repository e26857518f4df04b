//! Sets of addresses, such as `10.0.0.0/8,2001:db8::/32`. An address without a prefix length means
//! only that address.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;

use super::list;

/// A set of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(Vec<IpNet>);

impl Addresses {
    /// Returns whether the set contains a socket's address.
    ///
    /// An IPv4 network also contains IPv4-mapped IPv6 addresses, as in the kernel and in `ss`. An
    /// IPv6 network contains only addresses of IPv6 sockets. tcpstate does not compare an IPv6
    /// network with the address of an IPv4 socket.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| match (network, address) {
            (IpNet::V4(network), IpAddr::V4(address)) => network.contains(&address),
            (IpNet::V6(network), IpAddr::V6(address)) => network.contains(&address),
            (IpNet::V4(network), IpAddr::V6(address)) => {
                address.to_ipv4_mapped().is_some_and(|address| network.contains(&address))
            }
            (IpNet::V6(_), IpAddr::V4(_)) => false,
        })
    }

    pub(crate) fn networks(&self) -> &[IpNet] {
        &self.0
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        list::parse(text, network).map(Self)
    }
}

fn network(word: &str) -> Result<IpNet, String> {
    let Some((address, length)) = word.split_once('/') else {
        return word.parse::<IpAddr>().map(IpNet::from).map_err(|_| no_address(word));
    };
    let address: IpAddr = address.parse().map_err(|_| no_address(address))?;
    let longest = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
    let length: u8 = length.parse().map_err(|_| {
        format!("has no prefix length after the slash: expected a number from 0 to {longest}")
    })?;
    IpNet::new(address, length)
        .map_err(|_| format!("has too long a prefix: expected a number from 0 to {longest}"))
}

fn no_address(word: &str) -> String {
    let hint = match word {
        _ if word.starts_with('[') => ": leave out the brackets and the port",
        _ if word.contains('%') => ": leave out the interface after the %",
        _ => ": expected one such as 192.0.2.1 or 2001:db8::1, or a network such as 10.0.0.0/8",
    };
    format!("is not an IP address{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_the_addresses_that_the_kernel_matches() {
        for (set, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.0.0.1", true),
            ("10.0.0.0/8,192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "192.0.2.8", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "::ffff:10.0.0.1", true),
            ("::/0", "10.0.0.1", false),
            ("::ffff:10.0.0.0/104", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let addresses: Addresses = set.parse().expect(set);
            let address = address.parse().expect(address);
            assert_eq!(addresses.contain(address), is_in, "{set}: {address}");
        }
    }

    #[test]
    fn invalid_networks_are_refused_with_their_position() {
        for (text, reason) in [
            ("10.0.0.0/8,10.0.0", "at character 12: '10.0.0' is not an IP address: expected"),
            ("10.0.0.0/33", "at character 1: '10.0.0.0/33' has too long a prefix"),
            ("::1/129", "at character 1: '::1/129' has too long a prefix"),
            ("10.0.0.0/", "at character 1: '10.0.0.0/' has no prefix length"),
            ("10.0.0.0/255.0.0.0", "at character 1: '10.0.0.0/255.0.0.0' has no prefix length"),
            ("[::1]:80", "at character 1: '[::1]:80' is not an IP address: leave out the brackets"),
            (
                "fe80::1%eth0",
                "at character 1: 'fe80::1%eth0' is not an IP address: leave out the int",
            ),
            ("localhost", "at character 1: 'localhost' is not an IP address"),
        ] {
            let error = text.parse::<Addresses>().expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
