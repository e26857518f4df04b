//! Network devices of the thread's namespace: addresses, and the state up.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
};

use socket2::{Domain, Socket, Type};

/// Returns a request of the ioctls for network devices.
///
/// # Panics
/// Panics if the name is too long for a device.
pub(crate) fn request(name: &str, value: libc::__c_anonymous_ifr_ifru) -> libc::ifreq {
    let mut ifr_name = [0; libc::IFNAMSIZ];
    assert!(name.len() < ifr_name.len(), "{name} is too long for a device");
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    libc::ifreq { ifr_name, ifr_ifru: value }
}

/// Sets a device up.
pub(crate) fn up(name: &str) -> io::Result<()> {
    let up = i16::try_from(libc::IFF_UP).expect("the flag is 1");
    let request = request(name, libc::__c_anonymous_ifr_ifru { ifru_flags: up });
    set(Domain::IPV4, libc::SIOCSIFFLAGS, &request)
}

/// Gives a device an IPv4 address and the length of its network's prefix.
pub(crate) fn set_v4(name: &str, address: Ipv4Addr, prefix: u32) -> io::Result<()> {
    let value = |address: Ipv4Addr| {
        let mut sa_data = [0; 14];
        for (to, from) in sa_data[2..6].iter_mut().zip(address.octets()) {
            *to = from.cast_signed();
        }
        let sa_family = libc::sa_family_t::try_from(libc::AF_INET).expect("the family is 2");
        libc::__c_anonymous_ifr_ifru { ifru_addr: libc::sockaddr { sa_family, sa_data } }
    };
    set(Domain::IPV4, libc::SIOCSIFADDR, &request(name, value(address)))?;
    let mask = Ipv4Addr::from(!(u32::MAX >> prefix));
    set(Domain::IPV4, libc::SIOCSIFNETMASK, &request(name, value(mask)))
}

/// Gives the device with this index an IPv6 address and the length of its network's prefix.
pub(crate) fn add_v6(index: libc::c_int, address: Ipv6Addr, prefix: u32) -> io::Result<()> {
    let request = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr { s6_addr: address.octets() },
        ifr6_prefixlen: prefix,
        ifr6_ifindex: index,
    };
    set(Domain::IPV6, libc::SIOCSIFADDR, &request)
}

/// Returns the index of a device.
pub(crate) fn index(name: &str) -> io::Result<libc::c_int> {
    let index = nix::net::if_::if_nametoindex(name)?;
    libc::c_int::try_from(index).map_err(io::Error::other)
}

/// Makes an ioctl that only reads its request.
fn set<T>(domain: Domain, code: libc::Ioctl, request: &T) -> io::Result<()> {
    let any_socket = Socket::new(domain, Type::DGRAM, None)?;
    // SAFETY: the callers' ioctls read one request of their type, which outlives the call, and
    // write nothing.
    let result = unsafe { libc::ioctl(any_socket.as_raw_fd(), code, std::ptr::from_ref(request)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
