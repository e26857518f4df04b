//! The numbers of existing, created and ended time-wait sockets.

/// The number of time-wait sockets now, and the numbers of created and ended time-wait sockets
/// since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeWait {
    /// The number of all time-wait sockets, including sockets in FIN_WAIT2.
    pub sockets: Option<u64>,
    /// The maximum number of time-wait sockets (`tcp_max_tw_buckets`).
    pub limit: Option<u64>,
    /// The number of time-wait sockets that were created.
    pub entries: Option<u64>,
    /// For each cause, the number of time-wait sockets that ended since the start.
    pub exits: Exits,
    /// For each cause, the number of time-wait sockets that ended in the interval.
    pub exits_in_interval: Exits,
    /// The number of time-wait sockets that the kernel did not create because `tcp_max_tw_buckets`
    /// was reached.
    pub overflows: Option<u64>,
    /// The number of time-wait sockets created per second in the interval.
    pub entries_per_second: Option<f64>,
    /// The number of time-wait sockets that ended per second in the interval.
    pub exits_per_second: Option<f64>,
}

/// For each cause, the number of time-wait sockets that ended. Each ended time-wait socket is
/// counted for exactly one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// The socket ended because the timer of the socket expired.
    pub expired: Option<u64>,
    /// A new connection reused the addresses and ports of the socket.
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
