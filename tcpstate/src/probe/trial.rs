//! Attaches each part of the BPF programs separately, and then removes the part. Each part is
//! attached in the way in which the command `trace` attaches the part. The command `check` reports
//! the results.

use super::{
    Error, Options, Probe,
    btf::Btf,
    format,
    kallsyms::{self, Symbols},
    load::measure_runs,
    offsets,
};
use crate::report::{Minis, Provider, Transitions};

/// A part of the BPF programs that the command `check` can try separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A hook that observes transitions of full sockets.
    Transitions(Transitions),
    /// A provider of mini sockets.
    Minis(Minis, Provider),
}

/// Loads and attaches one part of the BPF programs, and as few other parts as possible.
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

/// Checks that the kernel's types contain all fields that the programs load.
pub fn types() -> Result<(), Error> {
    let types = Btf::from_kernel()?;
    offsets::sockets(&types)?;
    offsets::minis(&types)?;
    offsets::verdicts(&types)?;
    Ok(())
}

/// Checks that the timers of mini sockets can be recognized.
pub fn addresses() -> Result<(), Error> {
    let symbols = Symbols::of_kernel()
        .map_err(|source| Error::System { action: "read /proc/kallsyms", source })?;
    Minis::BOTH
        .into_iter()
        .try_for_each(|minis| symbols.of(minis).map(drop))
        .map_err(Error::Kallsyms)
}

/// Checks that the format of the classic tracepoint can be read.
pub fn record() -> Result<(), Error> {
    format::inet_sock_set_state().map(drop).map_err(Error::Format)
}

/// Returns `kernel.kptr_restrict`.
#[must_use]
pub fn kptr_restrict() -> Option<u32> {
    kallsyms::kptr_restrict()
}

/// Checks that the kernel can measure the run time of BPF programs. The measurement stops when the
/// function returns.
pub fn statistics() -> Result<(), Error> {
    measure_runs().map(drop)
}
