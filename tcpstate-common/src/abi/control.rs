//! The control word, and other state that changes while the programs run. User space writes the
//! control word, and the BPF programs read the word once per event.

/// Bit of [`Control::word`]: the index of the active buffer, in which the programs count.
pub const CONTROL_BUFFER: u32 = 1 << 0;
/// Bit of [`Control::word`], called the scan flag: a scan is running. While the scan flag is set,
/// the first observation of a socket adds the socket to the scan's base counts.
///
/// The scan flag and [`CONTROL_BUFFER`] lie in one byte, so that one store changes both. An event
/// therefore reads both bits as they were before the store, or both bits as they are after the
/// store.
pub const CONTROL_SCAN: u32 = 1 << 1;
/// Bit of [`Control::word`]: the timer hooks report time-wait sockets.
pub const CONTROL_TIME_WAIT_TIMERS: u32 = 1 << 2;
/// Bit of [`Control::word`]: time-wait sockets are counted, so a scan also visits them.
pub const CONTROL_TIME_WAIT: u32 = 1 << 3;
/// Bit of [`Control::word`]: request sockets are counted, so a scan also visits them.
pub const CONTROL_SYN_RECV: u32 = 1 << 4;
/// Bit of [`Control::word`]: the timer hooks report request sockets.
pub const CONTROL_SYN_RECV_TIMERS: u32 = 1 << 5;
/// Bit of [`Control::word`]: events are written to the ring, if events are enabled, and the
/// tracking program counts the events that it handles. This bit and [`CONTROL_BUFFER`] lie in one
/// byte, so that events start and stop exactly when the active buffer changes.
pub const CONTROL_EVENTS: u32 = 1 << 6;

/// The number of bits of [`Control::word`] that are in use.
#[cfg(test)]
const CONTROL_BITS: u32 = 7;

/// The state that changes while the programs run, in one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Control {
    /// Unused: the kernel places the value of a map 8 bytes before the end of a cache line (`struct
    /// bpf_array`).
    pub unused: u64,
    /// The control bits, such as [`CONTROL_BUFFER`] and [`CONTROL_SCAN`], which user space writes.
    pub word: u32,
    /// Not 0 while a test makes the programs lose events: see
    /// [`LossPattern::Switched`](super::LossPattern::Switched).
    pub losing: u32,
    /// Address of the `struct net` with the inode [`Config::netns`]; 0 until a program first finds
    /// it and stores it here.
    ///
    /// The programs compare a socket's `struct net` with this address, so that most events do not
    /// read the namespace's inode. A read of the inode is slow, because the inode lies next to a
    /// reference count that all CPUs write.
    pub own_net: u64,
    /// Addresses of two `struct proto` of TCP sockets, usually the IPv4 and the IPv6 protocol. A
    /// program stores the address of a `struct proto` when it first counts a socket with that
    /// `struct proto`.
    ///
    /// The programs compare a socket's `skc_prot` with these addresses, so that most events do not
    /// read `sk_protocol`. Events need no other field in the cache line of `sk_protocol`.
    pub tcp_protos: [u64; 2],
}

// SAFETY: `Control` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Control {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bits_are_contiguous_and_do_not_overlap() {
        let bits = [
            CONTROL_BUFFER,
            CONTROL_SCAN,
            CONTROL_TIME_WAIT_TIMERS,
            CONTROL_TIME_WAIT,
            CONTROL_SYN_RECV,
            CONTROL_SYN_RECV_TIMERS,
            CONTROL_EVENTS,
        ];
        let sum: u32 = bits.iter().sum();
        let union = bits.iter().fold(0, |union, bit| union | bit);
        assert!(bits.iter().all(|bit| bit.is_power_of_two()));
        assert_eq!(sum, union, "two bits overlap");
        assert_eq!(union, (1 << CONTROL_BITS) - 1, "a gap between the bits");
        assert!(union < 1 << u8::BITS, "one store of a byte moves all of them");
    }
}
