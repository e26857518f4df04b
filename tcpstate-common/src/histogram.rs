//! Histograms of durations as both halves know them: which there are, their buckets, and what is remembered of sockets
//! meanwhile.
//!
//! Buckets are log-linear. Up to 256 ns they are 32 ns wide; above, each octave has eight of the same width, so that a
//! bucket is never wider than an eighth of its least value. Whoever takes a bucket's middle for a duration is off by a
//! sixteenth at most: [`RELATIVE_ERROR`].

#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of buckets and histograms are small, and `try_from` is none for constants"
)]

use crate::State::{
    self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
    SynSent,
};
use crate::abi::{STATE_SLOTS, TRANSITION_SLOTS, transition_slot};

/// Nanoseconds that the narrowest buckets span, as a power of two.
const UNIT_BITS: u32 = 5;
/// Buckets of an octave, as a power of two.
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: u32 = 1 << SUB_BITS;
/// Octaves above the linear part: up to 2^52 ns, which are 52 days.
const OCTAVES: u32 = 44;

/// The last one takes all that is longer than [`LONGEST_NS`].
pub const BUCKETS: usize = (SUB_BUCKETS * (OCTAVES + 1) + 1) as usize;

/// Room for as many, a power of two: a masked index satisfies every verifier, and a bounded one does not (5.10).
pub const BUCKET_SLOTS: usize = BUCKETS.next_power_of_two();

/// The longest duration that has a bucket with an end.
pub const LONGEST_NS: u64 = 1 << (UNIT_BITS + SUB_BITS + OCTAVES);

/// By how much the middle of a bucket differs at most from a duration in it, as a share of that duration; from 256 ns
/// to [`LONGEST_NS`].
pub const RELATIVE_ERROR: f64 = 1.0 / (2 * SUB_BUCKETS) as f64;

/// The bucket of a duration. A bucket begins above its lower end and includes its upper one.
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
    // How far the number has to be shifted to leave the octave's first bit and those that name the bucket. By halves: the
    // kernel half has no instruction that finds the highest bit.
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

/// The duration, in nanoseconds, that a bucket ends with; none for the last one.
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

/// The duration above which a bucket begins.
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

/// One histogram, as the kernel half keeps it. Zeroes are an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Histogram {
    /// Durations by [`bucket_of`].
    pub buckets: [u64; BUCKET_SLOTS],
    /// Their sum: the lower [`SUM_BITS`] bits of each, in nanoseconds.
    pub sum: u64,
    /// And what is above, in units of 2^[`SUM_BITS`] ns, so that neither overflows.
    pub sum_high: u64,
    /// The longest.
    pub longest: u64,
    /// All bits of the shortest turned over, so that 0 means that there is none.
    pub shortest_inverted: u64,
    /// Those of which nobody knows how long they were.
    pub unknown: u64,
}

/// Where [`Histogram::sum`] ends and [`Histogram::sum_high`] begins.
pub const SUM_BITS: u32 = 30;

impl Histogram {
    /// Nothing in it.
    pub const EMPTY: Self = Self {
        buckets: [0; BUCKET_SLOTS],
        sum: 0,
        sum_high: 0,
        longest: 0,
        shortest_inverted: 0,
        unknown: 0,
    };
}

/// The pairs that leave a state: for each a histogram of how long that state had lasted. The kernel makes no others; what a
/// future one may make has a histogram of all of them together.
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

/// The histogram of pairs that are none of [`PAIRS`].
pub const SLOT_OTHER_PAIR: u32 = PAIRS.len() as u32;
/// From a connection's birth to its `CLOSE`, if it came past the handshake.
pub const SLOT_LIFETIME: u32 = SLOT_OTHER_PAIR + 1;
/// From a SYN that came in to `ESTABLISHED`: the request socket and its child together.
pub const SLOT_SERVER_CONNECT: u32 = SLOT_OTHER_PAIR + 2;
/// Of a request socket.
pub const SLOT_REQUEST: u32 = SLOT_OTHER_PAIR + 3;
/// Of a time-wait socket in TIME_WAIT.
pub const SLOT_TIME_WAIT: u32 = SLOT_OTHER_PAIR + 4;
/// Of a time-wait socket in FIN_WAIT2.
pub const SLOT_ORPHAN: u32 = SLOT_OTHER_PAIR + 5;
/// Of a time-wait socket from its birth to its end, whatever its substate.
pub const SLOT_HOLD: u32 = SLOT_OTHER_PAIR + 6;
/// Histograms of one group.
pub const SLOTS: u32 = SLOT_OTHER_PAIR + 7;

/// The histogram of each pair, by [`transition_slot`].
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

/// The histogram of a pair that leaves a state.
#[must_use]
#[inline]
pub fn slot_of_pair(from: usize, to: usize) -> u32 {
    const { assert!(STATE_SLOTS * STATE_SLOTS == TRANSITION_SLOTS) };
    SLOT_OF_PAIR[transition_slot(from, to)].into()
}

/// What sockets are told apart by, as 16 bytes whatever it is. Zeroes if a socket has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct GroupKey {
    /// A number in the first; an IPv6 address in the network's order; a name.
    pub words: [u64; 2],
}

/// The group of what has none of its own, for want of room.
pub const GROUP_OTHER: u32 = 0;

/// What histograms are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum By {
    /// The socket's own port.
    LocalPort = 1,
    /// The peer's port.
    RemotePort = 2,
    /// The peer's address.
    Remote = 3,
    /// The network namespace.
    Netns = 4,
    /// The socket's cgroup.
    Cgroup = 5,
    /// The name of the process that connected or listened.
    Comm = 6,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::LocalPort, Self::RemotePort, Self::Remote, Self::Netns, Self::Cgroup, Self::Comm];
}

/// What is remembered of a time-wait socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TimedMini {
    /// When it was born, by the monotonic clock, in nanoseconds.
    pub born: u64,
    /// When it came into its substate.
    pub since: u64,
    /// The kernel number of that substate; 0 if nothing is known.
    pub substate: u64,
}

/// What one CPU remembers of the mini socket that it saw last, and what it had no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HistogramSlots {
    /// The request socket that was taken out last.
    pub request: LastRequest,
    /// The time-wait socket that ended last.
    pub time_wait: LastTimeWait,
    /// Sockets that there was no room to remember.
    pub untracked: u64,
    /// Mini sockets that there was no room to remember.
    pub untracked_minis: u64,
    /// Events seen, where tests have some ignored: see [`FLAG_DROP_TRACKED`](crate::abi::FLAG_DROP_TRACKED).
    pub events: u64,
    /// Those of them that were ignored.
    pub dropped: u64,
    /// Durations that went to [`GROUP_OTHER`] because the map of groups failed, and not for want of room.
    pub group_errors: u64,
}

/// A request socket that was taken out: the child that takes its place is established next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastRequest {
    /// Address.
    pub request: u64,
    /// When it was put in; 0 if unknown.
    pub since: u64,
    /// When it was taken out.
    pub until: u64,
    /// Its ports, the peer's in the network's order above its own.
    pub ports: u64,
}

/// A time-wait socket that seemed to end: its timer may be started again at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastTimeWait {
    /// What was remembered of it.
    pub timed: TimedMini,
    /// When it seemed to end.
    pub until: u64,
    /// [`Histogram::longest`] and [`Histogram::shortest_inverted`] before, of its substate and of [`SLOT_HOLD`].
    pub extremes: [[u64; 2]; 2],
}

// SAFETY: `repr(C)` structs of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Histogram {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for GroupKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for TimedMini {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for HistogramSlots {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of all buckets, and numbers around them.
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
