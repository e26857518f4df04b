//! What user space runs on every socket, and on every entry of a map.

use tcpstate_common::abi::NamespaceSlots;

use crate::{
    books::Books,
    maps,
    minis::{self, Seen},
    pass,
    sock::{Net, Probed, Sock, Typed},
};

/// What `iter/tcp` hands to its program (`struct bpf_iter__tcp` in `net/ipv4/tcp_ipv4.c`).
#[repr(C)]
pub(crate) struct IterTcp {
    meta: *const u8,
    sk_common: *const u8,
}

/// The kernel walks its socket tables and shows one socket, or none after the last one.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub(crate) extern "C" fn tcp_iterator(ctx: *const IterTcp) -> i32 {
    // SAFETY: the kernel calls with a valid context, and the field is checked for null before use.
    let sk_common = unsafe { (*ctx).sk_common };
    if !sk_common.is_null() {
        // SAFETY: the iterator holds a reference to the socket while the program runs.
        pass::visit(unsafe { Sock::<Typed>::from_ptr(sk_common) });
    }
    0
}

/// What `iter/bpf_map_elem` hands to its program (`struct bpf_iter__bpf_map_elem` in `kernel/bpf/map_iter.c`).
#[repr(C)]
pub(crate) struct IterMapElem<V> {
    meta: *const u8,
    map: *const u8,
    key: *const u64,
    value: *mut V,
}

/// The kernel walks [`maps::FIN_WAIT2`]: counts the moves to TIME_WAIT of which no timer told.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub(crate) extern "C" fn fin_wait2_iterator(ctx: *const IterMapElem<u32>) -> i32 {
    // SAFETY: the kernel calls with a valid context, and the field is checked for null before use.
    let key = unsafe { (*ctx).key };
    if key.is_null() {
        return 0;
    }
    if let Some(slots) = maps::cpu_slots() {
        // SAFETY: the key is the address of a time-wait socket, which ends only after its entry.
        let tw = unsafe { Sock::<Probed>::from_ptr(key.read() as *const u8) };
        minis::settle(Books::of(slots, tw), maps::control(), tw, Seen::Late);
    }
    0
}

/// The kernel walks [`maps::NAMESPACES`]: marks those that are gone.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub(crate) extern "C" fn namespace_iterator(ctx: *const IterMapElem<NamespaceSlots>) -> i32 {
    // SAFETY: the kernel calls with a valid context, and the fields are checked for null before use.
    let (key, row) = unsafe { ((*ctx).key, (*ctx).value) };
    if key.is_null() || row.is_null() {
        return 0;
    }
    // SAFETY: both are the entry's.
    unsafe {
        let net = (&raw const (*row).net).read_volatile();
        // Its maker is about to say.
        if net == 0 {
            return 0;
        }
        let net = Net::<Probed>::once_at(net);
        if net.is_gone() || net.identity() != key.read() {
            (&raw mut (*row).gone).write_volatile(1);
        }
    }
    0
}
