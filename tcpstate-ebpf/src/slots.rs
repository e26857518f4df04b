//! A table of sockets by address that is faster than a hash map.
//!
//! A hash map finds an entry fast, but it takes a lock to insert or remove an entry, and most
//! sockets have few events. So each address also selects one slot of an array. A socket takes its
//! slot if the slot is free; otherwise it goes to the hash map. In a full table a third to a half
//! of the sockets are in the hash map. User space sets the number of slots
//! ([`Config::slot_shift`]).
//!
//! Kernels before 5.12 have no atomic exchange, so a socket takes a slot by an addition. It adds
//! one to the slot's [contenders](Slot::contenders) and holds the slot if the sum is then 1. At
//! most one socket sees the sum 1.
//!
//! When a holder frees its slot, its last store must become visible before the subtraction from the
//! contenders. On CPUs that may reorder stores there are no slots, and the hash map holds all
//! sockets.
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

/// 2^64 divided by the golden ratio (Knuth, TAOCP 6.4). Multiplication by it spreads addresses,
/// which lie at regular distances, over all slots.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The slot of one socket: a cache line if the state has 40 bytes.
#[repr(C)]
pub(crate) struct Slot<V> {
    /// Unused: the kernel places the value of a map 8 bytes before the end of a cache line (`struct
    /// bpf_array`).
    unused: u64,
    /// Address of the socket that holds the slot; 0 if the slot is free.
    address: u64,
    /// Number of sockets that hold the slot or try to take it.
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
    /// The state of the socket at an address. The address is not 0, which marks a free slot.
    ///
    /// Like an entry of a hash map, the state stays readable while the program runs. It belongs to
    /// this socket until it is removed.
    #[inline(always)]
    pub(crate) fn get(self, address: u64) -> Option<*mut V> {
        if let Some(slot) = self.slot_held_by(address) {
            // SAFETY: an element of the map.
            return Some(unsafe { &raw mut (*slot).state });
        }
        self.overflow.get_ptr_mut(address)
    }

    /// Stores the state of a socket and replaces the state of an earlier socket at its address.
    ///
    /// An entry of an earlier socket in the hash map stays there while the new socket holds the
    /// slot. After the new socket is removed, a look-up finds that entry, unless it was
    /// overwritten. This is equivalent to missing the events of the new socket.
    ///
    /// # Errors
    /// The error number of the hash map if there is no room.
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
            // SAFETY: an element of the map. This socket holds the slot until the last of these
            // stores.
            unsafe {
                (&raw mut (*slot).address).write_volatile(0);
                compiler_fence(Ordering::Release);
                take_one_atomically(&raw mut (*slot).contenders);
            }
        } else {
            let _ = self.overflow.remove(address);
        }
    }

    /// The slot that an address selects, if the socket at that address holds it.
    #[inline(always)]
    fn slot_held_by(self, address: u64) -> Option<*mut Slot<V>> {
        // SAFETY: an element of the map.
        self.slot(address).filter(|&slot| unsafe { is_held_by(slot, address) })
    }

    /// The slot that an address selects; `None` if the table has no slots.
    #[inline(always)]
    fn slot(self, address: u64) -> Option<*mut Slot<V>> {
        // The verifier knows this value, and removes this code if there are no slots.
        let shift = config!(slot_shift);
        if shift == 0 {
            return None;
        }
        self.slots.get_ptr_mut((number(address).wrapping_mul(SPREAD) >> shift) as u32)
    }
}

/// An address as a number for arithmetic. The verifier allows no multiplication of a pointer, but
/// treats a negated pointer as a number.
#[inline(always)]
fn number(address: u64) -> u64 {
    let mut number = address;
    // SAFETY: the instruction only negates a register.
    unsafe { asm!("{0} = -{0}", inout(reg) number, options(pure, nomem, nostack)) };
    number
}

/// Whether the socket at an address holds a slot.
///
/// # Safety
/// `slot` is an element of its map.
#[inline(always)]
unsafe fn is_held_by<V>(slot: *mut Slot<V>, address: u64) -> bool {
    // SAFETY: the caller's promise. Only the socket at that address stores and clears its own
    // address.
    unsafe { (&raw const (*slot).address).read_volatile() == address }
}

/// Tries to take a free slot. Returns whether the caller holds the slot now.
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
