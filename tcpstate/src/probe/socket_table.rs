//! The sizes of the two maps that hold the state of sockets between events. The first map is an
//! array of slots. The second map is a hash map (the overflow) for sockets whose slot is taken.

use aya::EbpfLoader;

/// Whether other CPUs see the memory writes of a BPF program in the order in which the program
/// makes the writes. The assignment of slots to sockets relies on the order of the memory writes.
const KEEPS_STORES_IN_ORDER: bool = cfg!(target_arch = "x86_64");

/// The sizes of the two maps of a socket table.
#[derive(Clone, Copy)]
pub(super) struct Capacity {
    /// The number of elements of the array: a power of two. If the table has no slots, the array
    /// has one unused element.
    slots: u32,
    /// The number of entries of the hash map.
    ///
    /// If all sockets are created together and there are as many slots as sockets, about a third of
    /// the sockets (1/e) find their slot taken. A socket stays in the hash map even after the slot
    /// of the socket becomes free. As sockets open and close, the share of sockets in the hash map
    /// grows to 50 %.
    overflow: u32,
}

impl Capacity {
    /// Returns the sizes of the two maps that a table for this number of sockets needs.
    pub(super) fn new(sockets: u32) -> Self {
        if KEEPS_STORES_IN_ORDER {
            // The array needs at least two slots. For an array of one slot, the BPF programs would
            // have to shift by 64 bits, but such a shift has no effect.
            Self { slots: sockets.max(2).next_power_of_two(), overflow: sockets.div_ceil(8) * 5 }
        } else {
            Self { slots: 1, overflow: sockets }
        }
    }

    /// Returns [`Config::slot_shift`](tcpstate_common::abi::Config::slot_shift).
    pub(super) fn slot_shift(self) -> u32 {
        if self.slots == 1 { 0 } else { u64::BITS - self.slots.ilog2() }
    }

    /// Sets the sizes of the two maps of a table.
    pub(super) fn set(
        self,
        loader: &mut EbpfLoader<'_>,
        slots: &'static str,
        overflow: &'static str,
    ) {
        loader.map_max_entries(slots, self.slots);
        loader.map_max_entries(overflow, self.overflow);
    }

    /// Sets the sizes of the table of full sockets.
    pub(super) fn set_for_sockets(self, loader: &mut EbpfLoader<'_>) {
        self.set(loader, "SOCKET_SLOTS", "SOCKET_OVERFLOW");
    }
}
