//! Each part of the kernel half tried for itself, as `trace` would put it in place, and taken away again: what
//! `check` knows of this system.

use super::{
    Error, Options, Probe,
    btf::Btf,
    format,
    kallsyms::{self, Handlers},
    load::measure_runs,
    offsets,
};
use crate::report::{Minis, Provider, Transitions};

/// What can be tried for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A hook for full sockets' transitions.
    Transitions(Transitions),
    /// A provider for mini sockets.
    Minis(Minis, Provider),
}

/// Loads and attaches one part, and no more of the others than it needs.
pub fn attach(part: Part) -> Result<(), Error> {
    let nothing = Some(Provider::None);
    let mut options = Options { time_wait: nothing, syn_recv: nothing, ..Options::default() };
    match part {
        Part::Transitions(by) => options.transitions = Some(by),
        Part::Minis(Minis::TimeWait, provider) => options.time_wait = Some(provider),
        Part::Minis(Minis::SynRecv, provider) => options.syn_recv = Some(provider),
    }
    Probe::attach(&options).map(drop)
}

/// Whether the kernel's types hold all that the programs load.
pub fn types() -> Result<(), Error> {
    let types = Btf::from_kernel()?;
    offsets::sockets(&types)?;
    offsets::minis(&types)?;
    offsets::verdicts(&types)?;
    Ok(())
}

/// Whether the timers of mini sockets can be told from others.
pub fn addresses() -> Result<(), Error> {
    let handlers = Handlers::of_kernel()
        .map_err(|source| Error::System { action: "read /proc/kallsyms", source })?;
    Minis::BOTH
        .into_iter()
        .try_for_each(|minis| handlers.of(minis).map(drop))
        .map_err(Error::Kallsyms)
}

/// Whether the classic tracepoint says where its fields lie.
pub fn record() -> Result<(), Error> {
    format::inet_sock_set_state().map(drop).map_err(Error::Format)
}

/// `kernel.kptr_restrict`.
#[must_use]
pub fn kptr_restrict() -> Option<u32> {
    kallsyms::kptr_restrict()
}

/// Whether the kernel would measure programs; it does for as long as it takes to ask.
pub fn statistics() -> Result<(), Error> {
    measure_runs().map(drop)
}
