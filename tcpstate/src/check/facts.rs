//! The facts that features follow from, gathered from the running system.

use std::{fs, io};

use caps::Capability;

use super::{Live, live};
use crate::{
    error::Help as _,
    probe::{
        Error, Options,
        confinement::Confinement,
        kernel::{self, Kernel},
        privileges,
        trial::{self, Part},
    },
    report::{Minis, Provider, Transitions},
    source::KernelCounters,
    tracer::Tracer,
};

/// Why something is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was found.
    pub cause: String,
    /// What helps.
    pub help: String,
    /// The program that the kernel refused, if it was one.
    pub program: Option<&'static str>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (help, program) = (error.help().into_owned(), error.program());
        Self { cause: error.to_string(), help, program }
    }
}

/// What became of a try.
pub type Attempt = Result<(), Failure>;

/// All that is known of this system.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The running kernel.
    pub kernel: Kernel,
    /// TCP sockets in this network namespace, about.
    pub sockets: u64,
    /// Whether the kernel's types hold what the programs load.
    pub types: Attempt,
    /// What this process may do.
    pub capabilities: Vec<Capability>,
    /// What confines it.
    pub confinement: Confinement,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf: Option<u32>,
    /// `net.core.bpf_jit_enable`, which only the first network namespace shows.
    pub jit: Option<u32>,
    /// Whether timers can be told apart.
    pub addresses: Attempt,
    /// Whether the classic tracepoint's record can be read.
    pub record: Attempt,
    /// Whether the kernel lets us time programs.
    pub statistics: Attempt,
    /// Whether the kernel's own counters can be read.
    pub counters: KernelCounters,
    /// What `trace` itself comes to.
    pub whole: Result<Whole, Failure>,
    /// Each hook for itself, unless that is not permitted.
    pub parts: Option<Parts>,
    /// What came of traffic in a namespace of its own, if that was asked for.
    pub live: Option<Result<Live, Failure>>,
}

/// What `trace` would put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// By what full sockets' transitions are seen.
    pub transitions: Transitions,
    /// By what time-wait sockets are.
    pub time_wait: Provider,
    /// By what request sockets are.
    pub syn_recv: Provider,
    /// What would help where one does not see each event.
    pub help_lines: Vec<String>,
    /// Whether this kernel counts the runs of programs that it skips.
    pub counts_misses: bool,
}

/// Each hook tried for itself.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// By hook, best first.
    pub transitions: Vec<(Transitions, Attempt)>,
    /// By kind and provider, best first.
    pub minis: Vec<(Minis, Provider, Attempt)>,
}

impl Facts {
    /// Asks the running system, and tries what it permits.
    pub fn gather(with_live: bool) -> io::Result<Self> {
        let kernel = Kernel::running()?;
        let whole = Tracer::start(&Options::default()).and_then(|tracer| whole(&tracer));
        let is_permitted = !matches!(
            whole,
            Err(Error::Capability(_) | Error::UserNamespace | Error::Kernel { .. })
        );
        let capabilities =
            caps::all().into_iter().filter(|&capability| privileges::has(capability));
        Ok(Self {
            sockets: kernel::hashed_sockets(),
            types: trial::types().map_err(Failure::from),
            capabilities: capabilities.collect(),
            confinement: Confinement::of_process(&kernel),
            unprivileged_bpf: sysctl("kernel/unprivileged_bpf_disabled"),
            jit: sysctl("net/core/bpf_jit_enable"),
            addresses: trial::addresses().map_err(Failure::from),
            record: trial::record().map_err(Failure::from),
            statistics: trial::statistics().map_err(Failure::from),
            counters: KernelCounters::read(kernel.counts_time_wait_births(), true),
            whole: whole.map_err(Failure::from),
            parts: is_permitted.then(Parts::try_each),
            live: with_live.then(|| live::prove(is_permitted)),
            kernel,
        })
    }

    /// Whether this process may use a capability.
    pub(super) fn has(&self, capability: Capability) -> bool {
        !self.confinement.user_namespace && self.capabilities.contains(&capability)
    }

    /// What came of a provider of mini sockets, if it was tried.
    pub(super) fn provider(&self, minis: Minis, provider: Provider) -> Option<&Attempt> {
        let parts = self.parts.as_ref()?;
        let found = parts.minis.iter().find(|part| (part.0, part.1) == (minis, provider));
        found.map(|part| &part.2)
    }
}

impl Parts {
    fn try_each() -> Self {
        let attach = |part| trial::attach(part).map_err(Failure::from);
        let transitions =
            Transitions::ALL.map(|by| (by, attach(Part::Transitions(by)))).into_iter().collect();
        let providers = |minis: Minis| {
            let each = minis.providers().iter().filter(|provider| provider.is_exact());
            each.map(move |&by| (minis, by, attach(Part::Minis(minis, by))))
        };
        Self { transitions, minis: Minis::BOTH.into_iter().flat_map(providers).collect() }
    }
}

fn whole(tracer: &Tracer) -> Result<Whole, Error> {
    let probe = tracer.probe();
    Ok(Whole {
        transitions: probe.transitions,
        time_wait: probe.provider(Minis::TimeWait),
        syn_recv: probe.provider(Minis::SynRecv),
        help_lines: probe.help_lines().to_vec(),
        counts_misses: probe.counts_misses()?,
    })
}

fn sysctl(path: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Somebody without a privilege on that kernel.
    pub(in super::super) fn facts(release: &str) -> Facts {
        Facts {
            kernel: Kernel::from_release(release.into()),
            sockets: 1009,
            types: Ok(()),
            capabilities: Vec::new(),
            confinement: Confinement::default(),
            unprivileged_bpf: Some(2),
            jit: Some(1),
            addresses: Ok(()),
            record: Ok(()),
            statistics: Ok(()),
            counters: KernelCounters::default(),
            whole: Err(Error::Capability(privileges::COUNTING.to_vec()).into()),
            parts: None,
            live: None,
        }
    }

    /// Somebody for whom everything works.
    pub(in super::super) fn with_parts(release: &str) -> Facts {
        let transitions = Transitions::ALL.map(|by| (by, Ok(()))).into();
        let minis = Minis::BOTH.into_iter().flat_map(|minis| {
            [Provider::Fentry, Provider::Timer].map(|provider| (minis, provider, Ok(())))
        });
        let whole = Whole {
            transitions: Transitions::TpBtf,
            time_wait: Provider::Fentry,
            syn_recv: Provider::Fentry,
            help_lines: Vec::new(),
            counts_misses: true,
        };
        Facts {
            whole: Ok(whole),
            parts: Some(Parts { transitions, minis: minis.collect() }),
            ..facts(release)
        }
    }
}
