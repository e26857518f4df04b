//! The facts about the running system from which `check` computes the features.

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

/// The reason why a feature is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause.
    pub cause: String,
    /// The advice.
    pub help: String,
    /// The BPF program that the kernel refused to load, if the kernel refused a program.
    pub program: Option<&'static str>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (help, program) = (error.help().into_owned(), error.program());
        Self { cause: error.to_string(), help, program }
    }
}

/// Whether an attempt to use a feature succeeded, or why the attempt failed.
pub type Attempt = Result<(), Failure>;

/// All facts about this system.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The running kernel.
    pub kernel: Kernel,
    /// The approximate number of TCP sockets in this network namespace.
    pub sockets: u64,
    /// Whether the kernel's types contain all fields that the programs read.
    pub types: Attempt,
    /// The capabilities of this process.
    pub capabilities: Vec<Capability>,
    /// How the system confines this process: user namespace, seccomp, lockdown, and hidden kernel
    /// files.
    pub confinement: Confinement,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf: Option<u32>,
    /// `net.core.bpf_jit_enable`, which is visible only in the initial network namespace.
    pub jit: Option<u32>,
    /// Whether the BPF programs can distinguish the kernel's timers by the addresses of the timer
    /// functions.
    pub addresses: Attempt,
    /// Whether this process can read the format of the records that the classic tracepoint writes.
    pub record: Attempt,
    /// Whether this process may switch on the kernel's run-time statistics for BPF programs.
    pub statistics: Attempt,
    /// The kernel's own counters, if they can be read.
    pub counters: KernelCounters,
    /// The hooks that `trace` would use, or the reason why `trace` cannot start.
    pub whole: Result<Whole, Failure>,
    /// For each hook, the result of an attempt to attach the hook. `None` if this process may not
    /// attach hooks.
    pub parts: Option<Parts>,
    /// The result of the traffic that `--live` makes in a private network namespace.
    pub live: Option<Result<Live, Failure>>,
}

/// The hooks that `trace` would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The hook that reports the transitions of full sockets.
    pub transitions: Transitions,
    /// The provider for time-wait sockets.
    pub time_wait: Provider,
    /// The provider for request sockets.
    pub syn_recv: Provider,
    /// The advice that is printed if a hook does not observe every event.
    pub help_lines: Vec<String>,
    /// Whether this kernel counts the runs of BPF programs that the kernel skips.
    pub counts_misses: bool,
}

/// For each hook, the result of an attempt to attach the hook.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The hooks for transitions. The hook that `trace` prefers is the first.
    pub transitions: Vec<(Transitions, Attempt)>,
    /// The providers for each kind of mini socket. For each kind, the provider that `trace` prefers
    /// is the first.
    pub minis: Vec<(Minis, Provider, Attempt)>,
}

impl Facts {
    /// Reads the running system, and tries all hooks that this process may try.
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

    /// Returns whether this process has the capability and is in the initial user namespace, so
    /// that the capability applies to BPF.
    pub(super) fn has(&self, capability: Capability) -> bool {
        !self.confinement.user_namespace && self.capabilities.contains(&capability)
    }

    /// Returns the result of the attempt to attach this provider of mini sockets, if the provider
    /// was tried.
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

    /// Returns the facts of a process without privilege on this kernel.
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

    /// Returns the facts of a system where all features work.
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
