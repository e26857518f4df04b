//! A tun device: the test reads the packets that the kernel sends, and writes the packets that the
//! kernel receives.
//!
//! The kernel under test has one end of each connection. The other end is only segments that the
//! test writes, so it can be in any state and can break every rule of TCP.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Family, segment::Segment};
use crate::netns::device;

const NAME: &str = "tun0";
/// The longest packet that the device carries.
const MTU: usize = 1500;

/// A tun device in the namespace of the thread that opened it. Dropping the value removes the
/// device.
#[derive(Debug)]
pub struct Tun(File);

impl Tun {
    /// Creates the device `tun0` with the two addresses of [`Tun::address`].
    ///
    /// # Errors
    /// Returns an error if the kernel has no tun devices, or if the caller is not root.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        let flags = libc::IFF_TUN | libc::IFF_NO_PI;
        let flags = libc::c_short::try_from(flags).expect("the flags have 16 bits");
        let request = device::request(NAME, libc::__c_anonymous_ifr_ifru { ifru_flags: flags });
        // SAFETY: TUNSETIFF reads one ifreq and writes its name and flags. The ifreq outlives the
        // call, and the kernel copies it.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let (IpAddr::V4(v4), IpAddr::V6(v6)) =
            (Self::address(Family::V4), Self::address(Family::V6))
        else {
            unreachable!("each family has its own address");
        };
        device::set_v4(NAME, v4, 16)?;
        device::up(NAME)?;
        device::add_v6(device::index(NAME)?, v6, 64)?;
        Ok(Self(file))
    }

    /// The kernel's address on the device.
    #[must_use]
    pub fn address(family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, 77, 0, 1).into(),
            Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// The address of the peer with this number. There are 60,000 peers of each family.
    ///
    /// # Panics
    /// Panics if the number is 60,000 or higher.
    #[must_use]
    pub fn peer(family: Family, number: u64) -> IpAddr {
        assert!(number < 60_000, "there is no peer {number}");
        let byte = |number: u64| u8::try_from(number).expect("it is below 251");
        let [high, low] = [byte(number / 250 + 1), byte(number % 250 + 1)];
        match family {
            Family::V4 => Ipv4Addr::new(10, 77, high, low).into(),
            Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, high.into(), low.into()).into(),
        }
    }

    /// Lets the kernel receive a segment. When the function returns, the kernel has processed the
    /// segment, unless a program is using the segment's socket at this moment.
    ///
    /// # Panics
    /// Panics if the device is down.
    pub fn send(&self, segment: &Segment) {
        let packet = segment.packet();
        let written = (&self.0).write(&packet).expect("the device is up");
        assert_eq!(written, packet.len());
    }

    /// Waits for the next segment that the kernel sends. Returns `None` after the time, or if the
    /// packet is not a TCP segment.
    ///
    /// # Panics
    /// Panics if the device fails.
    #[must_use]
    pub fn receive(&self, patience: Duration) -> Option<Segment> {
        let timeout = PollTimeout::try_from(patience).expect("it is below a month");
        let mut files = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut files, timeout).expect("poll() takes a file") == 0 {
            return None;
        }
        let mut packet = [0; MTU];
        let length = (&self.0).read(&mut packet).expect("the device has a packet");
        Segment::parse(&packet[..length])
    }
}
