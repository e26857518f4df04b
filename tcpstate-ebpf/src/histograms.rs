//! Durations become counts in buckets: [`HISTOGRAMS`](crate::maps::HISTOGRAMS), or, where sockets are grouped,
//! [`GROUPED`](crate::maps::GROUPED).
//!
//! Both have two buffers, between which the control word chooses as it does for the counts. So histograms and matrix cover the
//! same stretch of time.

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

/// The histograms of a socket's group, in the buffer that takes the counts: the index of the first.
#[derive(Clone, Copy)]
pub(crate) struct HistogramRef(u32);

impl HistogramRef {
    /// The histograms of a socket that leaves a state.
    #[inline(always)]
    pub(crate) fn of<A: Access>(sock: Sock<A>, control: u32, from: usize, owner: GroupKey) -> Self {
        let group = if by() == 0 { GROUP_OTHER } else { group(key(sock, from, owner)) };
        Self((group * 2 + (control & CONTROL_BUFFER)) * SLOTS)
    }

    /// Adds a duration; one that is [`UNKNOWN_DURATION`] is counted as such.
    #[inline(always)]
    pub(crate) fn add(self, slot: u32, ns: u64) {
        add(self.0 + slot, ns);
    }

    /// The longest and the shortest duration, as [`Histogram`] has them.
    #[inline(always)]
    pub(crate) fn extremes(self, slot: u32) -> [u64; 2] {
        let Some(histogram) = histogram(self.0 + slot) else { return [0; 2] };
        // SAFETY: `histogram` is an element of its map.
        unsafe { [(*histogram).longest, (*histogram).shortest_inverted] }
    }

    /// Takes back what [`Self::add`] added to the same buffer a moment ago, given the extremes before.
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

/// Out of line, for it has many callers.
#[inline(never)]
fn add(index: u32, ns: u64) {
    let Some(histogram) = histogram(index) else { return };
    // SAFETY: `histogram` is an element of its map. Additions are atomic: others may write a group at the same time. Of two
    // that store an extreme at once one may win that is not the extreme, which is only so in groups.
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

/// # Safety
/// `histogram` is an element of a map.
#[inline(always)]
unsafe fn bucket(histogram: *mut Histogram, ns: u64) -> *mut u64 {
    // The verifier does not know what shifts make of a number.
    let index = bucket_of(ns) & (BUCKET_SLOTS - 1);
    // SAFETY: the caller's promise.
    unsafe { (&raw mut (*histogram).buckets).cast::<u64>().add(index) }
}

/// The key of groups; a known value to the verifier.
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

/// The number of a group: the number that it has, or the next free one. A group that finds no free number counts among the
/// others for good.
#[inline(never)]
fn group(key: GroupKey) -> u32 {
    // SAFETY: an entry's memory stays an entry's while the program runs, and entries are never removed.
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
            // The number is free again, unless the queue fails too; then there is one group less.
            let _ = GROUP_IDS.push(id, 0);
            if errno == -EEXIST {
                // Another CPU was quicker.
                // SAFETY: as above.
                return unsafe { GROUPS.get(key) }.copied().unwrap_or(GROUP_OTHER);
            }
            failed()
        }
    }
}

/// The map failed for another reason than a lack of room: the group may get a number later, and then lacks this duration.
#[inline(always)]
fn failed() -> u32 {
    if let Some(slots) = histogram_slots() {
        // SAFETY: `slots` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*slots).group_errors) };
    }
    GROUP_OTHER
}
