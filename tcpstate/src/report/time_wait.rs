//! The number of TIME_WAIT mini sockets, their creations and their ends.

/// The number of time-wait mini sockets, and their creations and ends since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeWait {
    /// The number of all time-wait sockets, including sockets in FIN_WAIT2.
    pub sockets: Option<u64>,
    /// The maximum number of time-wait sockets (`tcp_max_tw_buckets`).
    pub limit: Option<u64>,
    /// The number of time-wait sockets that were created.
    pub entries: Option<u64>,
    /// The number of time-wait sockets that ended, by cause.
    pub exits: Exits,
    /// The number of time-wait sockets that ended in the interval, by cause.
    pub exits_in_interval: Exits,
    /// The number of time-wait sockets that the kernel did not create because `tcp_max_tw_buckets`
    /// was reached.
    pub overflows: Option<u64>,
    /// The number of time-wait sockets created per second in the interval.
    pub entries_per_second: Option<f64>,
    /// The number of time-wait sockets that ended per second in the interval.
    pub exits_per_second: Option<f64>,
}

/// The numbers of time-wait sockets that ended, by cause. Each ended time-wait socket is counted
/// for exactly one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// The timer of the socket expired.
    pub expired: Option<u64>,
    /// A new connection reused the address and port pair.
    pub reused: Option<u64>,
    /// A RST, late data or an operator ended the socket.
    pub killed: Option<u64>,
    /// The socket ended because its network namespace was removed, or for an unknown cause.
    pub other: Option<u64>,
}

impl TimeWait {
    /// If a total has decreased, sets the total to its value in `earlier`. Totals of the kernel's
    /// own counters can decrease slightly, because the counters are read one after the other while
    /// sockets change.
    pub fn keep_growing(&mut self, earlier: &Self) {
        let Self { entries, exits: Exits { expired, reused, killed, other }, overflows, .. } = self;
        let then = &earlier.exits;
        for (now, then) in [
            (entries, earlier.entries),
            (expired, then.expired),
            (reused, then.reused),
            (killed, then.killed),
            (other, then.other),
            (overflows, earlier.overflows),
        ] {
            *now = now.map(|now| now.max(then.unwrap_or(0)));
        }
    }
}
