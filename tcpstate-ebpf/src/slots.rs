//! A table of sockets by address that is faster than a hash map.
//!
//! A hash map finds an entry quickly, but takes a lock to insert or remove an entry. Insertions and
//! removals are frequent, because most sockets have few events. Each address therefore also selects
//! one slot of an array. A socket takes its slot if the slot is free; otherwise the socket goes to
//! the hash map. In a full table, a third to a half of the sockets are in the hash map. User space
//! sets the number of slots ([`Config::slot_shift`]).
//!
//! Kernels before 5.12 have no atomic exchange, so a socket takes a slot by an addition. The socket
//! adds one to the slot's [contenders](Slot::contenders) and holds the slot if the sum is then 1.
//! At most one socket sees the sum 1.
//!
//! When a socket frees its slot, its last store must become visible before the subtraction from the
//! contenders. On CPUs that may reorder stores, a table has no slots, and the hash map holds all
//! sockets.
//!
//! [`Config::slot_shift`]: tcpstate_common::abi::Config::slot_shift

use core::{
    arch::asm,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    btf_maps::{Array, HashMap},
};

use crate::{
    atomic::{add_one_atomically, take_one_atomically},
    config::config,
    kernel::EEXIST,
};

/// 2^64 divided by the golden ratio (Knuth, TAOCP 6.4). A multiplication by this number spreads
/// addresses, which lie at regular distances, over all slots.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The slot of one socket. The slot is as large as a cache line if the state has 48 bytes.
///
/// The kernel places the elements of a map 8 bytes before the end of a cache line (`struct
/// bpf_array`). The first 8 bytes of a state of 48 bytes are therefore in another cache line than
/// the rest of the slot.
#[repr(C)]
pub(crate) struct Slot<V> {
    state: V,
    /// Address of the socket that holds the slot; 0 if the slot is free.
    address: u64,
    /// Number of sockets that hold the slot or try to take it.
    contenders: u64,
}

/// A table of sockets: the slots, and the hash map for sockets whose slot is taken.
#[derive(Clone, Copy)]
pub(crate) struct Table<V: 'static> {
    pub(crate) slots: &'static Array<Slot<V>, 1>,
    pub(crate) overflow: &'static HashMap<u64, V, 1>,
}

impl<V: Copy> Table<V> {
    /// Returns the state of the socket at an address. The address must not be 0, because 0 marks a
    /// free slot.
    ///
    /// The state stays readable while the program runs, like an entry of a hash map. The state
    /// belongs to this socket until a program removes it.
    #[inline(always)]
    pub(crate) fn get(self, address: u64) -> Option<*mut V> {
        if let Some(slot) = self.slot_held_by(address) {
            // SAFETY: the pointer is to an element of the map, which stays valid while the program
            // runs.
            return Some(unsafe { &raw mut (*slot).state });
        }
        self.overflow.get_ptr_mut(address)
    }

    /// Stores the state of a socket and replaces the state of an earlier socket at its address.
    ///
    /// If the hash map has an entry of an earlier socket at the address, the entry stays there
    /// while the new socket holds the slot. After the new socket is removed, a look-up finds the
    /// entry of the earlier socket, unless the entry was overwritten. The effect is as if the
    /// events of the new socket had been missed.
    ///
    /// # Errors
    /// Returns the error number of the hash map if the hash map has no space.
    #[inline(always)]
    pub(crate) fn insert(self, address: u64, state: V) -> Result<(), i32> {
        self.insert_slot(address, state, |_| {})
            .unwrap_or_else(|| self.overflow.insert(address, state, u64::from(BPF_ANY)))
    }

    /// Stores the state of a socket as [`Table::insert`] does. The function `replace` gets the
    /// state that is replaced. If the new socket takes a slot and the hash map has the state of an
    /// earlier socket, the state of the earlier socket is not replaced.
    ///
    /// # Errors
    /// Returns the error number of the hash map if the hash map has no space.
    #[inline(always)]
    pub(crate) fn replace(
        self,
        address: u64,
        state: V,
        replace: impl Fn(*const V),
    ) -> Result<(), i32> {
        if let Some(stored) = self.insert_slot(address, state, &replace) {
            return stored;
        }
        let stored = self.overflow.insert(address, state, u64::from(BPF_NOEXIST));
        if stored != Err(-EEXIST) {
            return stored;
        }
        if let Some(earlier) = self.overflow.get_ptr(address) {
            replace(earlier);
        }
        self.overflow.insert(address, state, u64::from(BPF_ANY))
    }

    /// Stores the state of a socket in its slot. Returns `None` if another socket holds the slot.
    #[inline(always)]
    fn insert_slot(
        self,
        address: u64,
        state: V,
        replace: impl Fn(*const V),
    ) -> Option<Result<(), i32>> {
        if let Some(slot) = self.slot(address) {
            // SAFETY: the pointer is to an element of the map, to which only the socket that holds
            // the slot writes.
            unsafe {
                let is_earlier = is_held_by(slot, address);
                if is_earlier {
                    replace(&raw const (*slot).state);
                }
                if is_earlier || take(slot) {
                    (&raw mut (*slot).state).write(state);
                    compiler_fence(Ordering::Release);
                    (&raw mut (*slot).address).write_volatile(address);
                    return Some(Ok(()));
                }
            }
        }
        None
    }

    /// Removes the state of the socket at an address.
    #[inline(always)]
    pub(crate) fn remove(self, address: u64) {
        if let Some(slot) = self.slot_held_by(address) {
            // SAFETY: the pointer is to an element of the map, which stays valid while the program
            // runs. This socket holds the slot until the last of the stores below.
            unsafe {
                (&raw mut (*slot).address).write_volatile(0);
                compiler_fence(Ordering::Release);
                take_one_atomically(&raw mut (*slot).contenders);
            }
        } else {
            let _ = self.overflow.remove(address);
        }
    }

    /// Returns the slot that an address selects, if the socket at that address holds the slot.
    #[inline(always)]
    fn slot_held_by(self, address: u64) -> Option<*mut Slot<V>> {
        // SAFETY: the pointer is to an element of the map, which stays valid while the program
        // runs.
        self.slot(address).filter(|&slot| unsafe { is_held_by(slot, address) })
    }

    /// Returns the slot that an address selects, or `None` if the table has no slots.
    #[inline(always)]
    fn slot(self, address: u64) -> Option<*mut Slot<V>> {
        // The verifier knows this value, and removes the code below if the table has no slots.
        let shift = config!(slot_shift);
        if shift == 0 {
            return None;
        }
        self.slots.get_ptr_mut((number(address).wrapping_mul(SPREAD) >> shift) as u32)
    }
}

/// Converts an address to a number for arithmetic. The verifier allows no multiplication of a
/// pointer, but treats a negated pointer as a number.
#[inline(always)]
fn number(address: u64) -> u64 {
    let mut number = address;
    // SAFETY: the instruction only negates a register.
    unsafe { asm!("{0} = -{0}", inout(reg) number, options(pure, nomem, nostack)) };
    number
}

/// Returns whether the socket at an address holds a slot.
///
/// # Safety
/// `slot` must point to an element of its map.
#[inline(always)]
unsafe fn is_held_by<V>(slot: *mut Slot<V>, address: u64) -> bool {
    // SAFETY: the caller guarantees that `slot` points to an element of its map. Only the socket at
    // that address stores and clears its own address.
    unsafe { (&raw const (*slot).address).read_volatile() == address }
}

/// Tries to take a free slot. The function returns whether the caller holds the slot now.
///
/// # Safety
/// `slot` must point to an element of its map.
#[inline(always)]
unsafe fn take<V>(slot: *mut Slot<V>) -> bool {
    // SAFETY: the caller guarantees that `slot` points to an element of its map.
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
