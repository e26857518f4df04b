//! The events that the BPF programs missed, and the events that the BPF programs could not record.

/// The numbers of events that the BPF programs missed since they were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// The number of missed transitions of full sockets.
    pub transitions: u64,
    /// The number of missed events of time-wait sockets.
    pub time_wait: u64,
    /// The number of missed events of request sockets.
    pub syn_recv: u64,
    /// The number of time-wait sockets in FIN_WAIT2 that did not fit in the map of such sockets.
    /// Reports add this number to the number of sockets that did not fit because a map was full.
    pub unrecorded: u64,
    /// The number of events that are missing from the counts of single namespaces, because the
    /// table of namespaces was full. The totals over all namespaces contain these events, so the
    /// gauges of all sockets are not wrong.
    pub unlisted: u64,
}

impl Missed {
    /// Returns the number of events that the BPF programs did not observe because the kernel
    /// skipped a program.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.transitions + self.time_wait + self.syn_recv
    }

    /// Returns the number of events that may have made a gauge wrong.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.events() + self.unrecorded
    }

    /// Returns the sums of both counts.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            transitions: self.transitions + other.transitions,
            time_wait: self.time_wait + other.time_wait,
            syn_recv: self.syn_recv + other.syn_recv,
            unrecorded: self.unrecorded + other.unrecorded,
            unlisted: self.unlisted + other.unlisted,
        }
    }

    /// Returns how much each count has grown since the earlier counts. No count should ever
    /// decrease. If a count decreases nevertheless, the difference of this count is 0, and the
    /// differences of the other counts stay correct.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            transitions: self.transitions.saturating_sub(earlier.transitions),
            time_wait: self.time_wait.saturating_sub(earlier.time_wait),
            syn_recv: self.syn_recv.saturating_sub(earlier.syn_recv),
            unrecorded: self.unrecorded.saturating_sub(earlier.unrecorded),
            unlisted: self.unlisted.saturating_sub(earlier.unlisted),
        }
    }
}

/// The numbers of events of the counted scope that have no line, since the programs were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The number of transitions that were dropped because the ring buffer was full.
    pub dropped: u64,
    /// The number of transitions that the matrix contains and that the program that writes lines
    /// did not observe. Usually the kernel skipped this program because the program was already
    /// running on the CPU. In old recordings, the number contains the skipped runs for the sockets
    /// of all namespaces.
    pub missed: u64,
    /// The number of events of sockets that did not fit in the table of sockets. If a socket did
    /// not fit in the table, the next event of the socket has no duration and no owner.
    pub untracked: u64,
    /// Events of time-wait sockets that were dropped because the ring buffer was full.
    pub time_wait: u64,
    /// Events of request sockets that were dropped because the ring buffer was full.
    pub syn_recv: u64,
    /// The part of `dropped` that ends a connection, if connections are recorded.
    pub dropped_ends: u64,
    /// The part of `missed` that ends a connection, if connections are recorded.
    pub missed_ends: u64,
}

impl Losses {
    /// Returns the number of transitions that have no line.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.dropped + self.missed
    }

    /// Returns the number of connections that ended and have no line.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.dropped_ends + self.missed_ends
    }

    /// Returns the number of events of full sockets and mini sockets that have no line.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.missed + self.dropped_lines()
    }

    /// Returns the number of events of full sockets and mini sockets that were dropped because the
    /// ring buffer was full.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.dropped + self.time_wait + self.syn_recv
    }

    /// Returns how much each count has grown since the earlier counts. The number of missed events
    /// can decrease: at a cut, an event in progress may count as missed until the next cut. If a
    /// count decreases, its difference is 0.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            dropped: self.dropped.saturating_sub(earlier.dropped),
            missed: self.missed.saturating_sub(earlier.missed),
            untracked: self.untracked.saturating_sub(earlier.untracked),
            time_wait: self.time_wait.saturating_sub(earlier.time_wait),
            syn_recv: self.syn_recv.saturating_sub(earlier.syn_recv),
            dropped_ends: self.dropped_ends.saturating_sub(earlier.dropped_ends),
            missed_ends: self.missed_ends.saturating_sub(earlier.missed_ends),
        }
    }
}
