//! The other end of a connection: numbers that a script turns into segments.
//!
//! A peer sends nothing by itself. It only follows the kernel's segments, so that a script can send
//! the right acknowledgment, or a wrong one.

use std::net::SocketAddr;

use crate::traffic::segment::{ACK, FIN, RST, SYN, Segment};

/// The largest segment that a peer accepts.
const MSS: u16 = 1000;
/// The number and the length of the option for the largest segment.
const MSS_OPTION: [u8; 2] = [2, 4];
/// The number and the length of the option for timestamps.
const TIMESTAMP_OPTION: [u8; 2] = [8, 10];
/// The option that pads other options.
const NOP: u8 = 1;

/// The numbers of a connection, as the peer sees them.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) ours: SocketAddr,
    pub(super) theirs: SocketAddr,
    /// The sequence number of the peer's next byte, SYN or FIN.
    pub(super) next: u32,
    /// The sequence number of the kernel's next byte, SYN or FIN.
    pub(super) received: u32,
    /// The highest acknowledgment number of the kernel.
    pub(super) acknowledged: u32,
    /// Whether the kernel has sent a SYN-ACK.
    pub(super) has_syn_ack: bool,
    /// The flags of which the kernel has sent at least one.
    flags: u8,
    /// The number of bytes that the kernel has sent, each byte once.
    pub(super) bytes: u32,
    /// The receive window of the peer.
    pub(super) window: u16,
    /// The peer's next timestamp and the kernel's last timestamp, if the peer uses timestamps.
    timestamps: Option<[u32; 2]>,
}

impl Peer {
    pub(super) fn new(ours: SocketAddr, theirs: SocketAddr, first: u32, timestamps: bool) -> Self {
        Self {
            ours,
            theirs,
            next: first,
            received: 0,
            acknowledged: first,
            has_syn_ack: false,
            flags: 0,
            bytes: 0,
            window: 60_000,
            timestamps: timestamps.then_some([1_000, 0]),
        }
    }

    /// Begins another connection with the same addresses, with higher numbers.
    pub(super) fn again(&mut self) {
        let mut again = Self::new(self.ours, self.theirs, self.next.wrapping_add(1 << 20), false);
        again.timestamps = self.timestamps.map(|[own, _]| [own + 10_000, 0]);
        *self = again;
    }

    /// Returns whether a segment of the kernel belongs to this connection.
    pub(super) fn matches(&self, segment: &Segment) -> bool {
        (segment.from, segment.to) == (self.theirs, self.ours)
    }

    /// Returns whether the kernel has acknowledged everything.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.acknowledged == self.next
    }

    /// Returns whether the kernel has sent a SYN.
    pub(super) fn has_syn(&self) -> bool {
        self.flags & SYN != 0
    }

    /// Returns whether the kernel has sent its FIN, after all data.
    pub(super) fn has_fin(&self) -> bool {
        self.flags & FIN != 0
    }

    /// Returns whether the kernel has sent a RST.
    pub(super) fn has_reset(&self) -> bool {
        self.flags & RST != 0
    }

    /// Follows a segment of the kernel.
    pub(super) fn take(&mut self, segment: &Segment) {
        if segment.has(RST) {
            self.flags |= RST;
            return;
        }
        if segment.has(SYN) {
            self.flags |= SYN;
            self.has_syn_ack |= segment.has(ACK);
            self.received = segment.end();
        } else {
            let is_after = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() > 0;
            let end = segment.end();
            if is_after(end, self.received) && !is_after(segment.sequence, self.received) {
                self.flags |= segment.flags & FIN;
                self.bytes += end.wrapping_sub(self.received) - u32::from(segment.has(FIN));
                self.received = end;
            }
        }
        if segment.has(ACK)
            && segment.acknowledgment.wrapping_sub(self.acknowledged).cast_signed() > 0
        {
            self.acknowledged = segment.acknowledgment;
        }
        if let (Some([_, last]), Some(theirs)) = (&mut self.timestamps, timestamp(segment)) {
            *last = theirs;
        }
    }

    /// Returns the next segment, and moves the sequence number forward.
    pub(super) fn segment(&mut self, flags: u8, bytes: usize) -> Segment {
        let segment = self.segment_at(self.next, flags, bytes);
        self.next = segment.end();
        segment
    }

    /// Returns a segment with another sequence number.
    pub(super) fn segment_at(&mut self, sequence: u32, flags: u8, bytes: usize) -> Segment {
        let acknowledgment = if flags & ACK == 0 { 0 } else { self.received };
        Segment {
            acknowledgment,
            window: self.window,
            options: self.options(flags & SYN != 0),
            data: vec![0; bytes],
            ..Segment::new(self.ours, self.theirs, flags, sequence)
        }
    }

    fn options(&mut self, is_syn: bool) -> Vec<u8> {
        let mut options = Vec::new();
        if is_syn {
            options.extend(MSS_OPTION);
            options.extend(MSS.to_be_bytes());
        }
        if let Some([own, last]) = &mut self.timestamps {
            *own += 1;
            options.extend([NOP, NOP]);
            options.extend(TIMESTAMP_OPTION);
            options.extend(own.to_be_bytes());
            options.extend(last.to_be_bytes());
        }
        options
    }
}

/// Returns the sender's timestamp of a segment.
fn timestamp(segment: &Segment) -> Option<u32> {
    let mut options = segment.options.as_slice();
    loop {
        match options {
            [] | [0, ..] => return None,
            [NOP, rest @ ..] => options = rest,
            [8, 10, value @ ..] => {
                return value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
            }
            [_, length, ..] => options = options.get(usize::from(*length).max(2)..)?,
            [_] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        let address = |text: &str| text.parse().expect("an address and a port");
        Peer::new(address("10.77.1.1:9"), address("10.77.0.1:80"), 100, true)
    }

    #[test]
    fn peer_follows_the_numbers_of_the_kernel() {
        let (mut peer, mut kernel) = (peer(), peer());
        (kernel.ours, kernel.theirs, kernel.next) = (peer.theirs, peer.ours, u32::MAX);
        kernel.take(&peer.segment(SYN, 0));
        peer.take(&kernel.segment(SYN | ACK, 0));
        assert!(peer.has_syn_ack && peer.is_acknowledged());
        let data = kernel.segment(ACK, 3);
        peer.take(&data);
        peer.take(&data);
        peer.take(&kernel.segment(FIN | ACK, 2));
        assert_eq!((peer.received, peer.bytes, peer.has_fin()), (6, 5, true));
        assert!(peer.matches(&data) && !kernel.matches(&data));
    }

    #[test]
    fn timestamps_are_found_after_other_options() {
        let mut kernel = peer();
        let syn = kernel.segment(SYN, 0);
        assert_eq!(timestamp(&syn), Some(1_001));
        let none = Segment { options: vec![2, 4, 3, 232, 1, 1, 1, 0], ..syn };
        assert_eq!(timestamp(&none), None);
    }
}
