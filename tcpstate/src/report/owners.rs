//! The counters of a run by owner: by process, destination, port or another [`Key`].

use tcpstate_common::State;

use super::{Key, Process, Snapshot, key::Value};

/// Counts of what happened to sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerCounts {
    /// Number of calls of connect() that sent a SYN: CLOSE to SYN_SENT.
    pub opened: u64,
    /// Number of connections that connect() established: SYN_SENT to ESTABLISHED.
    pub connected: u64,
    /// Number of incoming connections that a process has accepted, or that have ended.
    pub accepted: u64,
    /// Number of connections that this side closed first: any state to FIN_WAIT1.
    pub closed_first: u64,
    /// Number of connections that this side closed after the peer: any state to LAST_ACK.
    pub closed_second: u64,
    /// Number of time-wait sockets that the kernel made, in FIN_WAIT2 or in TIME_WAIT. A time-wait
    /// socket counts for the process that closed its connection.
    pub time_wait_entries: u64,
    /// Number of connection attempts that failed: SYN_SENT to CLOSE.
    pub failed: u64,
    /// Number of connections that ended without a FIN of this side: ESTABLISHED or CLOSE_WAIT to
    /// CLOSE.
    pub reset: u64,
}

/// One of the counts of [`OwnerCounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// [`OwnerCounts::opened`]
    Opened,
    /// [`OwnerCounts::connected`]
    Connected,
    /// [`OwnerCounts::accepted`]
    Accepted,
    /// [`OwnerCounts::closed_first`]
    ClosedFirst,
    /// [`OwnerCounts::closed_second`]
    ClosedSecond,
    /// [`OwnerCounts::time_wait_entries`]
    TimeWaitEntries,
    /// [`OwnerCounts::failed`]
    Failed,
    /// [`OwnerCounts::reset`]
    Reset,
}

impl Column {
    /// All columns, in the order of output.
    pub const ALL: [Self; 8] = [
        Self::Opened,
        Self::Connected,
        Self::Accepted,
        Self::ClosedFirst,
        Self::ClosedSecond,
        Self::TimeWaitEntries,
        Self::Failed,
        Self::Reset,
    ];

    /// Returns the name used in JSON, CSV and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Connected => "connected",
            Self::Accepted => "accepted",
            Self::ClosedFirst => "closed_first",
            Self::ClosedSecond => "closed_second",
            Self::TimeWaitEntries => "time_wait_entries",
            Self::Failed => "failed",
            Self::Reset => "reset",
        }
    }
}

impl OwnerCounts {
    /// Returns one of the counts.
    #[must_use]
    pub const fn get(&self, column: Column) -> u64 {
        match column {
            Column::Opened => self.opened,
            Column::Connected => self.connected,
            Column::Accepted => self.accepted,
            Column::ClosedFirst => self.closed_first,
            Column::ClosedSecond => self.closed_second,
            Column::TimeWaitEntries => self.time_wait_entries,
            Column::Failed => self.failed,
            Column::Reset => self.reset,
        }
    }

    /// Returns the place of one of the counts.
    pub const fn get_mut(&mut self, column: Column) -> &mut u64 {
        match column {
            Column::Opened => &mut self.opened,
            Column::Connected => &mut self.connected,
            Column::Accepted => &mut self.accepted,
            Column::ClosedFirst => &mut self.closed_first,
            Column::ClosedSecond => &mut self.closed_second,
            Column::TimeWaitEntries => &mut self.time_wait_entries,
            Column::Failed => &mut self.failed,
            Column::Reset => &mut self.reset,
        }
    }

    /// Adds other counts to these counts. The counts of a recording can have any value, so the sum
    /// is limited to the largest number.
    pub fn add(&mut self, other: &Self) {
        for column in Column::ALL {
            let count = self.get_mut(column);
            *count = count.saturating_add(other.get(column));
        }
    }

    /// Returns the larger of two counts, for each count.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        let mut counts = *self;
        for column in Column::ALL {
            let count = counts.get_mut(column);
            *count = (*count).max(other.get(column));
        }
        counts
    }

    /// Returns the smaller of two counts, for each count.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        let mut counts = *self;
        for column in Column::ALL {
            let count = counts.get_mut(column);
            *count = (*count).min(other.get(column));
        }
        counts
    }

    /// Returns these counts minus earlier counts. A count that fell becomes 0.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = *self;
        for column in Column::ALL {
            let count = counts.get_mut(column);
            *count = count.saturating_sub(earlier.get(column));
        }
        counts
    }
}

/// The counts by owner since the start of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners {
    /// The keys by which sockets are grouped. A group has one value for each key.
    pub by: Vec<Key>,
    /// All groups, in no order.
    pub groups: Vec<OwnerGroup>,
    /// [`OwnerCounts::accepted`] of all sockets together.
    pub accepted: u64,
    /// The number of incoming connections that no process has accepted, and that have not ended.
    pub not_accepted: u64,
    /// The number of sockets whose owner did not fit into the table of owners. These sockets are in
    /// the group [`OwnerKind::Other`].
    pub without_room: u64,
    /// The number of sockets that did not fit into the table of sockets, and of events that no
    /// program saw. If the kernel does not count an event that no program saw, a scan finds the
    /// event later. The counts of groups are wrong by at most this number.
    pub missed: u64,
}

/// The counts of the sockets that have one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerGroup {
    /// The owner.
    pub kind: OwnerKind,
    /// The number of sockets in each state now, in the order of [`State::GAUGES`]. The field is
    /// `None` for [`OwnerKind::Gone`], which has no sockets.
    pub states: Option<[u64; State::GAUGES.len()]>,
    /// The counts since the start.
    pub total: OwnerCounts,
    /// The counts of the interval.
    pub interval: OwnerCounts,
    /// The only process that had connections to the destination of this group at the start, if it
    /// still runs. The field is `None` if there were several processes or none, or if the group has
    /// no destination.
    pub likely_owner: Option<Process>,
}

/// The owner of the sockets of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    /// One value for each key.
    Group(Vec<Value>),
    /// The owners that did not fit into the table of owners.
    Other,
    /// The sockets whose owner cannot be known.
    Unknown,
    /// The owners that have gone: their counters were added here, and their place was given to
    /// another owner.
    Gone,
}

impl OwnerKind {
    /// Returns the name used in JSON and CSV.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Group(_) => "group",
            Self::Other => "other",
            Self::Unknown => "unknown",
            Self::Gone => "gone",
        }
    }
}

/// The counts of all sockets of a run. The programs that count transitions and time-wait sockets
/// count them, whether sockets are grouped or not. A field is `None` if the count cannot be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The counts. [`OwnerCounts::accepted`] and [`OwnerCounts::time_wait_entries`] are 0, because
    /// the fields below contain them.
    counts: OwnerCounts,
    /// [`OwnerCounts::accepted`] of all sockets. Only a run that counts by owner observes accept().
    pub accepted: Option<u64>,
    /// The number of incoming connections that wait for accept().
    pub not_accepted: Option<u64>,
    /// [`OwnerCounts::time_wait_entries`] of all sockets.
    pub time_wait_entries: Option<u64>,
}

impl Totals {
    /// Returns one of the counts, if it can be known.
    #[must_use]
    pub const fn get(&self, column: Column) -> Option<u64> {
        match column {
            Column::Accepted => self.accepted,
            Column::TimeWaitEntries => self.time_wait_entries,
            other => Some(self.counts.get(other)),
        }
    }
}

impl Snapshot {
    /// Returns the counts of all sockets since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let into =
            |to| self.transitions.iter().filter(move |pair| pair.to == to && pair.from != to);
        let sum = |to| into(to).map(|pair| pair.count).sum::<u64>();
        let aborted = |from| self.count(from, State::Close);
        Totals {
            counts: OwnerCounts {
                opened: self.count(State::Close, State::SynSent),
                connected: self.count(State::SynSent, State::Established),
                closed_first: sum(State::FinWait1),
                closed_second: sum(State::LastAck),
                failed: aborted(State::SynSent),
                reset: aborted(State::Established) + aborted(State::CloseWait),
                ..OwnerCounts::default()
            },
            accepted: self.owners.as_ref().map(|owners| owners.accepted),
            not_accepted: self.owners.as_ref().map(|owners| owners.not_accepted),
            time_wait_entries: self.time_wait.entries,
        }
    }
}
