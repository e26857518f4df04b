//! Encodes durations. The encoding of a histogram omits the empty buckets.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    time::Duration,
};

use minicbor::{Decode, Decoder, Encode, decode};
use tcpstate_common::histogram;

use super::{
    Malformed,
    limited::{Bytes, List, Text},
    table::{Nanos, Newer, Number, Wire, wire},
};
use crate::{recording::budget::Budget, report};

/// The maximum number of histograms: each kind for each of the 16,384 groups that `--max-groups`
/// allows.
const MAX_HISTOGRAMS: usize = 1 << 22;
/// The maximum number of numbers in the list of buckets: the index and the count of each bucket.
const MAX_BUCKETS: usize = 2 * histogram::BUCKETS;

wire! {
    Histograms is report::Histograms {
        0 by: Option<By>,
        1 all: List<Histogram, MAX_HISTOGRAMS>,
        2 untimed: Untimed,
        3 is_filtered: Newer,
    }

    Histogram is report::Histogram {
        0 of: Of,
        1 group: Option<Group>,
        2 tally: Tally,
    }

    Untimed is report::Untimed {
        0 missed: u64,
        1 untracked: u64,
        2 untracked_minis: u64,
        3 group_errors: u64,
    }
}

/// The property by which sockets are grouped. The property is encoded as the number that the BPF
/// programs use.
#[derive(Encode, Decode)]
#[cbor(transparent)]
struct By(#[n(0)] u32);

impl Wire<histogram::By> for By {
    fn of(by: &histogram::By) -> Self {
        Self(*by as u32)
    }

    fn read(self) -> Result<histogram::By, Malformed> {
        let by = histogram::By::ALL.into_iter().find(|&by| by as u32 == self.0);
        by.ok_or_else(|| Malformed::message("no such groups"))
    }
}

#[derive(Encode, Decode)]
enum Of {
    #[n(0)]
    Full(#[n(0)] Number),
    #[n(1)]
    Mini(#[n(0)] Number),
    #[n(2)]
    Transition(#[n(0)] Number, #[n(1)] Number),
    #[n(3)]
    OtherTransitions,
    #[n(4)]
    ConnectClient,
    #[n(5)]
    ConnectServer,
    #[n(6)]
    Lifetime,
    #[n(7)]
    TimeWaitHold,
}

impl Wire<report::Of> for Of {
    fn of(of: &report::Of) -> Self {
        use report::{Of, SocketKind};
        match of {
            Of::State(state, SocketKind::Full) => Self::Full(Wire::of(state)),
            Of::State(state, SocketKind::Mini) => Self::Mini(Wire::of(state)),
            Of::Transition(from, to) => Self::Transition(Wire::of(from), Wire::of(to)),
            Of::OtherTransitions => Self::OtherTransitions,
            Of::ConnectClient => Self::ConnectClient,
            Of::ConnectServer => Self::ConnectServer,
            Of::Lifetime => Self::Lifetime,
            Of::TimeWaitHold => Self::TimeWaitHold,
        }
    }

    fn read(self) -> Result<report::Of, Malformed> {
        use report::{Of, SocketKind};
        Ok(match self {
            Self::Full(state) => Of::State(state.read()?, SocketKind::Full),
            Self::Mini(state) => Of::State(state.read()?, SocketKind::Mini),
            Self::Transition(from, to) => Of::Transition(from.read()?, to.read()?),
            Self::OtherTransitions => Of::OtherTransitions,
            Self::ConnectClient => Of::ConnectClient,
            Self::ConnectServer => Of::ConnectServer,
            Self::Lifetime => Of::Lifetime,
            Self::TimeWaitHold => Of::TimeWaitHold,
        })
    }
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "AsMut<Budget>")]
enum Group {
    #[n(0)]
    Port(#[n(0)] u16),
    /// An IP address of 4 or 16 bytes.
    #[n(1)]
    Address(#[n(0)] Bytes),
    #[n(2)]
    Netns(#[n(0)] u64),
    #[n(3)]
    Cgroup(#[n(0)] u64, #[n(1)] Option<Text>),
    #[n(4)]
    Comm(#[n(0)] Bytes),
    #[n(5)]
    None,
    #[n(6)]
    Other,
    #[n(7)]
    Client,
}

impl Wire<report::Group> for Group {
    fn of(group: &report::Group) -> Self {
        use report::Group;
        match group {
            Group::Port(port) => Self::Port(*port),
            Group::Address(address) => Self::Address(Wire::of(address)),
            Group::Netns(inode) => Self::Netns(*inode),
            Group::Cgroup(id, path) => Self::Cgroup(*id, Wire::of(path)),
            Group::Comm(name) => Self::Comm(Bytes(name.as_bytes().to_vec())),
            Group::None => Self::None,
            Group::Other => Self::Other,
            Group::Client => Self::Client,
        }
    }

    fn read(self) -> Result<report::Group, Malformed> {
        use report::Group;
        Ok(match self {
            Self::Port(port) => Group::Port(port),
            Self::Address(address) => Group::Address(address.read()?),
            Self::Netns(inode) => Group::Netns(inode),
            Self::Cgroup(id, path) => Group::Cgroup(id, path.read()?),
            Self::Comm(Bytes(name)) => Group::Comm(OsString::from_vec(name)),
            Self::None => Group::None,
            Self::Other => Group::Other,
            Self::Client => Group::Client,
        })
    }
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "AsMut<Budget>")]
struct Tally {
    /// The buckets that are not empty. Each pair contains the index of a bucket and the number of
    /// durations in the bucket.
    #[cbor(n(0), decode_with = "decode_buckets")]
    buckets: List<u64, MAX_BUCKETS>,
    /// The sum of the durations: whole seconds, and the rest in nanoseconds.
    #[n(1)]
    sum: (u64, u32),
    #[n(2)]
    longest: Option<Nanos>,
    #[n(3)]
    shortest: Option<Nanos>,
    #[n(4)]
    unknown: u64,
}

/// Decodes the buckets. A tree that contains the buckets needs more memory than the list.
fn decode_buckets<C: AsMut<Budget>>(
    decoder: &mut Decoder<'_>,
    context: &mut C,
) -> Result<List<u64, MAX_BUCKETS>, decode::Error> {
    /// The memory in bytes of an empty node, and of a bucket in a node that is half full.
    const NODE: usize = 256;
    const BUCKET: usize = 32;
    let buckets: List<u64, MAX_BUCKETS> = decoder.decode_with(context)?;
    context.as_mut().take(1, NODE)?;
    context.as_mut().take(buckets.0.len(), BUCKET)?;
    Ok(buckets)
}

impl Wire<report::Tally> for Tally {
    fn of(tally: &report::Tally) -> Self {
        Self {
            buckets: List(
                tally.buckets().flat_map(|(bucket, count)| [bucket as u64, count]).collect(),
            ),
            sum: (tally.sum.as_secs(), tally.sum.subsec_nanos()),
            longest: Wire::of(&tally.longest),
            shortest: Wire::of(&tally.shortest),
            unknown: tally.unknown,
        }
    }

    fn read(self) -> Result<report::Tally, Malformed> {
        let malformed = || Malformed::message("no such duration");
        let (seconds, nanos) = self.sum;
        let sum = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()));
        let mut exact = report::Tally::default();
        exact.sum = sum.ok_or_else(malformed)?;
        (exact.longest, exact.shortest) = (self.longest.read()?, self.shortest.read()?);
        exact.unknown = self.unknown;
        let buckets = self.buckets.0.chunks_exact(2);
        let buckets = buckets.map(|pair| (usize::try_from(pair[0]).unwrap_or(usize::MAX), pair[1]));
        exact.with_buckets(buckets).ok_or_else(malformed)
    }
}
