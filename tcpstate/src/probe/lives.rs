//! How large the maps are that remember sockets between their events: seats in an array, and a hash map for those that find
//! their seat taken.

use aya::EbpfLoader;

/// Whether other processors see a program's stores in their order, on which who sits where depends.
const KEEPS_STORES_IN_ORDER: bool = cfg!(target_arch = "x86_64");

/// Room for some number of sockets.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Elements of the array: a power of two; one that nobody uses, where there are no seats.
    seats: u32,
    /// Entries of the hash map. Of as many sockets as there are seats a third find theirs taken, by chance (1/e) and if all come
    /// at once; as they come and go up to a half, for who finds it taken stays where it is when it is free.
    others: u32,
}

impl Room {
    /// Room for this many sockets.
    pub(super) fn new(sockets: u32) -> Self {
        if KEEPS_STORES_IN_ORDER {
            // Two at least, for a shift by all 64 bits is none.
            Self { seats: sockets.max(2).next_power_of_two(), others: sockets.div_ceil(8) * 5 }
        } else {
            Self { seats: 1, others: sockets }
        }
    }

    /// See [`Config::seat_shift`](tcpstate_common::abi::Config::seat_shift).
    pub(super) fn seat_shift(self) -> u32 {
        if self.seats == 1 { 0 } else { u64::BITS - self.seats.ilog2() }
    }

    /// Makes both maps as large.
    pub(super) fn make(
        self,
        loader: &mut EbpfLoader<'_>,
        seats: &'static str,
        others: &'static str,
    ) {
        loader.map_max_entries(seats, self.seats);
        loader.map_max_entries(others, self.others);
    }
}
