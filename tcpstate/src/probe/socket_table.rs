//! The size of the maps that hold the state of sockets between their events: slots in an array, and
//! a hash map for the sockets that find their slot taken.

use aya::EbpfLoader;

/// Whether other processors see a program's stores in their order. A slot's holder depends on that
/// order.
const KEEPS_STORES_IN_ORDER: bool = cfg!(target_arch = "x86_64");

/// Room for some number of sockets.
#[derive(Clone, Copy)]
pub(super) struct Capacity {
    /// Elements of the array: a power of two; one unused element, where there are no slots.
    slots: u32,
    /// Entries of the hash map. Of as many sockets as there are slots, a third find their slot
    /// taken (1/e) if all come at once. As sockets come and go, that grows to a half, because a
    /// socket stays in the hash map after its slot has become free.
    overflow: u32,
}

impl Capacity {
    /// Capacity for this many sockets.
    pub(super) fn new(sockets: u32) -> Self {
        if KEEPS_STORES_IN_ORDER {
            // Two at least, for a shift by all 64 bits is none.
            Self { slots: sockets.max(2).next_power_of_two(), overflow: sockets.div_ceil(8) * 5 }
        } else {
            Self { slots: 1, overflow: sockets }
        }
    }

    /// See [`Config::slot_shift`](tcpstate_common::abi::Config::slot_shift).
    pub(super) fn slot_shift(self) -> u32 {
        if self.slots == 1 { 0 } else { u64::BITS - self.slots.ilog2() }
    }

    /// Gives a table's two maps this capacity.
    pub(super) fn set(
        self,
        loader: &mut EbpfLoader<'_>,
        slots: &'static str,
        overflow: &'static str,
    ) {
        loader.map_max_entries(slots, self.slots);
        loader.map_max_entries(overflow, self.overflow);
    }

    /// Gives the table of full sockets this capacity.
    pub(super) fn set_for_sockets(self, loader: &mut EbpfLoader<'_>) {
        self.set(loader, "SOCKET_SLOTS", "SOCKET_OVERFLOW");
    }
}
