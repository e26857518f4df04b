//! Adds durations to buckets: in [`HISTOGRAMS`](crate::maps::HISTOGRAMS), or in
//! [`GROUPED`](crate::maps::GROUPED) if sockets are grouped.
//!
//! Both maps have two buffers. The control word selects the active buffer of the maps and of the
//! counts together. So histograms and transition counts cover equal periods.

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpstate_common::{
    State,
    abi::{CONTROL_BUFFER, FLAGS_BY_SHIFT, UNKNOWN_DURATION},
    histogram::{BUCKET_SLOTS, By, GROUP_OTHER, GroupKey, Histogram, SLOTS, SUM_BITS, bucket_of},
};

use crate::{
    atomic::{add_atomically, add_one_atomically, take_atomically},
    cgroups,
    config::config,
    kernel::EEXIST,
    maps::{GROUP_IDS, GROUPED, GROUPS, HISTOGRAMS, histogram_slots},
    sock::{Access, Sock},
};

/// The part of a duration that goes to [`Histogram::sum`].
const LOW: u64 = (1 << SUM_BITS) - 1;

/// The histograms of a socket's group in the active buffer: the index of the first one.
#[derive(Clone, Copy)]
pub(crate) struct HistogramRef(u32);

impl HistogramRef {
    /// The histograms of a socket that leaves a state.
    #[inline(always)]
    pub(crate) fn of<A: Access>(sock: Sock<A>, control: u32, from: usize, owner: GroupKey) -> Self {
        let group = if by() == 0 { GROUP_OTHER } else { group(key(sock, from, owner)) };
        Self((group * 2 + (control & CONTROL_BUFFER)) * SLOTS)
    }

    /// Adds a duration. [`UNKNOWN_DURATION`] adds one to [`Histogram::unknown`].
    #[inline(always)]
    pub(crate) fn add(self, slot: u32, ns: u64) {
        add(self.0 + slot, ns);
    }

    /// [`Histogram::longest`] and [`Histogram::shortest_inverted`].
    #[inline(always)]
    pub(crate) fn extremes(self, slot: u32) -> [u64; 2] {
        let Some(histogram) = histogram(self.0 + slot) else { return [0; 2] };
        // SAFETY: `histogram` is an element of its map.
        unsafe { [(*histogram).longest, (*histogram).shortest_inverted] }
    }

    /// Takes back a duration that [`Self::add`] just added to this buffer. `extremes` are the
    /// extremes before that addition.
    #[inline(never)]
    pub(crate) fn take_back(self, slot: u32, ns: u64, extremes: [u64; 2]) {
        let Some(histogram) = histogram(self.0 + slot) else { return };
        // SAFETY: `histogram` is an element of its map.
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

/// Out of line, because it has many callers.
#[inline(never)]
fn add(index: u32, ns: u64) {
    let Some(histogram) = histogram(index) else { return };
    // SAFETY: `histogram` is an element of its map. Additions are atomic, because other CPUs may
    // add to a group at the same time. If two CPUs store an extreme at the same time, the less
    // extreme value may remain. This happens in groups only.
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

/// The counter of the bucket of a duration.
///
/// # Safety
/// `histogram` is an element of a map.
#[inline(always)]
unsafe fn bucket(histogram: *mut Histogram, ns: u64) -> *mut u64 {
    // The verifier does not know the range of a number after these shifts.
    let index = bucket_of(ns) & (BUCKET_SLOTS - 1);
    // SAFETY: the caller's promise.
    unsafe { (&raw mut (*histogram).buckets).cast::<u64>().add(index) }
}

/// The key by which sockets are grouped; the verifier knows its value.
#[inline(always)]
fn by() -> u32 {
    config!(flags) >> FLAGS_BY_SHIFT
}

/// Whether sockets are grouped by their owner.
#[inline(always)]
pub(crate) fn is_by_owner() -> bool {
    by() == By::Comm as u32
}

/// The key of a socket's group.
#[inline(always)]
fn key<A: Access>(sock: Sock<A>, from: usize, owner: GroupKey) -> GroupKey {
    let by = by();
    let words = if by == By::LocalPort as u32 {
        [u64::from(sock.local_port(from)), 0]
    } else if by == By::RemotePort as u32 {
        [u64::from(sock.remote_port()), 0]
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

/// A socket's cgroup; a mini socket has none.
#[inline(always)]
fn cgroup<A: Access>(sock: Sock<A>, from: usize) -> u64 {
    if from == State::TimeWait as usize { 0 } else { cgroups::cgroup(sock) }
}

/// The ID of a group. A new group gets the next free ID. If no ID is free, the group is counted in
/// [`GROUP_OTHER`] for the rest of the run.
#[inline(never)]
fn group(key: GroupKey) -> u32 {
    // SAFETY: an entry's memory stays an entry's while the program runs, and entries are never
    // removed.
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
            // The ID becomes free again. If the queue fails too, there is one group less.
            let _ = GROUP_IDS.push(id, 0);
            if errno == -EEXIST {
                // Another CPU inserted the group first.
                // SAFETY: an entry's memory stays an entry's while the program runs, and entries
                // are never removed.
                return unsafe { GROUPS.get(key) }.copied().unwrap_or(GROUP_OTHER);
            }
            failed()
        }
    }
}

/// The map failed for another reason than a lack of room. The group may get an ID later, and then
/// lacks this duration.
#[inline(always)]
fn failed() -> u32 {
    if let Some(slots) = histogram_slots() {
        // SAFETY: `slots` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*slots).group_errors) };
    }
    GROUP_OTHER
}
