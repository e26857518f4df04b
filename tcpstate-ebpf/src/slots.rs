//! A table of sockets by address, in less time than a hash map takes.
//!
//! A hash map finds an entry fast, but locks to make an entry and to remove it, and most sockets have few events. So the
//! address of a socket also names one slot of an array. A socket that finds its slot free takes it. The other sockets, a third
//! to a half when the table is full, are in the hash map. User space decides how many slots there are
//! ([`Config::slot_shift`]).
//!
//! Kernels before 5.12 have no atomic exchange. So a socket takes a slot by an addition: it adds itself to the slot's
//! [contenders](Slot::contenders), and has the slot if the sum is 1 then. At most one socket sees that sum. The last store of a
//! slot's holder and the subtraction of its contender have to be seen in that order. Where stores may be seen out of order
//! there are no slots, and the hash map has all sockets.
//!
//! [`Config::slot_shift`]: tcpstate_common::abi::Config::slot_shift

use core::{
    arch::asm,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{
    bindings::BPF_ANY,
    btf_maps::{Array, HashMap},
};

use crate::{
    atomic::{add_one_atomically, take_one_atomically},
    config::config,
};

/// 2^64 divided by the golden ratio: spreads addresses, which lie at regular distances, over all slots (Knuth, TAOCP 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Room for the state of one socket: a cache line, if the state is 40 bytes.
#[repr(C)]
pub(crate) struct Slot<V> {
    /// Unused: the kernel places a map's value 8 bytes before the end of a cache line (`struct bpf_array`).
    unused: u64,
    /// The socket that has the slot; 0 if it is free.
    address: u64,
    /// How many sockets try to take the slot, or have it.
    contenders: u64,
    state: V,
}

/// The slots, and the hash map for sockets whose slot is taken.
#[derive(Clone, Copy)]
pub(crate) struct Table<V: 'static> {
    pub(crate) slots: &'static Array<Slot<V>, 1>,
    pub(crate) overflow: &'static HashMap<u64, V, 1>,
}

impl<V: Copy> Table<V> {
    /// The state of the socket at an address other than 0, which marks a free slot. Like a hash map's entry, the state belongs
    /// to some socket while the program runs; it belongs to this one until it is removed.
    #[inline(always)]
    pub(crate) fn get(self, address: u64) -> Option<*mut V> {
        if let Some(slot) = self.slot_held_by(address) {
            // SAFETY: an element of the map.
            return Some(unsafe { &raw mut (*slot).state });
        }
        self.overflow.get_ptr_mut(address)
    }

    /// Stores the state of a socket over the state of an earlier socket at its address. Fails if there is no room.
    ///
    /// An entry that an earlier socket left in the hash map stays there beside the slot. It is found again unless it is
    /// overwritten first, as if the events in between had been missed too.
    #[inline(always)]
    pub(crate) fn insert(self, address: u64, state: V) -> Result<(), i32> {
        if let Some(slot) = self.slot(address) {
            // SAFETY: an element of the map, to which only its holder writes.
            unsafe {
                if is_held_by(slot, address) || take(slot) {
                    (&raw mut (*slot).state).write(state);
                    compiler_fence(Ordering::Release);
                    (&raw mut (*slot).address).write_volatile(address);
                    return Ok(());
                }
            }
        }
        self.overflow.insert(address, state, u64::from(BPF_ANY))
    }

    /// Removes the state of the socket at an address.
    #[inline(always)]
    pub(crate) fn remove(self, address: u64) {
        if let Some(slot) = self.slot_held_by(address) {
            // SAFETY: an element of the map, which this socket has until the last of these.
            unsafe {
                (&raw mut (*slot).address).write_volatile(0);
                compiler_fence(Ordering::Release);
                take_one_atomically(&raw mut (*slot).contenders);
            }
        } else {
            let _ = self.overflow.remove(address);
        }
    }

    /// The slot that an address names, if the socket there has it.
    #[inline(always)]
    fn slot_held_by(self, address: u64) -> Option<*mut Slot<V>> {
        // SAFETY: an element of the map.
        self.slot(address).filter(|&slot| unsafe { is_held_by(slot, address) })
    }

    /// The slot that an address names.
    #[inline(always)]
    fn slot(self, address: u64) -> Option<*mut Slot<V>> {
        // A known value to the verifier, which takes all of this out where there are no slots.
        let shift = config!(slot_shift);
        if shift == 0 {
            return None;
        }
        self.slots.get_ptr_mut((number(address).wrapping_mul(SPREAD) >> shift) as u32)
    }
}

/// A number made of an address, for arithmetic: the verifier allows none with a pointer, but takes a negated one for a number.
#[inline(always)]
fn number(address: u64) -> u64 {
    let mut number = address;
    // SAFETY: a register becomes its negative.
    unsafe { asm!("{0} = -{0}", inout(reg) number, options(pure, nomem, nostack)) };
    number
}

/// # Safety
/// `slot` is an element of its map.
#[inline(always)]
unsafe fn is_held_by<V>(slot: *mut Slot<V>, address: u64) -> bool {
    // SAFETY: the caller's promise. Only the socket at that address writes its own address, and takes it away.
    unsafe { (&raw const (*slot).address).read_volatile() == address }
}

/// Takes a free slot. Returns whether the caller has it from now on.
///
/// # Safety
/// `slot` is an element of its map.
#[inline(always)]
unsafe fn take<V>(slot: *mut Slot<V>) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let contenders = &raw mut (*slot).contenders;
        if contenders.read_volatile() != 0 {
            return false;
        }
        add_one_atomically(contenders);
        if contenders.read_volatile() == 1 {
            return true;
        }
        take_one_atomically(contenders);
        false
    }
}
