//! Encodes the events that were shown together. Each field of the events is one column. Values in a
//! column are similar, so columns compress well.

mod decode;

use std::{
    collections::HashMap,
    ffi::OsString,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use minicbor::Encode;

use super::{
    MAX_EVENTS, Malformed,
    connections::Connections,
    limited::{Bytes, List},
    numbers::Numbers,
    table::{Nanos, Number, Wire as _},
};
use crate::{
    recording::budget::Budget,
    report::{Caller, Cgroup, CloseReason, Event, Family, Hook},
    text::readable,
};

/// The maximum total size in bytes of the process names in one column. A process name has at most
/// 15 bytes.
const MAX_COPIED: usize = 16 * MAX_EVENTS;

/// A column of the events. A column is empty if the writer of the recording did not write the
/// column. A missing value means that the field is unknown.
type Column<T> = Numbers<Option<T>>;

/// The maximum number of addresses: two for each event.
const MAX_ADDRESSES: usize = 2 * MAX_EVENTS;

/// The maximum number of texts: four for each event.
const MAX_TEXTS: usize = 4 * MAX_EVENTS;

/// The maximum size in bytes of a text. The longest text is the path of a cgroup, and the kernel
/// limits paths to this size.
const MAX_TEXT: usize = 4096;

#[derive(Default, Encode)]
#[cbor(context_bound = "AsMut<Budget>")]
pub(super) struct Events {
    /// The monotonic time in nanoseconds. Each value is the time since the previous event; the
    /// first value is the time since boot.
    #[n(0)]
    monotonic: Numbers<i64>,
    /// For each event, the wall clock minus the monotonic clock in nanoseconds. Each element stores
    /// how much the difference of the clocks has increased since the previous event.
    #[n(1)]
    ahead: Numbers<i64>,
    /// The old state and the new state of each event. Each state is stored in 4 bits, as the number
    /// that the kernel uses for the state.
    #[n(2)]
    states: Bytes,
    /// The address family of each event: 4 or 6.
    #[n(3)]
    family: Bytes,
    /// The addresses of all events; each address has 4 or 16 bytes. The columns `local` and
    /// `remote` contain indices into the list of addresses.
    #[n(4)]
    addresses: List<Bytes, MAX_ADDRESSES>,
    #[n(5)]
    local: Column<u32>,
    #[n(6)]
    local_port: Column<u16>,
    #[n(7)]
    remote: Column<u32>,
    #[n(8)]
    remote_port: Column<u16>,
    #[n(9)]
    netns: Numbers<u32>,
    #[n(10)]
    cookie: Column<u64>,
    /// The texts of all events. The columns `comm` and `cgroup` contain indices into the list of
    /// texts.
    #[n(11)]
    texts: List<Bytes, MAX_TEXTS>,
    #[n(12)]
    pid: Column<u32>,
    #[n(13)]
    comm: Column<u32>,
    #[n(14)]
    uid: Column<u32>,
    /// How long the socket was in the old state (nanoseconds).
    #[n(15)]
    duration: Column<u64>,
    /// The index of the cgroup's path in the list of texts. The reader derives the container and
    /// the unit from the cgroup's path.
    #[n(16)]
    cgroup: Column<u32>,
    /// The hook of each event: 0 for full sockets, 1 for time-wait sockets, 2 for request sockets.
    #[n(17)]
    hook: Column<u8>,
    /// The index of the close reason in [`CloseReason::ALL`].
    #[n(18)]
    ended_by: Column<u8>,
    #[n(19)]
    closed_by: Callers,
    #[n(20)]
    opened_by: Callers,
    /// The connections that end in these events.
    #[n(21)]
    connections: Option<Connections>,
}

/// The columns of the processes that opened or closed connections.
#[derive(Default, Encode)]
#[cbor(context_bound = "AsMut<Budget>")]
struct Callers {
    #[n(0)]
    pid: Column<u32>,
    /// The index of the process's name in the list of texts. Every known process has a name.
    #[n(1)]
    comm: Column<u32>,
}

impl Callers {
    fn push<'a>(&mut self, caller: Option<&'a Caller>, texts: &mut Indices<&'a [u8]>) {
        self.pid.0.push(caller.and_then(|caller| caller.pid));
        self.comm.0.push(caller.map(|caller| texts.of(caller.comm.as_bytes())));
    }

    fn read(&self, row: usize, names: &mut Names<'_>) -> Result<Option<Caller>, Malformed> {
        let comm = names.read(&self.comm, row)?;
        Ok(comm.map(|comm| Caller { pid: value(&self.pid, row), comm }))
    }
}

impl From<&[Event]> for Events {
    fn from(events: &[Event]) -> Self {
        let connections = Connections::of(events);
        let mut columns = Self { connections, ..Self::default() };
        let (mut addresses, mut texts) = (Indices::default(), Indices::default());
        let (mut monotonic_before, mut ahead_before) = (0, 0);
        for event in events {
            let Event {
                time,
                monotonic,
                from,
                to,
                family,
                local,
                local_port,
                remote,
                remote_port,
                netns,
                cookie,
                pid,
                comm,
                uid,
                duration,
                hook,
                ended_by,
                closed_by,
                opened_by,
                cgroup,
                connection: _,
            } = event;
            let (monotonic, Nanos(wall)) = (Nanos::of(monotonic).0.cast_signed(), Nanos::of(time));
            let ahead = wall.cast_signed().wrapping_sub(monotonic);
            columns.monotonic.0.push(monotonic.wrapping_sub(monotonic_before));
            columns.ahead.0.push(ahead.wrapping_sub(ahead_before));
            (monotonic_before, ahead_before) = (monotonic, ahead);
            columns.states.0.push((*from as u8) << 4 | *to as u8);
            columns.family.0.push(if *family == Family::V4 { 4 } else { 6 });
            columns.local.0.push(local.map(|address| addresses.of(address)));
            columns.local_port.0.push(*local_port);
            columns.remote.0.push(remote.map(|address| addresses.of(address)));
            columns.remote_port.0.push(*remote_port);
            columns.netns.0.push(*netns);
            columns.cookie.0.push(*cookie);
            columns.pid.0.push(*pid);
            columns.comm.0.push(comm.as_deref().map(|text| texts.of(text.as_bytes())));
            columns.uid.0.push(*uid);
            columns.duration.0.push(duration.map(|duration| Nanos::of(&duration).0));
            let path = cgroup.as_ref().map(|cgroup| texts.of(cgroup.path.as_bytes()));
            columns.cgroup.0.push(path);
            columns.hook.0.push(Some(*hook as u8));
            columns.ended_by.0.push(ended_by.map(|by| by as u8));
            columns.closed_by.push(closed_by.as_ref(), &mut texts);
            columns.opened_by.push(opened_by.as_ref(), &mut texts);
        }
        columns.addresses = addresses.in_order(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        columns.texts = texts.in_order(<[u8]>::to_vec);
        columns
    }
}

/// Maps each distinct value to an index. The indices follow the order in which the values first
/// occur.
struct Indices<T>(HashMap<T, u32>);

impl<T> Default for Indices<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Indices<T> {
    fn of(&mut self, value: T) -> u32 {
        let next = u32::try_from(self.0.len()).expect("fewer values than memory has bytes");
        *self.0.entry(value).or_insert(next)
    }

    fn in_order<const MAX: usize>(self, bytes: impl Fn(T) -> Vec<u8>) -> List<Bytes, MAX> {
        let mut values: Vec<(T, u32)> = self.0.into_iter().collect();
        values.sort_by_key(|&(_, place)| place);
        List(values.into_iter().map(|(value, _)| Bytes(bytes(value))).collect())
    }
}

impl Events {
    /// Returns the number of events. All required columns must have as many values as there are
    /// events.
    fn count(&self) -> Result<usize, Malformed> {
        let count = self.monotonic.0.len();
        if [self.ahead.0.len(), self.states.0.len(), self.family.0.len(), self.netns.0.len()]
            != [count; 4]
        {
            return Err(Malformed::message("columns of events are of different lengths"));
        }
        Ok(count)
    }

    /// Takes the memory of the decoded events from the budget.
    fn take_memory(&self, count: usize, budget: &mut Budget) -> Result<(), Malformed> {
        /// The memory in bytes of the three process names of an event.
        const NAMES: usize = 3 * 48;
        /// The number of copies of a cgroup's path: the path with invalid bytes replaced, its
        /// parts, the container and the unit.
        const COPIES: usize = 8;
        let lengths = || self.texts.0.iter().map(|text| text.0.len());
        if lengths().any(|length| length > MAX_TEXT) {
            return Err(Malformed::message(format!("a text of more than {MAX_TEXT} bytes")));
        }
        budget.take(count, size_of::<Event>() + NAMES)?;
        budget.take(self.addresses.0.len(), size_of::<IpAddr>())?;
        budget.take(self.texts.0.len(), size_of::<OsString>() + 2 * size_of::<Cgroup>())?;
        budget.take(lengths().sum(), COPIES)
    }

    /// Decodes the events.
    pub(super) fn into_events(mut self, budget: &mut Budget) -> Result<Vec<Event>, Malformed> {
        let count = self.count()?;
        self.take_memory(count, budget)?;
        let addresses = self
            .addresses
            .0
            .iter()
            .map(|bytes| address(&bytes.0))
            .collect::<Result<Vec<_>, _>>()?;
        let texts = std::mem::take(&mut self.texts.0);
        let texts: Vec<OsString> =
            texts.into_iter().map(|bytes| OsString::from_vec(bytes.0)).collect();
        let [mut names, mut closers, mut openers] = [Names::new(&texts); 3];
        let mut cgroups = Cgroups::new(&texts);
        let mut events = Vec::with_capacity(count);
        let (mut monotonic, mut ahead) = (0_i64, 0_i64);
        for row in 0..count {
            monotonic = monotonic.wrapping_add(self.monotonic.0[row]);
            ahead = ahead.wrapping_add(self.ahead.0[row]);
            let wall = monotonic.wrapping_add(ahead).cast_unsigned();
            let states = self.states.0[row];
            events.push(Event {
                time: UNIX_EPOCH + Duration::from_nanos(wall),
                monotonic: Duration::from_nanos(monotonic.cast_unsigned()),
                from: Number(states >> 4).read()?,
                to: Number(states & 15).read()?,
                family: match self.family.0[row] {
                    4 => Family::V4,
                    6 => Family::V6,
                    _ => return Err(Malformed::message("no such family")),
                },
                local: listed(&self.local, row, &addresses)?.copied(),
                local_port: value(&self.local_port, row),
                remote: listed(&self.remote, row, &addresses)?.copied(),
                remote_port: value(&self.remote_port, row),
                netns: self.netns.0[row],
                cookie: value(&self.cookie, row),
                pid: value(&self.pid, row),
                comm: names.read(&self.comm, row)?,
                uid: value(&self.uid, row),
                duration: value(&self.duration, row).map(Duration::from_nanos),
                cgroup: cgroups.read(&self.cgroup, row)?,
                hook: hook(value(&self.hook, row))?,
                // A newer recording may contain a reason that this program does not know.
                ended_by: value(&self.ended_by, row)
                    .and_then(|by| CloseReason::ALL.get(usize::from(by)).copied()),
                closed_by: self.closed_by.read(row, &mut closers)?,
                opened_by: self.opened_by.read(row, &mut openers)?,
                connection: None,
            });
        }
        budget.repeat(cgroups.repeated)?;
        if let Some(connections) = self.connections.take() {
            connections.add_to(&mut events, budget)?;
        }
        Ok(events)
    }
}

fn hook(number: Option<u8>) -> Result<Hook, Malformed> {
    match number {
        None | Some(0) => Ok(Hook::Transitions),
        Some(1) => Ok(Hook::TimeWait),
        Some(2) => Ok(Hook::SynRecv),
        Some(_) => Err(Malformed::message("no such hook")),
    }
}

/// Reads the process names of a column. Many events may share a process name, and each decoded
/// event gets a copy of the name.
#[derive(Clone, Copy)]
struct Names<'a> {
    texts: &'a [OsString],
    /// The size in bytes of the names that were read.
    copied: usize,
}

impl<'a> Names<'a> {
    fn new(texts: &'a [OsString]) -> Self {
        Self { texts, copied: 0 }
    }

    fn read(&mut self, column: &Column<u32>, row: usize) -> Result<Option<OsString>, Malformed> {
        let Some(name) = listed(column, row, self.texts)? else { return Ok(None) };
        self.copied += name.len();
        if self.copied > MAX_COPIED {
            return Err(Malformed::message("more text than events have"));
        }
        Ok(Some(name.clone()))
    }
}

/// Reads cgroups. Many events may share a cgroup, and a view prints the path of the cgroup for each
/// event.
struct Cgroups<'a> {
    texts: &'a [OsString],
    /// The cgroups that were read, each at the index of its path.
    known: Vec<Option<Arc<Cgroup>>>,
    /// The total size in bytes of the paths of all events.
    repeated: usize,
}

impl<'a> Cgroups<'a> {
    fn new(texts: &'a [OsString]) -> Self {
        Self { texts, known: vec![None; texts.len()], repeated: 0 }
    }

    fn read(&mut self, column: &Column<u32>, row: usize) -> Result<Option<Arc<Cgroup>>, Malformed> {
        let Some(place) = value(column, row) else { return Ok(None) };
        let (Some(path), Some(known)) =
            (self.texts.get(place as usize), self.known.get_mut(place as usize))
        else {
            return Err(not_listed());
        };
        self.repeated += path.len();
        let cgroup = || Arc::new(Cgroup::from(readable(path).into_owned()));
        Ok(Some(Arc::clone(known.get_or_insert_with(cgroup))))
    }
}

fn value<T: Copy>(column: &Column<T>, row: usize) -> Option<T> {
    column.0.get(row).copied().flatten()
}

/// Reads an index from a column, and returns the list element that has this index.
fn listed<'a, T>(
    column: &Column<u32>,
    row: usize,
    list: &'a [T],
) -> Result<Option<&'a T>, Malformed> {
    let of = |place: u32| list.get(place as usize).ok_or_else(not_listed);
    value(column, row).map(of).transpose()
}

fn not_listed() -> Malformed {
    Malformed::message("nothing at that place of a list")
}

fn address(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4.or(v6).map_err(|_| Malformed::message("no address has that many bytes"))
}
