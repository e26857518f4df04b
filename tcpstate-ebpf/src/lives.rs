//! What is remembered of each socket between its events, by its address, in less time than a hash map takes.
//!
//! A hash map finds an entry fast, but locks to make one and to give it back, and most sockets have few events. So an
//! address names one seat of an array, too, and a socket that finds it free sits there; the others, a third to a half when
//! the room is full, are in the hash map. User space says how many seats there are ([`Config::seat_shift`]).
//!
//! Who may sit is decided without an atomic exchange, which kernels before 5.12 don't have: a socket adds itself to the
//! seat's [`claims`](Seat::claims), and it is its own if the sum is 1 then, which it is for one at most. Where stores may be
//! seen out of order there are no seats, for the owner's last store and the claim that it gives back have to come in order.
//!
//! [`Config::seat_shift`]: tcpstate_common::abi::Config::seat_shift

use core::{
    arch::asm,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{
    bindings::BPF_ANY,
    btf_maps::{Array, HashMap},
};

use crate::{
    count::{add_one_atomically, take_one_atomically},
    maps::config,
};

/// 2^64 divided by the golden ratio: spreads addresses, which lie at regular distances, over all seats (Knuth, TAOCP 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Room for what is remembered of one socket: a cache line, if that is 40 bytes.
#[repr(C)]
pub(crate) struct Seat<V> {
    /// Unused: the kernel places a map's value 8 bytes before the end of a cache line (`struct bpf_array`).
    unused: u64,
    /// The socket that sits here; 0 if there is none.
    address: u64,
    /// How many say that it is theirs.
    claims: u64,
    life: V,
}

/// The seats, and the hash map.
#[derive(Clone, Copy)]
pub(crate) struct Lives<V: 'static> {
    pub(crate) seats: &'static Array<Seat<V>, 1>,
    pub(crate) others: &'static HashMap<u64, V, 1>,
}

impl<V: Copy> Lives<V> {
    /// What is remembered of the socket at an address, which is not 0: that is a free seat's. Like a hash map's entry it stays some
    /// socket's while the program runs, and is this one's as long as nobody removes it.
    #[inline(always)]
    pub(crate) fn get(self, address: u64) -> Option<*mut V> {
        if let Some(seat) = self.seat_of(address) {
            // SAFETY: an element of the map.
            return Some(unsafe { &raw mut (*seat).life });
        }
        self.others.get_ptr_mut(address)
    }

    /// Remembers a socket, whatever an earlier one has left at its address. (What an earlier one left in the hash map stays there
    /// beside the seat, and is found again if it is not overwritten first: as if the events in between had been missed too.) An
    /// error if there is no room.
    #[inline(always)]
    pub(crate) fn insert(self, address: u64, life: V) -> Result<(), i32> {
        if let Some(seat) = self.seat(address) {
            // SAFETY: an element of the map, written to only by who has it.
            unsafe {
                if is_taken_by(seat, address) || claim(seat) {
                    (&raw mut (*seat).life).write(life);
                    compiler_fence(Ordering::Release);
                    (&raw mut (*seat).address).write_volatile(address);
                    return Ok(());
                }
            }
        }
        self.others.insert(address, life, u64::from(BPF_ANY))
    }

    /// Forgets the socket at an address.
    #[inline(always)]
    pub(crate) fn remove(self, address: u64) {
        if let Some(seat) = self.seat_of(address) {
            // SAFETY: an element of the map, which is this socket's until the last of these.
            unsafe {
                (&raw mut (*seat).address).write_volatile(0);
                compiler_fence(Ordering::Release);
                take_one_atomically(&raw mut (*seat).claims);
            }
        } else {
            let _ = self.others.remove(address);
        }
    }

    /// The seat that an address names, if the socket there sits in it.
    #[inline(always)]
    fn seat_of(self, address: u64) -> Option<*mut Seat<V>> {
        // SAFETY: an element of the map.
        self.seat(address).filter(|&seat| unsafe { is_taken_by(seat, address) })
    }

    /// The seat that an address names.
    #[inline(always)]
    fn seat(self, address: u64) -> Option<*mut Seat<V>> {
        // A known value to the verifier, which takes all of this out where there are no seats.
        let shift = config!(seat_shift);
        if shift == 0 {
            return None;
        }
        self.seats.get_ptr_mut((number(address).wrapping_mul(SPREAD) >> shift) as u32)
    }
}

/// A number made of an address, to reckon with: the verifier allows that with no pointer, but knows none in a negative one.
#[inline(always)]
fn number(address: u64) -> u64 {
    let mut number = address;
    // SAFETY: a register becomes its negative.
    unsafe { asm!("{0} = -{0}", inout(reg) number, options(pure, nomem, nostack)) };
    number
}

/// # Safety
/// `seat` is an element of its map.
#[inline(always)]
unsafe fn is_taken_by<V>(seat: *mut Seat<V>, address: u64) -> bool {
    // SAFETY: the caller's promise. Only the socket there writes its own address, and takes it away.
    unsafe { (&raw const (*seat).address).read_volatile() == address }
}

/// Whether a free seat is the caller's from now on.
///
/// # Safety
/// `seat` is an element of its map.
#[inline(always)]
unsafe fn claim<V>(seat: *mut Seat<V>) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let claims = &raw mut (*seat).claims;
        if claims.read_volatile() != 0 {
            return false;
        }
        add_one_atomically(claims);
        if claims.read_volatile() == 1 {
            return true;
        }
        take_one_atomically(claims);
        false
    }
}
