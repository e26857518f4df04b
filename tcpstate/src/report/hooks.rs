//! The hooks through which the kernel half sees sockets.

use super::Limit;

/// How full sockets' transitions reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transitions {
    /// A tracepoint with typed arguments.
    TpBtf,
    /// The same tracepoint, with arguments that are mere numbers.
    RawTp,
    /// The same tracepoint by its record; misses most.
    Tracepoint,
}

impl Transitions {
    /// Best first.
    pub const ALL: [Self; 3] = [Self::TpBtf, Self::RawTp, Self::Tracepoint];

    /// As it is called in output and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::RawTp => "raw_tp",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// How mini sockets reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// By the kernel's functions that make and end them.
    Fentry,
    /// By the starts and stops of their timers.
    Timer,
    /// By the kernel's own counters, whenever somebody asks.
    Polled,
    /// Not at all.
    None,
}

impl Provider {
    /// Best first.
    pub const ALL: [Self; 4] = [Self::Fentry, Self::Timer, Self::Polled, Self::None];

    /// As it is called in output and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Timer => "timer",
            Self::Polled => "polled",
            Self::None => "none",
        }
    }

    /// Whether each one is seen, as it comes and goes.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Fentry | Self::Timer)
    }
}

/// The two kinds of mini sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minis {
    /// `struct inet_timewait_sock`: what `ss` shows in TIME_WAIT, and orphans in FIN_WAIT2.
    TimeWait,
    /// `struct request_sock`: what `ss` shows in SYN_RECV, but for full sockets in that state.
    SynRecv,
}

impl Minis {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::TimeWait, Self::SynRecv];

    /// As it is called in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeWait => "time_wait",
            Self::SynRecv => "syn_recv",
        }
    }

    /// What can serve, best first. The kernel counts no request sockets, so nothing of those can be
    /// polled.
    #[must_use]
    pub const fn providers(self) -> &'static [Provider] {
        match self {
            Self::TimeWait => &[Provider::Fentry, Provider::Timer, Provider::Polled],
            Self::SynRecv => &[Provider::Fentry, Provider::Timer, Provider::None],
        }
    }
}

/// The hooks in place. A hook is `None` if a recording names one that this program does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// The hook of full sockets' transitions.
    pub transitions: Option<Transitions>,
    /// The provider of TIME_WAIT mini sockets.
    pub time_wait: Option<Provider>,
    /// The provider of SYN_RECV request sockets.
    pub syn_recv: Option<Provider>,
}

impl Hooks {
    /// The names in output of the hooks of transitions, of time-wait sockets and of request
    /// sockets.
    #[must_use]
    pub fn names(self) -> [&'static str; 3] {
        let provider = |provider: Option<Provider>| provider.map_or(UNKNOWN, Provider::name);
        let transitions = self.transitions.map_or(UNKNOWN, Transitions::name);
        [transitions, provider(self.time_wait), provider(self.syn_recv)]
    }
}

/// The name in output of a hook that this program does not know.
const UNKNOWN: &str = "unknown";

/// What serves now, and what that leaves to wish for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// What serves.
    pub hooks: Hooks,
    /// What cannot be seen here, and why.
    pub limits: Vec<Limit>,
}
