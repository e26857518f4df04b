//! Adds durations to buckets: in [`HISTOGRAMS`](crate::maps::HISTOGRAMS), or in
//! [`GROUPED`](crate::maps::GROUPED) if sockets are grouped.
//!
//! Both maps hold two buffers. The control word selects the active buffer of the histograms, as it
//! does for the counts. Histograms and transition counts therefore cover the same period.

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpstate_common::{
    State,
    abi::{CONTROL_BUFFER, FLAGS_BY_SHIFT, UNKNOWN_DURATION, is_birth},
    histogram::{
        BUCKET_SLOTS, By, GROUP_OTHER, GroupKey, Histogram, SERVER_PORTS_OF_ELEMENT, SLOTS,
        SUM_BITS, bucket_of,
    },
};

use crate::{
    access::Access,
    atomic::{add_atomically, add_one_atomically, take_atomically},
    cgroups,
    config::config,
    kernel::EEXIST,
    maps::{GROUP_IDS, GROUPED, GROUPS, HISTOGRAMS, SERVER_PORTS, histogram_slots},
    sock::Sock,
};

/// Mask of the bits of a duration that are added to [`Histogram::sum`].
const LOW: u64 = (1 << SUM_BITS) - 1;

/// A reference to the histograms of a socket's group in the active buffer: the index of the first
/// histogram.
#[derive(Clone, Copy)]
pub(crate) struct HistogramRef(u32);

impl HistogramRef {
    /// Returns the histograms for a socket that leaves the state `from`.
    #[inline(always)]
    pub(crate) fn of<A: Access>(sock: Sock<A>, control: u32, from: usize, owner: GroupKey) -> Self {
        let group = if by() == 0 { GROUP_OTHER } else { group(key(sock, from, owner)) };
        Self((group * 2 + (control & CONTROL_BUFFER)) * SLOTS)
    }

    /// Adds a duration to a histogram. The duration [`UNKNOWN_DURATION`] adds one to
    /// [`Histogram::unknown`].
    #[inline(always)]
    pub(crate) fn add(self, slot: u32, ns: u64) {
        add(self.0 + slot, ns);
    }

    /// Returns [`Histogram::longest`] and [`Histogram::shortest_inverted`] of a histogram.
    #[inline(always)]
    pub(crate) fn extremes(self, slot: u32) -> [u64; 2] {
        let Some(histogram) = histogram(self.0 + slot) else { return [0; 2] };
        // SAFETY: `histogram` points to an element of its map, which stays valid while the program
        // runs.
        unsafe { [(*histogram).longest, (*histogram).shortest_inverted] }
    }

    /// Subtracts a duration that [`Self::add`] just added to this buffer. `extremes` is the result
    /// of [`Self::extremes`] before the addition.
    #[inline(never)]
    pub(crate) fn take_back(self, slot: u32, ns: u64, extremes: [u64; 2]) {
        let Some(histogram) = histogram(self.0 + slot) else { return };
        // SAFETY: `histogram` points to an element of its map, which stays valid while the program
        // runs.
        unsafe {
            if ns == UNKNOWN_DURATION {
                take_atomically(&raw mut (*histogram).unknown, 1);
                return;
            }
            take_atomically(bucket(histogram, ns), 1);
            take_atomically(&raw mut (*histogram).sum, ns & LOW);
            take_atomically(&raw mut (*histogram).sum_high, ns >> SUM_BITS);
            (&raw mut (*histogram).longest).write_volatile(extremes[0]);
            (&raw mut (*histogram).shortest_inverted).write_volatile(extremes[1]);
        }
    }
}

#[inline(always)]
fn histogram(index: u32) -> Option<*mut Histogram> {
    if by() == 0 { HISTOGRAMS.get_ptr_mut(index) } else { GROUPED.get_ptr_mut(index) }
}

/// The function is not inlined, because it has many callers.
#[inline(never)]
fn add(index: u32, ns: u64) {
    let Some(histogram) = histogram(index) else { return };
    // SAFETY: `histogram` points to an element of its map, which stays valid while the program
    // runs. The additions are atomic, because other CPUs may add to the histogram of a group at the
    // same time. If two CPUs store a longest or shortest duration at the same time, the less
    // extreme value may remain. Two CPUs share a histogram only if sockets are grouped.
    unsafe {
        if ns == UNKNOWN_DURATION {
            add_one_atomically(&raw mut (*histogram).unknown);
            return;
        }
        add_one_atomically(bucket(histogram, ns));
        add_atomically(&raw mut (*histogram).sum, ns & LOW);
        if ns >> SUM_BITS != 0 {
            add_atomically(&raw mut (*histogram).sum_high, ns >> SUM_BITS);
        }
        let longest = &raw mut (*histogram).longest;
        if ns > longest.read_volatile() {
            longest.write_volatile(ns);
        }
        let shortest_inverted = &raw mut (*histogram).shortest_inverted;
        if !ns > shortest_inverted.read_volatile() {
            shortest_inverted.write_volatile(!ns);
        }
    }
}

/// Returns the counter of the bucket of a duration.
///
/// # Safety
/// `histogram` must point to an element of a map.
#[inline(always)]
unsafe fn bucket(histogram: *mut Histogram, ns: u64) -> *mut u64 {
    // The index is masked, because the verifier does not know the range of the number after the
    // shifts.
    let index = bucket_of(ns) & (BUCKET_SLOTS - 1);
    // SAFETY: the caller guarantees that `histogram` points to an element of a map, and the index
    // is masked to the array's length.
    unsafe { (&raw mut (*histogram).buckets).cast::<u64>().add(index) }
}

/// Returns the key by which sockets are grouped; the verifier knows the value.
#[inline(always)]
fn by() -> u32 {
    config!(flags) >> FLAGS_BY_SHIFT
}

/// Returns whether sockets are grouped by their owner.
#[inline(always)]
pub(crate) fn is_by_owner() -> bool {
    by() == By::Comm as u32
}

/// Notes the port of a listener, if sockets are grouped by port. The birth of a child also shows
/// the port, because a listener may not have its port yet when it enters LISTEN.
#[inline(always)]
pub(crate) fn observe_listener<A: Access>(sock: Sock<A>, from: usize, to: usize) {
    let is_child = to == State::SynRecv as usize && is_birth(from, to);
    if is_by_port() && (to == State::Listen as usize || is_child) {
        note_server_port(sock.held_port());
    }
}

/// Notes the local port of a request socket, if sockets are grouped by port.
#[inline(always)]
pub(crate) fn observe_request<A: Access>(req: Sock<A>) {
    if is_by_port() {
        note_server_port(req.held_port());
    }
}

/// Returns whether sockets are grouped by a port; the verifier knows the value.
#[inline(always)]
fn is_by_port() -> bool {
    by() == By::LocalPort as u32 || by() == By::RemotePort as u32
}

#[inline(never)]
fn note_server_port(port: u16) {
    let Some(mark) = server_port(port) else { return };
    // SAFETY: `mark` points to a byte of a map element, which stays valid while the program runs.
    // Every program writes the same value.
    unsafe {
        if port != 0 && mark.read_volatile() == 0 {
            mark.write_volatile(1);
        }
    }
}

#[inline(always)]
fn is_server_port(port: u16) -> bool {
    // SAFETY: `mark` points to a byte of a map element, which stays valid while the program runs.
    server_port(port).is_some_and(|mark| unsafe { mark.read_volatile() } != 0)
}

/// Returns the byte of a port in [`SERVER_PORTS`].
#[inline(always)]
fn server_port(port: u16) -> Option<*mut u8> {
    let port = u32::from(port);
    let element = SERVER_PORTS.get_ptr_mut(port / SERVER_PORTS_OF_ELEMENT as u32)?;
    let index = port as usize & (SERVER_PORTS_OF_ELEMENT - 1);
    // SAFETY: the index is masked to the length of the element.
    Some(unsafe { element.cast::<u8>().add(index) })
}

/// Returns the key of a socket's group.
#[inline(always)]
fn key<A: Access>(sock: Sock<A>, from: usize, owner: GroupKey) -> GroupKey {
    let by = by();
    // A port that connect() chose has no group of its own: the local port of a client, and the
    // remote port of a server.
    let words = if by == By::LocalPort as u32 {
        let port = sock.local_port(from);
        [if is_server_port(port) { u64::from(port) } else { 0 }, 0]
    } else if by == By::RemotePort as u32 {
        let is_server = is_server_port(sock.local_port(from));
        [if is_server { 0 } else { u64::from(sock.remote_port()) }, 0]
    } else if by == By::Remote as u32 {
        sock.remote()
    } else if by == By::Netns as u32 {
        let net = sock.namespace();
        [u64::from(net.inode()), net.identity()]
    } else if by == By::Cgroup as u32 {
        [cgroup(sock, from), 0]
    } else {
        owner.words
    };
    GroupKey { words }
}

/// Returns the number of a socket's cgroup; 0 for a mini socket, which has no cgroup.
#[inline(always)]
fn cgroup<A: Access>(sock: Sock<A>, from: usize) -> u64 {
    if from == State::TimeWait as usize { 0 } else { cgroups::cgroup(sock) }
}

/// Returns the ID of a group. A new group gets the next free ID. If no ID is free, the durations of
/// the group are added to [`GROUP_OTHER`] for the rest of the run.
#[inline(never)]
fn group(key: GroupKey) -> u32 {
    // SAFETY: the kernel does not free the memory of a map entry while the program runs, and no
    // program removes an entry of this map.
    if let Some(&id) = unsafe { GROUPS.get(key) } {
        return id;
    }
    let id = match GROUP_IDS.pop() {
        Ok(Some(id)) => id,
        Ok(None) => return GROUP_OTHER,
        Err(_) => return failed(),
    };
    match GROUPS.insert(key, id, u64::from(BPF_NOEXIST)) {
        Ok(()) => id,
        Err(errno) => {
            // The unused ID becomes free again. If the queue refuses the ID, one group fewer is
            // available.
            let _ = GROUP_IDS.push(id, 0);
            if errno == -EEXIST {
                // Another CPU inserted the group first. SAFETY: the kernel does not free the memory
                // of a map entry while the program runs, and no program removes an entry of this
                // map.
                return unsafe { GROUPS.get(key) }.copied().unwrap_or(GROUP_OTHER);
            }
            failed()
        }
    }
}

/// Counts a failure of the map of groups that is not a lack of space. The group may get an ID
/// later, and its histograms then lack this duration.
#[inline(always)]
fn failed() -> u32 {
    if let Some(slots) = histogram_slots() {
        // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(&raw mut (*slots).group_errors) };
    }
    GROUP_OTHER
}
