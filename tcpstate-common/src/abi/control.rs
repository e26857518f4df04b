//! What changes while the programs run. User space writes the control word; the programs read it once
//! an event.

/// Bit of [`Control::word`]: which of the two buffers takes the counts.
pub const CONTROL_BUFFER: u32 = 1 << 0;
/// Bit of [`Control::word`], the scan flag: a scan runs, and first observations count to its base.
///
/// It shares a byte with [`CONTROL_BUFFER`], so that one store moves both: an event sees either the
/// time before a scan or the time of the scan, in both respects.
pub const CONTROL_SCAN: u32 = 1 << 1;
/// Bit of [`Control::word`]: timers report time-wait sockets.
pub const CONTROL_TIME_WAIT_TIMERS: u32 = 1 << 2;
/// Bit of [`Control::word`]: time-wait sockets are counted, so a scan visits them too.
pub const CONTROL_TIME_WAIT: u32 = 1 << 3;
/// Bit of [`Control::word`]: request sockets are counted, so a scan visits them too.
pub const CONTROL_SYN_RECV: u32 = 1 << 4;
/// Bit of [`Control::word`]: timers report request sockets.
pub const CONTROL_SYN_RECV_TIMERS: u32 = 1 << 5;
/// Bit of [`Control::word`]: events are written to the ring. It lies in the byte that moves with
/// [`CONTROL_BUFFER`], so that lines begin and end at a cut.
pub const CONTROL_EVENTS: u32 = 1 << 6;

/// The number of bits of [`Control::word`] in use.
#[cfg(test)]
const CONTROL_BITS: u32 = 7;

/// What changes while the programs run, in one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Control {
    /// Unused: the kernel places a map's value 8 bytes before the end of a cache line (`struct bpf_array`).
    pub unused: u64,
    /// [`CONTROL_BUFFER`] and [`CONTROL_SCAN`]; written by user space.
    pub word: u32,
    /// Padding, named.
    pub reserved: u32,
    /// Address of the `struct net` that [`Config::netns`] names; written by the program that first meets it, 0 before.
    ///
    /// It saves most events a read of the namespace's inode, which lies beside a reference count that all CPUs write.
    pub own_net: u64,
    /// Addresses of two `struct proto` (IPv4's and IPv6's, mostly) whose sockets are TCP's; written like `own_net`.
    ///
    /// They save most events a read of `sk_protocol`, which lies in a cache line that nothing else needs.
    pub tcp_protos: [u64; 2],
}

// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
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
