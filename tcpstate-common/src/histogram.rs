//! Histograms of durations: the list of histograms, their buckets, and the stored state of sockets
//! from which the BPF programs compute durations.
//!
//! The widths of the buckets are log-linear. For durations of up to 256 ns, each bucket is 32 ns
//! wide. For longer durations, each octave has eight buckets of equal width. The width of a bucket
//! above 256 ns is at most an eighth of the bucket's lower bound. The middle of a bucket differs
//! from any duration in the bucket by at most a sixteenth of that duration: see [`RELATIVE_ERROR`].

#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of buckets and histograms are small, and `try_from` is none for constants"
)]

use crate::State::{
    self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
    SynSent,
};
use crate::abi::{COMM_BYTES, STATE_SLOTS, TRANSITION_SLOTS, transition_slot};

/// Width of the narrowest buckets in nanoseconds, as an exponent of two.
const UNIT_BITS: u32 = 5;
/// Number of buckets of an octave, as an exponent of two.
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: u32 = 1 << SUB_BITS;
/// Number of octaves above the linear buckets. The highest octave ends at 2^52 ns (52 days).
const OCTAVES: u32 = 44;

/// The number of buckets in a histogram. The last bucket counts every duration longer than
/// [`LONGEST_NS`].
pub const BUCKETS: usize = (SUB_BUCKETS * (OCTAVES + 1) + 1) as usize;

/// The number of buckets of a histogram, rounded up to a power of two. The verifier of every kernel
/// accepts a masked array index. The verifier of 5.10 refuses an index that is only compared with
/// the array's length.
pub const BUCKET_SLOTS: usize = BUCKETS.next_power_of_two();

/// The longest duration in nanoseconds that lies in a bucket with an upper bound.
pub const LONGEST_NS: u64 = 1 << (UNIT_BITS + SUB_BITS + OCTAVES);

/// Maximum difference between the middle of a bucket and a duration in the bucket, as a fraction of
/// that duration. The maximum is valid for durations from 256 ns to [`LONGEST_NS`].
pub const RELATIVE_ERROR: f64 = 1.0 / (2 * SUB_BUCKETS) as f64;

/// Returns the bucket of a duration in nanoseconds. A bucket excludes its lower bound and includes
/// its upper bound.
#[must_use]
#[inline]
pub const fn bucket_of(ns: u64) -> usize {
    if ns > LONGEST_NS {
        return BUCKETS - 1;
    }
    let units = ns.saturating_sub(1) >> UNIT_BITS;
    if units < SUB_BUCKETS as u64 {
        return units as usize;
    }
    // The loop finds the shift that leaves the highest bit of the octave and the bits of the
    // bucket. The loop uses bisection, because BPF has no instruction that finds the highest set
    // bit.
    let (mut rest, mut shift) = (units >> SUB_BITS, 0_u32);
    let mut half = 32;
    while half > 0 {
        if rest >> half != 0 {
            rest >>= half;
            shift += half;
        }
        half /= 2;
    }
    ((shift as u64 * SUB_BUCKETS as u64) + (units >> shift)) as usize
}

/// Returns the upper bound of a bucket in nanoseconds, or `None` for the last bucket.
#[must_use]
pub const fn bucket_end(bucket: usize) -> Option<u64> {
    if bucket >= BUCKETS - 1 {
        return None;
    }
    let (octave, sub) = (bucket as u32 / SUB_BUCKETS, bucket as u32 % SUB_BUCKETS);
    let units = match octave.checked_sub(1) {
        None => sub as u64 + 1,
        Some(shift) => ((SUB_BUCKETS + sub + 1) as u64) << shift,
    };
    Some(units << UNIT_BITS)
}

/// Returns the lower bound of a bucket in nanoseconds.
#[must_use]
pub const fn bucket_begin(bucket: usize) -> u64 {
    match bucket.checked_sub(1) {
        None => 0,
        Some(before) => match bucket_end(before) {
            Some(end) => end,
            None => LONGEST_NS,
        },
    }
}

/// One histogram, in the layout of the BPF map. All fields of an empty histogram are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Histogram {
    /// Counts of durations, indexed by [`bucket_of`].
    pub buckets: [u64; BUCKET_SLOTS],
    /// The sum of the lower [`SUM_BITS`] bits of each duration, in nanoseconds.
    pub sum: u64,
    /// The sum of the upper bits of each duration, above the lowest [`SUM_BITS`] bits, in units of
    /// 2^[`SUM_BITS`] ns. The histogram keeps two sums so that neither sum overflows.
    pub sum_high: u64,
    /// The longest duration that was added, in nanoseconds.
    pub longest: u64,
    /// The bitwise complement of the shortest duration that was added; 0 if no duration was added.
    pub shortest_inverted: u64,
    /// The number of unknown durations: their end was observed, but their start or an event between
    /// was missed.
    pub unknown: u64,
}

/// The number of low bits of a duration that are added to [`Histogram::sum`]. The upper bits of the
/// duration are added to [`Histogram::sum_high`].
pub const SUM_BITS: u32 = 30;

impl Histogram {
    /// A histogram that contains no durations.
    pub const EMPTY: Self = Self {
        buckets: [0; BUCKET_SLOTS],
        sum: 0,
        sum_high: 0,
        longest: 0,
        shortest_inverted: 0,
        unknown: 0,
    };
}

/// The transitions that have a separate histogram. The histogram of a transition contains how long
/// sockets stayed in the old state. The kernel makes no other transition that leaves a counted
/// state. The transitions that a future kernel may add share the histogram [`SLOT_OTHER_PAIR`].
pub const PAIRS: [(State, State); 19] = [
    (Listen, Close),
    (SynSent, Established),
    (SynSent, SynRecv),
    (SynSent, Close),
    (SynRecv, Established),
    (SynRecv, FinWait1),
    (SynRecv, CloseWait),
    (SynRecv, Close),
    (Established, FinWait1),
    (Established, CloseWait),
    (Established, Close),
    (FinWait1, FinWait2),
    (FinWait1, Closing),
    (FinWait1, Close),
    (FinWait2, Close),
    (CloseWait, LastAck),
    (CloseWait, Close),
    (Closing, Close),
    (LastAck, Close),
];

/// Index of the histogram of all transitions that are not in [`PAIRS`].
pub const SLOT_OTHER_PAIR: u32 = PAIRS.len() as u32;
/// Index of the histogram of lifetimes, from a connection's birth to `CLOSE`, of connections whose
/// handshake completed.
pub const SLOT_LIFETIME: u32 = SLOT_OTHER_PAIR + 1;
/// Index of the histogram of incoming handshakes, from the SYN to `ESTABLISHED`: the durations of
/// the request socket and of its child together.
pub const SLOT_SERVER_CONNECT: u32 = SLOT_OTHER_PAIR + 2;
/// Index of the histogram of the lifetimes of request sockets.
pub const SLOT_REQUEST: u32 = SLOT_OTHER_PAIR + 3;
/// Index of the histogram of how long time-wait sockets stay in TIME_WAIT.
pub const SLOT_TIME_WAIT: u32 = SLOT_OTHER_PAIR + 4;
/// Index of the histogram of how long time-wait sockets stay in FIN_WAIT2.
pub const SLOT_ORPHAN: u32 = SLOT_OTHER_PAIR + 5;
/// Index of the histogram of the lifetimes of time-wait sockets, in all substates together.
pub const SLOT_HOLD: u32 = SLOT_OTHER_PAIR + 6;
/// The number of histograms of each group.
pub const SLOTS: u32 = SLOT_OTHER_PAIR + 7;

/// The index of each transition's histogram, indexed by [`transition_slot`].
static SLOT_OF_PAIR: [u8; TRANSITION_SLOTS] = {
    let mut slots = [SLOT_OTHER_PAIR as u8; TRANSITION_SLOTS];
    let mut index = 0;
    while index < PAIRS.len() {
        let (from, to) = PAIRS[index];
        slots[transition_slot(from as usize, to as usize)] = index as u8;
        index += 1;
    }
    slots
};

/// Returns the index of the histogram of a transition that leaves a state.
#[must_use]
#[inline]
pub fn slot_of_pair(from: usize, to: usize) -> u32 {
    const { assert!(STATE_SLOTS * STATE_SLOTS == TRANSITION_SLOTS) };
    SLOT_OF_PAIR[transition_slot(from, to)].into()
}

/// The key by which sockets are grouped, in 16 bytes. All bytes are 0 if a socket has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct GroupKey {
    /// The key: a number in the first word, an IPv6 address in network byte order, or a process
    /// name.
    pub words: [u64; 2],
}

impl GroupKey {
    /// Returns the key of the sockets of a process with this name.
    #[must_use]
    #[inline]
    pub fn of_name(name: [u8; COMM_BYTES]) -> Self {
        let (first, second) = name.split_at(COMM_BYTES / 2);
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        Self { words: [word(first), word(second)] }
    }
}

/// The group that counts every socket whose key has no separate group.
pub const GROUP_OTHER: u32 = 0;

/// The kind of key by which histograms are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum By {
    /// The local port.
    LocalPort = 1,
    /// The remote port.
    RemotePort = 2,
    /// The remote address.
    Remote = 3,
    /// The network namespace.
    Netns = 4,
    /// The socket's cgroup.
    Cgroup = 5,
    /// The name of the process that owns the socket.
    Comm = 6,
}

impl By {
    /// All kinds of keys.
    pub const ALL: [Self; 6] =
        [Self::LocalPort, Self::RemotePort, Self::Remote, Self::Netns, Self::Cgroup, Self::Comm];
}

/// The number of ports of an element of the map of ports that a process has listened on.
pub const SERVER_PORTS_OF_ELEMENT: usize = 8;

/// The stored state of a time-wait socket, from which its durations are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TimedMini {
    /// Time of the socket's birth (monotonic clock, nanoseconds).
    pub born: u64,
    /// Time when the socket entered its substate (monotonic clock, nanoseconds).
    pub since: u64,
    /// The kernel number of the socket's substate; 0 if the socket's state is unknown.
    pub substate: u64,
}

/// The memory of one CPU for histograms: the mini sockets that the CPU observed last, and counts of
/// losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HistogramSlots {
    /// The request socket that was last removed on this CPU.
    pub request: LastRequest,
    /// The time-wait socket whose end was last observed on this CPU.
    pub time_wait: LastTimeWait,
    /// Number of full sockets that did not fit in the table of sockets.
    pub untracked: u64,
    /// Number of mini sockets that did not fit in their tables.
    pub untracked_minis: u64,
    /// Number of events since the load, counted only if a test makes the program drop events: see
    /// [`FLAG_DROP_TRACKED`](crate::abi::FLAG_DROP_TRACKED).
    pub events: u64,
    /// Number of durations that were added to [`GROUP_OTHER`] because the map of groups failed
    /// although it had space.
    pub group_errors: u64,
}

/// A request socket that was removed from the kernel's table. The child that replaces the request
/// socket enters ESTABLISHED next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastRequest {
    /// Address of the request socket.
    pub request: u64,
    /// Time when the request socket was inserted (monotonic clock, nanoseconds); 0 if unknown.
    pub since: u64,
    /// Time when the request socket was removed (monotonic clock, nanoseconds).
    pub until: u64,
    /// The ports of the request socket: the remote port (network byte order) in the bits above the
    /// local port (host byte order).
    pub ports: u64,
}

/// A time-wait socket that seemed to end, because its timer was stopped. The kernel may start the
/// socket's timer again immediately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastTimeWait {
    /// The state that was stored for the socket.
    pub timed: TimedMini,
    /// Time when the socket seemed to end (monotonic clock, nanoseconds).
    pub until: u64,
    /// The values of [`Histogram::longest`] and [`Histogram::shortest_inverted`] before this
    /// socket's durations were added. The first pair belongs to the substate's histogram, the
    /// second pair belongs to [`SLOT_HOLD`].
    pub extremes: [[u64; 2]; 2],
}

// SAFETY: `Histogram` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Histogram {}
// SAFETY: `GroupKey` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for GroupKey {}
// SAFETY: `TimedMini` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for TimedMini {}
// SAFETY: `HistogramSlots` is a `repr(C)` struct of integers without padding, so every bit pattern
// is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for HistogramSlots {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the upper bounds of all buckets, the numbers next to those bounds, 0, 1 and the
    /// largest number.
    fn interesting() -> impl Iterator<Item = u64> {
        let ends = (0..BUCKETS).filter_map(bucket_end);
        ends.flat_map(|end| [end - 1, end, end + 1]).chain([0, 1, u64::MAX])
    }

    #[test]
    fn each_duration_lies_in_its_bucket() {
        for ns in interesting() {
            let bucket = bucket_of(ns);
            assert!(bucket_begin(bucket) < ns || ns == 0, "{ns} in {bucket}");
            assert!(bucket_end(bucket).is_none_or(|end| ns <= end), "{ns} in {bucket}");
        }
    }

    #[test]
    fn buckets_lie_side_by_side_up_to_52_days() {
        for bucket in 1..BUCKETS {
            assert!(bucket_begin(bucket) > bucket_begin(bucket - 1), "{bucket}");
            assert_eq!(Some(bucket_begin(bucket)), bucket_end(bucket - 1), "{bucket}");
        }
        assert_eq!(bucket_end(BUCKETS - 2), Some(LONGEST_NS));
        assert_eq!(bucket_of(LONGEST_NS + 1), BUCKETS - 1);
        assert_eq!(bucket_of(52 * 86_400_000_000_000), BUCKETS - 2);
    }

    #[test]
    fn the_middle_of_a_bucket_is_off_by_a_sixteenth_at_most() {
        for bucket in bucket_of(257)..BUCKETS - 1 {
            let (begin, end) = (bucket_begin(bucket), bucket_end(bucket).expect("not the last"));
            let middle = f64::midpoint(begin as f64, end as f64);
            for ns in [begin + 1, end] {
                let error = (middle - ns as f64).abs() / ns as f64;
                assert!(error <= RELATIVE_ERROR, "{ns} in {bucket}: {error}");
            }
        }
    }

    #[test]
    fn each_pair_has_a_histogram_of_its_own_and_other_pairs_share_one() {
        for (index, (from, to)) in PAIRS.into_iter().enumerate() {
            assert_eq!(slot_of_pair(from.number(), to.number()), index as u32);
        }
        assert_eq!(slot_of_pair(Listen.number(), Established.number()), SLOT_OTHER_PAIR);
    }
}
