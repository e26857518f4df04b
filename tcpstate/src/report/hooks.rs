//! The hooks by which the BPF programs observe sockets.

use super::Limit;

/// The hook that reports transitions of full sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transitions {
    /// A program of type `tp_btf` at the tracepoint `inet_sock_set_state` reads typed arguments.
    TpBtf,
    /// A program of type `raw_tp` at the tracepoint `inet_sock_set_state` reads untyped arguments.
    RawTp,
    /// A program at the tracepoint `inet_sock_set_state` reads the formatted record. A program of
    /// this type misses more events than the other types.
    Tracepoint,
}

impl Transitions {
    /// All hooks, best first.
    pub const ALL: [Self; 3] = [Self::TpBtf, Self::RawTp, Self::Tracepoint];

    /// Returns the name used in output and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::RawTp => "raw_tp",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// The source of the counts of mini sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The programs observe the kernel functions that create and destroy mini sockets.
    Fentry,
    /// The programs observe when the kernel starts or cancels the timer of a mini socket.
    Timer,
    /// tcpstate reads the kernel's own counters for each snapshot.
    Polled,
    /// No hook and no kernel counter observes the mini sockets.
    None,
}

impl Provider {
    /// All providers, best first.
    pub const ALL: [Self; 4] = [Self::Fentry, Self::Timer, Self::Polled, Self::None];

    /// Returns the name used in output and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Timer => "timer",
            Self::Polled => "polled",
            Self::None => "none",
        }
    }

    /// Returns whether the provider observes each mini socket.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Fentry | Self::Timer)
    }
}

/// The two kinds of mini sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minis {
    /// `struct inet_timewait_sock`: the sockets that `ss` shows in TIME_WAIT, and orphans in
    /// FIN_WAIT2.
    TimeWait,
    /// `struct request_sock`: the sockets that `ss` shows in SYN_RECV, except full sockets in
    /// SYN_RECV.
    SynRecv,
}

impl Minis {
    /// Both kinds.
    pub const BOTH: [Self; 2] = [Self::TimeWait, Self::SynRecv];

    /// Returns the name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeWait => "time_wait",
            Self::SynRecv => "syn_recv",
        }
    }

    /// Returns the possible providers, best first. The kernel has no counter of request sockets, so
    /// request sockets cannot be polled.
    #[must_use]
    pub const fn providers(self) -> &'static [Provider] {
        match self {
            Self::TimeWait => &[Provider::Fentry, Provider::Timer, Provider::Polled],
            Self::SynRecv => &[Provider::Fentry, Provider::Timer, Provider::None],
        }
    }
}

/// The attached hooks. A field is `None` if a recording names a hook that this program does not
/// know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// The hook that reports transitions of full sockets.
    pub transitions: Option<Transitions>,
    /// The provider of time-wait sockets.
    pub time_wait: Option<Provider>,
    /// The provider of request sockets.
    pub syn_recv: Option<Provider>,
}

impl Hooks {
    /// Returns the output names of the hooks that observe transitions, time-wait sockets and
    /// request sockets, in this order.
    #[must_use]
    pub fn names(self) -> [&'static str; 3] {
        let provider = |provider: Option<Provider>| provider.map_or(UNKNOWN, Provider::name);
        let transitions = self.transitions.map_or(UNKNOWN, Transitions::name);
        [transitions, provider(self.time_wait), provider(self.syn_recv)]
    }
}

/// The output name of a hook that this program does not know.
const UNKNOWN: &str = "unknown";

/// The attached hooks, and what these hooks cannot observe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The attached hooks.
    pub hooks: Hooks,
    /// What the attached hooks cannot observe, and why.
    pub limits: Vec<Limit>,
}
