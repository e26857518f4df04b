//! TIME_WAIT mini sockets: their number, and how they come and go.

/// TIME_WAIT mini sockets: how many, and their flow since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeWait {
    /// All mini sockets, those that show as FIN_WAIT2 included.
    pub sockets: Option<u64>,
    /// How many there may be (`tcp_max_tw_buckets`).
    pub limit: Option<u64>,
    /// Mini sockets made.
    pub entries: Option<u64>,
    /// Mini sockets gone, by cause.
    pub exits: Exits,
    /// Mini sockets gone in the interval, by cause.
    pub exits_in_interval: Exits,
    /// Mini sockets refused, because there were `tcp_max_tw_buckets` of them.
    pub overflows: Option<u64>,
    /// Over the interval.
    pub entries_per_second: Option<f64>,
    /// Over the interval.
    pub exits_per_second: Option<f64>,
}

/// How mini sockets went. The causes are disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// Their time was over.
    pub expired: Option<u64>,
    /// A new connection took their place.
    pub reused: Option<u64>,
    /// By a RST, data, or an operator.
    pub killed: Option<u64>,
    /// Their namespace went, or the cause can't be told.
    pub other: Option<u64>,
}

impl TimeWait {
    /// Sees to it that no total is less than it was: the kernel's own counters, where they have to
    /// do, are read one after the other while sockets come and go.
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
