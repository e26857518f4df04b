//! Histograms of durations, as both halves know them: the list of histograms, their buckets, and
//! the state of sockets from which durations are computed.
//!
//! Buckets are log-linear. Up to 256 ns a bucket is 32 ns wide. Above 256 ns each octave has eight
//! buckets of equal width. A bucket is then at most an eighth as wide as its lower end. The middle
//! of a bucket differs from any duration in it by at most a sixteenth: [`RELATIVE_ERROR`].

#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of buckets and histograms are small, and `try_from` is none for constants"
)]

use crate::State::{
    self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
    SynSent,
};
use crate::abi::{STATE_SLOTS, TRANSITION_SLOTS, transition_slot};

/// Width of the narrowest buckets in nanoseconds, as a power of two.
const UNIT_BITS: u32 = 5;
/// Number of buckets of an octave, as a power of two.
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: u32 = 1 << SUB_BITS;
/// Octaves above the linear part: up to 2^52 ns, which is 52 days.
const OCTAVES: u32 = 44;

/// The number of buckets. The last bucket takes every duration longer than [`LONGEST_NS`].
pub const BUCKETS: usize = (SUB_BUCKETS * (OCTAVES + 1) + 1) as usize;

/// The number of buckets rounded up to a power of two. A masked index satisfies every verifier; a
/// compared index does not (5.10).
pub const BUCKET_SLOTS: usize = BUCKETS.next_power_of_two();

/// The longest duration in a bucket that has an upper end.
pub const LONGEST_NS: u64 = 1 << (UNIT_BITS + SUB_BITS + OCTAVES);

/// Maximum difference between the middle of a bucket and a duration in the bucket, as a fraction of
/// that duration. It holds from 256 ns to [`LONGEST_NS`].
pub const RELATIVE_ERROR: f64 = 1.0 / (2 * SUB_BUCKETS) as f64;

/// The bucket of a duration. A bucket excludes its lower end and includes its upper end.
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
    // The shift that leaves the first bit of the octave and the bits of the bucket. It is found by
    // bisection, because BPF has no instruction for the highest set bit.
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

/// The upper end of a bucket in nanoseconds; `None` for the last bucket.
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

/// The lower end of a bucket in nanoseconds.
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

/// One histogram, as the kernel half keeps it. An empty histogram is all zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Histogram {
    /// Counts of durations, indexed by [`bucket_of`].
    pub buckets: [u64; BUCKET_SLOTS],
    /// The sum of the lower [`SUM_BITS`] bits of each duration, in nanoseconds.
    pub sum: u64,
    /// The sum of the remaining upper bits of each duration, in units of 2^[`SUM_BITS`] ns. Two
    /// sums are kept so that neither overflows.
    pub sum_high: u64,
    /// The longest duration in nanoseconds.
    pub longest: u64,
    /// The bitwise complement of the shortest duration, so that 0 means no duration.
    pub shortest_inverted: u64,
    /// The number of unknown durations.
    pub unknown: u64,
}

/// The number of bits of a duration that are added to [`Histogram::sum`]. The other bits are added
/// to [`Histogram::sum_high`].
pub const SUM_BITS: u32 = 30;

impl Histogram {
    /// The histogram without durations.
    pub const EMPTY: Self = Self {
        buckets: [0; BUCKET_SLOTS],
        sum: 0,
        sum_high: 0,
        longest: 0,
        shortest_inverted: 0,
        unknown: 0,
    };
}

/// The transitions that leave a state. Each has a histogram of the durations of that state. The
/// kernel makes no other such transitions; those of a future kernel share [`SLOT_OTHER_PAIR`].
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

/// The histogram of all transitions that are not in [`PAIRS`].
pub const SLOT_OTHER_PAIR: u32 = PAIRS.len() as u32;
/// From a connection's birth to `CLOSE`, if its handshake completed.
pub const SLOT_LIFETIME: u32 = SLOT_OTHER_PAIR + 1;
/// From an incoming SYN to `ESTABLISHED`: the durations of the request socket and of its child
/// together.
pub const SLOT_SERVER_CONNECT: u32 = SLOT_OTHER_PAIR + 2;
/// From the birth of a request socket to its end.
pub const SLOT_REQUEST: u32 = SLOT_OTHER_PAIR + 3;
/// The time of a time-wait socket in TIME_WAIT.
pub const SLOT_TIME_WAIT: u32 = SLOT_OTHER_PAIR + 4;
/// The time of a time-wait socket in FIN_WAIT2.
pub const SLOT_ORPHAN: u32 = SLOT_OTHER_PAIR + 5;
/// From the birth of a time-wait socket to its end, in all substates.
pub const SLOT_HOLD: u32 = SLOT_OTHER_PAIR + 6;
/// The number of histograms of one group.
pub const SLOTS: u32 = SLOT_OTHER_PAIR + 7;

/// The histogram of each transition, indexed by [`transition_slot`].
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

/// The histogram of a transition that leaves a state.
#[must_use]
#[inline]
pub fn slot_of_pair(from: usize, to: usize) -> u32 {
    const { assert!(STATE_SLOTS * STATE_SLOTS == TRANSITION_SLOTS) };
    SLOT_OF_PAIR[transition_slot(from, to)].into()
}

/// The key by which sockets are grouped, as 16 bytes. Zeroes if a socket has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct GroupKey {
    /// A number in the first word, or an IPv6 address in network byte order, or a name.
    pub words: [u64; 2],
}

/// The group of all sockets that have no separate group because there was no room for one.
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

/// The remembered state of a time-wait socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TimedMini {
    /// Time of its birth (monotonic clock, nanoseconds).
    pub born: u64,
    /// Time when it entered its substate (monotonic clock, nanoseconds).
    pub since: u64,
    /// The kernel number of the substate; 0 if nothing is known.
    pub substate: u64,
}

/// The memory of one CPU: the mini sockets that it observed last, and its losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HistogramSlots {
    /// The request socket that was removed last.
    pub request: LastRequest,
    /// The time-wait socket that ended last.
    pub time_wait: LastTimeWait,
    /// Full sockets that did not fit in the table of sockets.
    pub untracked: u64,
    /// Mini sockets that did not fit in their table.
    pub untracked_minis: u64,
    /// Events since the load, if tests make the program drop events: see
    /// [`FLAG_DROP_TRACKED`](crate::abi::FLAG_DROP_TRACKED).
    pub events: u64,
    /// Events that were dropped on purpose.
    pub dropped: u64,
    /// Durations that were added to [`GROUP_OTHER`] because the map of groups failed for another
    /// reason than a lack of room.
    pub group_errors: u64,
}

/// A request socket that was removed. The child that replaces it is established next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastRequest {
    /// Address of the request socket.
    pub request: u64,
    /// Time of its insertion (monotonic clock, nanoseconds); 0 if unknown.
    pub since: u64,
    /// Time of its removal (monotonic clock, nanoseconds).
    pub until: u64,
    /// The remote port (network byte order) above the local port (host byte order).
    pub ports: u64,
}

/// A time-wait socket that seemed to end. Its timer may be started again immediately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastTimeWait {
    /// The state that was stored for the socket.
    pub timed: TimedMini,
    /// Time when it seemed to end (monotonic clock, nanoseconds).
    pub until: u64,
    /// The earlier [`Histogram::longest`] and [`Histogram::shortest_inverted`] of two histograms:
    /// that of the substate, and [`SLOT_HOLD`].
    pub extremes: [[u64; 2]; 2],
}

// SAFETY: `repr(C)` structs of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Histogram {}
// SAFETY: `repr(C)` structs of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for GroupKey {}
// SAFETY: `repr(C)` structs of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for TimedMini {}
// SAFETY: `repr(C)` structs of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for HistogramSlots {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of all buckets, and the numbers next to them.
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
