//! Programs that the kernel runs for each socket, or for each entry of a map, when user space
//! requests it.

use tcpstate_common::{
    State,
    abi::{CONTROL_SCAN, CONTROL_SYN_RECV, CONTROL_TIME_WAIT, NamespaceSlots},
};

use crate::{
    access::{Probed, Typed},
    atomic::add_one_atomically,
    config, connections, maps,
    minis::{self, Seen},
    namespaces::CounterRefs,
    scan::{self, By, Observation},
    sock::{Net, Sock},
};

/// The start of `struct bpf_iter_meta` in `include/linux/bpf.h`.
#[repr(C)]
struct IterMeta {
    seq: *mut u8,
}

/// The context of a program at `iter/tcp` (`struct bpf_iter__tcp` in `net/ipv4/tcp_ipv4.c`).
#[repr(C)]
pub(crate) struct IterTcp {
    meta: *const IterMeta,
    sk_common: *const u8,
}

/// Handles one socket: the kernel walks its socket tables, calls this program for each socket, and
/// finally calls it without a socket.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub(crate) extern "C" fn tcp_iterator(ctx: *const IterTcp) -> i32 {
    // SAFETY: the kernel passes a valid context, and the field is checked for null before use.
    let sk_common = unsafe { (*ctx).sk_common };
    if !sk_common.is_null() {
        // SAFETY: the iterator holds a reference to the socket while the program runs.
        visit(unsafe { Sock::<Typed>::from_ptr(sk_common) });
    }
    0
}

/// Visits one socket for the running scan. Since 5.15 the kernel holds the lock of a full socket,
/// so no event can happen between the read of the state and the observation.
#[inline(always)]
fn visit(sock: Sock<Typed>) {
    let control = config::control();
    if control & CONTROL_SCAN == 0 || !sock.is_in_scope() {
        return;
    }
    let Some(slots) = maps::cpu_slots() else { return };
    let counters = CounterRefs::of(slots, sock);
    // The socket's state must be read before the scan observes the socket. If an event happens
    // between the read and the observation, the event is the first observation and adds the old
    // state to the base counts.
    let state = sock.state();
    if state == State::TimeWait as usize {
        if control & CONTROL_TIME_WAIT != 0 {
            // SAFETY: the state shows that the socket is a time-wait socket, and the iterator holds
            // a reference to it.
            minis::visit_time_wait(counters, control, unsafe {
                Sock::<Probed>::from_ptr(sock.address() as *const u8)
            });
        }
    } else if state == State::NewSynRecv as usize {
        if control & CONTROL_SYN_RECV != 0 {
            minis::visit_request(counters, sock.address());
        }
    } else if scan::observe(slots, sock.address(), By::Visit) != Observation::Again {
        // If the scan's map failed, this visit was most likely the first observation, so the socket
        // is added to the base counts. `observe` counts the failure of the scan's map.
        scan::add_to_base(counters, state);
    }
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    unsafe { add_one_atomically(&raw mut (*slots).visited) };
}

/// Handles one socket as [`tcp_iterator`] does. The program writes the connection of a full socket
/// to the output of the iterator.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub(crate) extern "C" fn pending_iterator(ctx: *const IterTcp) -> i32 {
    // SAFETY: the kernel passes a valid context, and the fields are checked for null before use.
    let (meta, sk_common) = unsafe { ((*ctx).meta, (*ctx).sk_common) };
    if meta.is_null() || sk_common.is_null() || !connections::is_on() {
        return 0;
    }
    // SAFETY: the iterator holds a reference to the socket while the program runs.
    let sock = unsafe { Sock::<Typed>::from_ptr(sk_common) };
    if sock.is_in_scope() && connections::fill_pending(sock.plain_address()) != 0 {
        // SAFETY: the kernel passes a valid context.
        let seq = unsafe { (*meta).seq };
        connections::write_pending(seq);
    }
    0
}

/// The context of a program at `iter/bpf_map_elem` (`struct bpf_iter__bpf_map_elem` in
/// `kernel/bpf/map_iter.c`).
#[repr(C)]
pub(crate) struct IterMapElem<V> {
    meta: *const u8,
    map: *const u8,
    key: *const u64,
    value: *mut V,
}

/// Handles one entry of [`maps::FIN_WAIT2`]; the kernel calls this program for each entry. The
/// program counts moves to TIME_WAIT that no timer reported.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub(crate) extern "C" fn fin_wait2_iterator(ctx: *const IterMapElem<u32>) -> i32 {
    // SAFETY: the kernel passes a valid context, and the field is checked for null before use.
    let key = unsafe { (*ctx).key };
    if key.is_null() {
        return 0;
    }
    if let Some(slots) = maps::cpu_slots() {
        // SAFETY: the key is the address of a time-wait socket. A program removes the entry of a
        // time-wait socket before the kernel frees the socket.
        let tw = unsafe { Sock::<Probed>::from_ptr(key.read() as *const u8) };
        minis::settle(CounterRefs::of(slots, tw), config::control(), tw, Seen::Late);
    }
    0
}

/// Handles one entry of [`maps::NAMESPACES`]; the kernel calls this program for each entry. The
/// program marks a namespace that no longer exists.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub(crate) extern "C" fn namespace_iterator(ctx: *const IterMapElem<NamespaceSlots>) -> i32 {
    // SAFETY: the kernel passes a valid context, and the fields are checked for null before use.
    let (key, namespace) = unsafe { ((*ctx).key, (*ctx).value) };
    if key.is_null() || namespace.is_null() {
        return 0;
    }
    // SAFETY: both pointers point into the entry of the map.
    unsafe {
        let net = (&raw const (*namespace).net).read_volatile();
        // The entry was just inserted, and the program that inserted it has not stored `net` yet.
        if net == 0 {
            return 0;
        }
        let net = Net::<Probed>::once_at(net);
        if net.is_gone() || net.identity() != key.read() {
            (&raw mut (*namespace).gone).write_volatile(1);
        }
    }
    0
}
