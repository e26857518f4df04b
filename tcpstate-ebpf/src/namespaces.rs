//! The counters to which an event adds: the counters of this CPU and, if namespaces are counted
//! separately ([`FLAG_NAMESPACES`]), the counters of the socket's network namespace.

use core::ptr;

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpstate_common::abi::{
    CONTROL_BUFFER, CpuSlots, FLAG_FAMILIES, FLAG_NAMESPACES, NamespaceCounters, NamespaceSlots,
};

use crate::{
    access::Access,
    atomic::add_one_atomically,
    config::config,
    families,
    kernel::{E2BIG, EEXIST},
    maps::{BLANK, NAMESPACES},
    sock::Sock,
};

/// References to the counters to which an event adds.
#[derive(Clone, Copy)]
pub(crate) struct CounterRefs {
    /// This CPU's element of the map `CPU_SLOTS`.
    pub(crate) slots: *mut CpuSlots,
    /// The counters of the socket's network namespace. The pointer is null if namespaces are not
    /// counted separately, or if the map has no space for this namespace.
    pub(crate) namespace: *mut NamespaceSlots,
}

impl CounterRefs {
    /// Returns the counters for a socket in scope. `slots` is this CPU's first element, which also
    /// has the counts that belong to no socket.
    #[inline(always)]
    pub(crate) fn of<A: Access>(slots: *mut CpuSlots, sock: Sock<A>) -> Self {
        let flags = config!(flags);
        let slots = if flags & FLAG_FAMILIES == 0 {
            slots
        } else {
            families::slots(sock, flags).unwrap_or(slots)
        };
        let are_apart = flags & FLAG_NAMESPACES != 0;
        let namespace = if are_apart { of_namespace(slots, sock) } else { ptr::null_mut() };
        Self { slots, namespace }
    }
}

/// Returns the counters of the socket's namespace, and creates them if they do not exist.
#[inline(never)]
pub(crate) fn of_namespace<A: Access>(slots: *mut CpuSlots, sock: Sock<A>) -> *mut NamespaceSlots {
    let net = sock.namespace();
    let identity = net.identity();
    if let Some(counters) = NAMESPACES.get_ptr_mut(identity) {
        return counters;
    }
    #[allow(clippy::needless_borrows_for_generic_args, reason = "a value is copied to the stack")]
    let errno = NAMESPACES.insert(identity, &BLANK, u64::from(BPF_NOEXIST)).err().unwrap_or(0);
    // If the entry already exists, another CPU created it at the same time.
    if (errno == 0 || errno == -EEXIST)
        && let Some(counters) = NAMESPACES.get_ptr_mut(identity)
    {
        // SAFETY: `counters` points to an entry of the map, and a racing program stores the same
        // values.
        unsafe {
            (&raw mut (*counters).net).write_volatile(net.address());
            (&raw mut (*counters).inode).write_volatile(u64::from(net.inode()));
        }
        return counters;
    }
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    unsafe {
        add_one_atomically(&raw mut (*slots).unlisted);
        // If the map is not full, a later event can create the namespace's entry. If an event finds
        // no entry for its namespace, the counters of the namespace lack the event.
        if errno != -E2BIG {
            add_one_atomically(&raw mut (*slots).map_errors);
        }
    }
    ptr::null_mut()
}

/// Returns the active buffer of a namespace.
#[inline(always)]
pub(crate) fn buffer(counters: *mut NamespaceSlots, control: u32) -> *mut NamespaceCounters {
    // SAFETY: `counters` points to an entry of the map, which has two buffers.
    unsafe {
        let buffers = (&raw mut (*counters).buffers).cast::<NamespaceCounters>();
        buffers.add((control & CONTROL_BUFFER) as usize)
    }
}
