//! The number of TIME_WAIT mini sockets, their creations and their ends.

/// The number of TIME_WAIT mini sockets, and their flow since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeWait {
    /// The number of all time-wait sockets, including those in FIN_WAIT2.
    pub sockets: Option<u64>,
    /// The maximum number of time-wait sockets (`tcp_max_tw_buckets`).
    pub limit: Option<u64>,
    /// The number of time-wait sockets created.
    pub entries: Option<u64>,
    /// The number of time-wait sockets that ended, by cause.
    pub exits: Exits,
    /// The number of time-wait sockets that ended in the interval, by cause.
    pub exits_in_interval: Exits,
    /// The number of time-wait sockets that the kernel did not create because `tcp_max_tw_buckets`
    /// was reached.
    pub overflows: Option<u64>,
    /// The creations per second in the interval.
    pub entries_per_second: Option<f64>,
    /// The ends per second in the interval.
    pub exits_per_second: Option<f64>,
}

/// The ends of time-wait sockets by cause. Each end has one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// The timer of the socket expired.
    pub expired: Option<u64>,
    /// A new connection reused the address and port pair.
    pub reused: Option<u64>,
    /// A RST, late data or an operator ended the socket.
    pub killed: Option<u64>,
    /// The network namespace ended, or the cause is unknown.
    pub other: Option<u64>,
}

impl TimeWait {
    /// Ensures that no total decreases. The kernel's own counters can decrease slightly, because
    /// they are read one after the other while sockets change.
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
