//! Where an event of a socket counts: on this CPU, and in its network namespace's row, if there are rows
//! ([`FLAG_NAMESPACES`]).

use core::ptr;

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpstate_common::{
    State,
    abi::{
        CONTROL_BUFFER, CONTROL_GATE, CpuSlots, FLAG_FAMILIES, FLAG_NAMESPACES, Flow,
        NamespaceCounters, NamespaceSlots, STATE_SLOTS, is_birth,
    },
};

use crate::{
    count::{self, add_one_atomically},
    families,
    maps::{BLANK, NAMESPACES, config},
    sock::{Access, Sock},
};

/// The map holds as many entries as it was made for.
const E2BIG: i32 = 7;
const EEXIST: i32 = 17;

/// The places where an event counts.
#[derive(Clone, Copy)]
pub(crate) struct Books {
    /// This CPU's element.
    pub(crate) slots: *mut CpuSlots,
    /// The namespace's row; null if there are no rows, or no room for this one.
    pub(crate) namespace: *mut NamespaceSlots,
}

impl Books {
    /// The books of a socket in scope; `slots` is this CPU's first element, which takes what belongs to no socket.
    #[inline(always)]
    pub(crate) fn of<A: Access>(slots: *mut CpuSlots, sock: Sock<A>) -> Self {
        let flags = config!(flags);
        let slots = if flags & FLAG_FAMILIES == 0 {
            slots
        } else {
            families::slots(sock, flags).unwrap_or(slots)
        };
        let has_rows = flags & FLAG_NAMESPACES != 0;
        let namespace = if has_rows { row(slots, sock) } else { ptr::null_mut() };
        Self { slots, namespace }
    }
}

/// The row of a socket's namespace: the one that is there, or a new one.
#[inline(never)]
pub(crate) fn row<A: Access>(slots: *mut CpuSlots, sock: Sock<A>) -> *mut NamespaceSlots {
    let net = sock.namespace();
    let identity = net.identity();
    if let Some(row) = NAMESPACES.get_ptr_mut(identity) {
        return row;
    }
    let errno = NAMESPACES.insert(identity, &BLANK, u64::from(BPF_NOEXIST)).err().unwrap_or(0);
    // If it exists, another CPU was quicker.
    if (errno == 0 || errno == -EEXIST)
        && let Some(row) = NAMESPACES.get_ptr_mut(identity)
    {
        // SAFETY: `row` is an entry of the map; who races stores the same.
        unsafe {
            (&raw mut (*row).net).write_volatile(net.address());
            (&raw mut (*row).inode).write_volatile(u64::from(net.inode()));
        }
        return row;
    }
    // SAFETY: `slots` is this CPU's element.
    unsafe {
        add_one_atomically(&raw mut (*slots).unlisted);
        // Room for it there may be; then it can be made next time, and lacks this event.
        if errno != -E2BIG {
            add_one_atomically(&raw mut (*slots).map_errors);
        }
    }
    ptr::null_mut()
}

/// Counts a transition in the row of the socket's namespace as [`count`] does on this CPU, and tells whoever else has to
/// know.
#[inline(never)]
pub(crate) fn transition<A: Access>(
    slots: *mut CpuSlots,
    sock: Sock<A>,
    control: u32,
    from: usize,
    to: usize,
) {
    let row = row(slots, sock);
    if !row.is_null() && from != to {
        // SAFETY: `row` is an entry of the map, and each index is masked to the array's length.
        unsafe {
            let states = (&raw mut (*buffer(row, control)).states).cast::<Flow>();
            if !is_birth(from, to) {
                add_one_atomically(&raw mut (*states.add(from & (STATE_SLOTS - 1))).left);
            }
            if to != State::Close as usize {
                add_one_atomically(&raw mut (*states.add(to & (STATE_SLOTS - 1))).entered);
            }
        }
    }
    if control & CONTROL_GATE != 0 {
        count::show_to_pass(sock, row, count::pair(from, to));
    }
}

/// The buffer of a row that takes the counts.
#[inline(always)]
pub(crate) fn buffer(row: *mut NamespaceSlots, control: u32) -> *mut NamespaceCounters {
    // SAFETY: `row` is an entry of the map, and there are two buffers.
    unsafe {
        let buffers = (&raw mut (*row).buffers).cast::<NamespaceCounters>();
        buffers.add((control & CONTROL_BUFFER) as usize)
    }
}
