//! TCP segments as bytes, with an IPv4 or IPv6 header.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The number of the protocol TCP in IP headers.
const TCP: u8 = 6;
/// The length of an IPv4 header without options.
const V4_BYTES: usize = 20;
/// The length of an IPv6 header without extension headers.
const V6_BYTES: usize = 40;
/// The length of a TCP header without options.
const TCP_BYTES: usize = 20;
/// The time to live, or hop limit, of the packets.
const HOPS: u8 = 64;

/// The flag of the last byte of a stream.
pub const FIN: u8 = 0x01;
/// The flag of the first segment of a direction.
pub const SYN: u8 = 0x02;
/// The flag of a segment that aborts the connection.
pub const RST: u8 = 0x04;
/// The flag of data that the receiver should hand to its program.
pub const PSH: u8 = 0x08;
/// The flag of a segment with an acknowledgment number.
pub const ACK: u8 = 0x10;

/// A TCP segment and its addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    /// The source address.
    pub from: SocketAddr,
    /// The destination address, of the family of the source address.
    pub to: SocketAddr,
    /// The sequence number of the first byte, or of the SYN or FIN.
    pub sequence: u32,
    /// The acknowledgment number. It has a meaning only with the flag [`ACK`].
    pub acknowledgment: u32,
    /// The sum of the flags.
    pub flags: u8,
    /// The receive window, without scaling.
    pub window: u16,
    /// The options, padded to a multiple of four bytes.
    pub options: Vec<u8>,
    /// The data.
    pub data: Vec<u8>,
}

impl Segment {
    /// Returns a segment without data, options and acknowledgment number.
    #[must_use]
    pub fn new(from: SocketAddr, to: SocketAddr, flags: u8, sequence: u32) -> Self {
        let (options, data) = (Vec::new(), Vec::new());
        Self { from, to, sequence, acknowledgment: 0, flags, window: u16::MAX, options, data }
    }

    /// Returns whether all of these flags are set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The sequence number after this segment. SYN and FIN each take one number.
    ///
    /// # Panics
    /// Never panics: a packet is small.
    #[must_use]
    pub fn end(&self) -> u32 {
        let bytes = u32::try_from(self.data.len()).expect("a packet is small");
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.sequence.wrapping_add(bytes + flags)
    }

    /// Returns the TCP header and the data.
    ///
    /// # Panics
    /// Panics if the options are longer than 40 bytes or not padded.
    #[must_use]
    pub fn tcp(&self) -> Vec<u8> {
        let length = TCP_BYTES + self.options.len();
        assert!(
            length.is_multiple_of(4) && length <= 60,
            "{} bytes of options",
            length - TCP_BYTES
        );
        let mut bytes = vec![0; TCP_BYTES];
        bytes[0..2].copy_from_slice(&self.from.port().to_be_bytes());
        bytes[2..4].copy_from_slice(&self.to.port().to_be_bytes());
        bytes[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.acknowledgment.to_be_bytes());
        bytes[12] = u8::try_from(length / 4).expect("at most 15 words") << 4;
        bytes[13] = self.flags;
        bytes[14..16].copy_from_slice(&self.window.to_be_bytes());
        bytes.extend_from_slice(&self.options);
        bytes.extend_from_slice(&self.data);
        let checksum = checksum(&[&self.pseudo_header(bytes.len()), &bytes]);
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Returns the IP packet that contains the segment.
    ///
    /// # Panics
    /// Panics if the families of the two addresses differ, or if the packet is longer than 64 KiB.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let tcp = self.tcp();
        let length = |bytes: usize| u16::try_from(bytes).expect("a packet is small").to_be_bytes();
        let mut packet;
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                packet = vec![0; V4_BYTES];
                packet[0] = 0x45;
                packet[2..4].copy_from_slice(&length(V4_BYTES + tcp.len()));
                packet[8..10].copy_from_slice(&[HOPS, TCP]);
                packet[12..16].copy_from_slice(&from.octets());
                packet[16..20].copy_from_slice(&to.octets());
                let checksum = checksum(&[&packet]);
                packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                packet = vec![0; V6_BYTES];
                packet[0] = 0x60;
                packet[4..6].copy_from_slice(&length(tcp.len()));
                packet[6..8].copy_from_slice(&[TCP, HOPS]);
                packet[8..24].copy_from_slice(&from.octets());
                packet[24..40].copy_from_slice(&to.octets());
            }
            (from, to) => panic!("{from} and {to} are of two families"),
        }
        packet.extend(tcp);
        packet
    }

    /// Parses an IP packet. Returns `None` if the packet contains no complete TCP segment.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (from, to, tcp): (IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
            4 => {
                let header = usize::from(packet[0] & 0x0f) * 4;
                let length = usize::from(u16_at(packet, 2)?);
                let address = |at| Some(Ipv4Addr::from(u32_at(packet, at)?));
                let tcp = packet.get(header..length)?;
                (*packet.get(9)? == TCP).then_some((
                    address(12)?.into(),
                    address(16)?.into(),
                    tcp,
                ))?
            }
            6 => {
                let address = |at: usize| {
                    let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(Ipv6Addr::from(octets))
                };
                let length = V6_BYTES + usize::from(u16_at(packet, 4)?);
                let tcp = packet.get(V6_BYTES..length)?;
                (*packet.get(6)? == TCP).then_some((
                    address(8)?.into(),
                    address(24)?.into(),
                    tcp,
                ))?
            }
            _ => return None,
        };
        let header = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            from: (from, u16_at(tcp, 0)?).into(),
            to: (to, u16_at(tcp, 2)?).into(),
            sequence: u32_at(tcp, 4)?,
            acknowledgment: u32_at(tcp, 8)?,
            flags: tcp[13] & (FIN | SYN | RST | PSH | ACK),
            window: u16_at(tcp, 14)?,
            options: tcp.get(TCP_BYTES..header)?.to_vec(),
            data: tcp.get(header..)?.to_vec(),
        })
    }

    /// The data before the segment that the checksum also covers (RFC 9293, section 3.1).
    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for address in [self.from, self.to] {
            match address.ip() {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        bytes.extend([0, TCP]);
        bytes.extend(u16::try_from(length).expect("a packet is small").to_be_bytes());
        bytes
    }
}

impl fmt::Debug for Segment {
    /// Shows one line, for example `10.77.0.1:80 > 10.77.1.1:9 SYN ACK seq 7 ack 8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.from, self.to)?;
        let names = [(SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (ACK, "ACK")];
        for (_, name) in names.into_iter().filter(|&(flag, _)| self.has(flag)) {
            write!(f, " {name}")?;
        }
        write!(f, " seq {}", self.sequence)?;
        if self.has(ACK) {
            write!(f, " ack {}", self.acknowledgment)?;
        }
        if !self.data.is_empty() {
            write!(f, " {} bytes", self.data.len())?;
        }
        Ok(())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The internet checksum over parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    let sum: u32 = parts.iter().flat_map(|part| part.chunks(2)).map(word).sum();
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    !u16::try_from(fold(fold(sum))).expect("two folds leave 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: &str, to: &str, data: &[u8]) -> Segment {
        let address = |text: &str| text.parse().expect("an address and a port");
        Segment {
            acknowledgment: 0x0102_0304,
            options: vec![2, 4, 5, 0xb4],
            data: data.to_vec(),
            ..Segment::new(address(from), address(to), SYN | ACK, u32::MAX)
        }
    }

    #[test]
    fn segments_are_parsed_from_their_packets() {
        for (from, to) in [("10.77.0.1:80", "10.77.1.2:65535"), ("[fd77::1]:1", "[fd77::9:7]:2")] {
            let segment = segment(from, to, b"odd");
            let mut packet = segment.packet();
            assert_eq!(Segment::parse(&packet), Some(segment.clone()));
            let cut = packet.len() - 1;
            assert_eq!(Segment::parse(&packet[..cut]), None, "a packet without its last byte");
            packet.extend([0; 9]);
            assert_eq!(Segment::parse(&packet), Some(segment), "bytes after the packet");
        }
    }

    #[test]
    fn sum_with_the_checksum_is_zero() {
        for (from, to) in [("10.77.0.1:80", "10.77.1.2:65535"), ("[fd77::1]:1", "[fd77::9:7]:2")] {
            let segment = segment(from, to, b"odd");
            let tcp = segment.tcp();
            assert_eq!(checksum(&[&segment.pseudo_header(tcp.len()), &tcp]), 0);
        }
        // The example of RFC 1071, section 3.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn flags_and_data_take_sequence_numbers() {
        let mut segment = segment("10.77.0.1:80", "10.77.1.2:9", b"odd");
        assert_eq!(segment.end(), 3, "the SYN, three bytes, and the numbers begin again at zero");
        segment.flags = FIN | ACK;
        assert_eq!(segment.end(), 3);
        segment.flags = ACK;
        assert_eq!(segment.end(), 2);
    }
}
