//! What the kernel half did not see, and what it saw but could not write down.

/// What the programs did not see, since the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Transitions of full sockets.
    pub transitions: u64,
    /// Events of time-wait sockets.
    pub time_wait: u64,
    /// Events of request sockets.
    pub syn_recv: u64,
    /// Time-wait sockets in FIN_WAIT2 that there was no room to remember; shown as a full map.
    pub unrecorded: u64,
    /// Events that no row of a namespace has, for want of room. Counted all the same, so they put
    /// no gauge of the whole off.
    pub unlisted: u64,
}

impl Missed {
    /// Events kept from programs by the kernel.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.transitions + self.time_wait + self.syn_recv
    }

    /// All that may have put a gauge off.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.events() + self.unrecorded
    }

    /// What was missed since an earlier moment. No count falls; one that did would hide nothing of
    /// what another one has.
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

/// What was not written down since the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Transitions for which the ring had no room.
    pub dropped: u64,
    /// Transitions that the kernel kept from the program because it was running already, whatever
    /// their namespace.
    pub missed: u64,
    /// Events whose socket there was no room to remember, so that its next one lacks duration and
    /// owner.
    pub untracked: u64,
    /// Births, moves and ends of time-wait sockets for which the ring had no room.
    pub time_wait: u64,
    /// The same of request sockets.
    pub syn_recv: u64,
}

impl Losses {
    /// Transitions without a line.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.dropped + self.missed
    }

    /// Lines that there are not, of full and of mini sockets.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.events() + self.time_wait + self.syn_recv
    }

    /// What was lost since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            dropped: self.dropped - earlier.dropped,
            missed: self.missed - earlier.missed,
            untracked: self.untracked - earlier.untracked,
            time_wait: self.time_wait - earlier.time_wait,
            syn_recv: self.syn_recv - earlier.syn_recv,
        }
    }
}
