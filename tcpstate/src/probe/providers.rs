//! Attaches the best hooks that the kernel accepts, and reports a limit if a better hook could not
//! be attached.

use std::io;

use aya::Ebpf;
use tcpstate_common::abi::RecordOffsets;

use super::{
    Error,
    hooks::{self, Hook},
    kallsyms::Symbols,
    misses::{self, MissedRuns},
    programs::TRACEPOINT,
    runs::DetachedRuns,
    types::Types,
};
use crate::{
    error::Help as _,
    report::{Effect, Limit, Minis, Provider, Reason, Transitions},
};

/// The active providers of mini sockets.
#[derive(Debug)]
pub(super) struct Providers {
    time_wait: Active,
    syn_recv: Active,
    /// The limits of the active providers, and the reason for each limit.
    pub(super) limits: Vec<Limit>,
    /// The help lines of providers that could not be attached. A kind of mini sockets has a help
    /// line only if the active provider of this kind is not exact.
    pub(super) help_lines: Vec<String>,
    /// The runs of the programs that were detached.
    pub(super) detached: DetachedRuns,
    symbols: Symbols,
    /// Whether the kernel's own counters cover exactly the sockets that tcpstate counts.
    is_pollable: bool,
    /// The kernel function that a test uses instead of `inet_twsk_kill`.
    time_wait_exit: Option<&'static str>,
}

/// The attached programs of one kind of mini sockets.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) provider: Provider,
    pub(super) hooks: Vec<Hook>,
    /// How many runs of the attached and the detached programs the kernel has skipped.
    pub(super) missed: MissedRuns,
}

impl Active {
    const NONE: Self =
        Self { provider: Provider::None, hooks: Vec::new(), missed: MissedRuns::NONE };
}

impl Providers {
    pub(super) fn new(
        symbols: Symbols,
        time_wait_exit: Option<&'static str>,
        is_pollable: bool,
    ) -> Self {
        let (time_wait, syn_recv) = (Active::NONE, Active::NONE);
        Self {
            time_wait,
            syn_recv,
            limits: Vec::new(),
            help_lines: Vec::new(),
            detached: DetachedRuns::default(),
            symbols,
            is_pollable,
            time_wait_exit,
        }
    }

    /// Returns the active provider of one kind.
    pub(super) fn of(&self, minis: Minis) -> &Active {
        match minis {
            Minis::TimeWait => &self.time_wait,
            Minis::SynRecv => &self.syn_recv,
        }
    }

    /// Attaches the counting program with the hook `forced`. If `forced` is `None`, the function
    /// attaches the best hook that the kernel accepts.
    pub(super) fn attach_transitions(
        &mut self,
        ebpf: &mut Ebpf,
        types: &Types,
        forced: Option<Transitions>,
        record: io::Result<RecordOffsets>,
    ) -> Result<Transitions, Error> {
        let mut record = Some(record);
        let mut reasons = Vec::new();
        let mut first = None;
        let all = Transitions::ALL.into_iter();
        for by in all.filter(|&by| forced.is_none_or(|forced| by == forced)) {
            let hook = Hook { program: hooks::program(by), target: TRACEPOINT };
            let ready = match record.take_if(|_| by == Transitions::Tracepoint) {
                Some(Err(source)) => Err(Error::Format(source)),
                _ => Ok(()),
            };
            match ready.and_then(|()| hooks::attach(ebpf, hook, &types.ids)) {
                Ok(()) => {
                    self.limits.extend(limit_of_transitions(by, reasons));
                    return Ok(by);
                }
                Err(error) => {
                    hooks::detach(ebpf, hook.program);
                    reasons.push(Reason::Failed(by, error.to_string()));
                    first.get_or_insert(error);
                }
            }
        }
        // Return the error of the best hook, because fixing the cause of this error is most useful.
        Err(first.unwrap_or(Error::Absent(TRACEPOINT)))
    }

    /// Attaches the provider `forced`. If `forced` is `None`, the function attaches the best
    /// provider that the kernel accepts.
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        types: &Types,
        minis: Minis,
        forced: Option<Provider>,
    ) -> Result<(), Error> {
        let Some(provider) = forced else {
            let candidates = minis.providers().iter().copied();
            self.choose(ebpf, types, minis, candidates, Vec::new());
            return Ok(());
        };
        if provider == Provider::Polled && !self.is_pollable {
            // The kernel's own counters do not cover exactly the counted sockets. Attach no
            // provider, so that the gauges are reported as unknown instead of wrong.
            self.choose(ebpf, types, minis, std::iter::once(provider), Vec::new());
            return Ok(());
        }
        let hooks = self.install(ebpf, types, minis, provider)?;
        self.put(minis, provider, hooks, vec![Reason::Requested]);
        Ok(())
    }

    /// Replaces a broken provider with the next best provider.
    ///
    /// When a program is detached, the kernel discards the count of the program's skipped runs. The
    /// function reads the count of skipped runs before the detachment. A skipped run between the
    /// read of the count and the detachment is not counted. The next scan corrects the errors that
    /// uncounted runs cause in the gauges.
    pub(super) fn replace(
        &mut self,
        ebpf: &mut Ebpf,
        types: &Types,
        minis: Minis,
        why: &str,
    ) -> Result<(), Error> {
        let mut missed = self.of(minis).missed.clone();
        missed.end(|program| misses::of_program(ebpf, program))?;
        let failed = std::mem::replace(self.of_mut(minis), Active { missed, ..Active::NONE });
        for hook in failed.hooks {
            if !self.is_in_use(hook) {
                self.detached.add(ebpf, hook.program)?;
                hooks::detach(ebpf, hook.program);
            }
        }
        self.limits.retain(|limit| !limit.limits_gauges_of(minis));
        let others = minis.providers().iter().skip_while(|&&better| better != failed.provider);
        let reasons = vec![Reason::Failed(failed.provider, why.to_owned())];
        self.choose(ebpf, types, minis, others.skip(1).copied(), reasons);
        Ok(())
    }

    /// Attaches the first candidate that the kernel accepts.
    fn choose(
        &mut self,
        ebpf: &mut Ebpf,
        types: &Types,
        minis: Minis,
        candidates: impl Iterator<Item = Provider>,
        mut reasons: Vec<Reason<Provider>>,
    ) {
        // Keep only the help line of the last failed provider, because the cause of this failure is
        // the easiest to fix.
        let mut help = None;
        for provider in candidates {
            match self.install(ebpf, types, minis, provider) {
                Ok(hooks) => {
                    self.help_lines.extend(help.filter(|_| !provider.is_exact()));
                    return self.put(minis, provider, hooks, reasons);
                }
                Err(error) => {
                    help = Some(error.help().into_owned());
                    reasons.push(Reason::Failed(provider, error.to_string()));
                }
            }
        }
        self.put(minis, Provider::None, Vec::new(), reasons);
    }

    /// Stores the attached hooks of a provider. For each program, the function stores how many runs
    /// the kernel had skipped before this provider used the program.
    fn put(
        &mut self,
        minis: Minis,
        provider: Provider,
        hooks: Vec<(Hook, u64)>,
        reasons: Vec<Reason<Provider>>,
    ) {
        self.limits.extend(limit(minis, provider, reasons));
        let active = self.of_mut(minis);
        active.provider = provider;
        active.missed.begin(hooks.iter().map(|(hook, before)| (hook.program, *before)));
        active.hooks = hooks.into_iter().map(|(hook, _)| hook).collect();
    }

    fn of_mut(&mut self, minis: Minis) -> &mut Active {
        match minis {
            Minis::TimeWait => &mut self.time_wait,
            Minis::SynRecv => &mut self.syn_recv,
        }
    }

    /// Attaches all programs of a provider. If a program cannot be attached, the function detaches
    /// the programs that only this provider uses. For each program, the function returns how many
    /// runs the kernel had skipped before this provider used the program.
    fn install(
        &self,
        ebpf: &mut Ebpf,
        types: &Types,
        minis: Minis,
        provider: Provider,
    ) -> Result<Vec<(Hook, u64)>, Error> {
        if provider == Provider::Timer {
            self.symbols.of(minis).map_err(Error::Kallsyms)?;
        }
        if provider == Provider::Polled && !self.is_pollable {
            return Err(Error::Counters);
        }
        let mut hooks = hooks::programs(minis, provider, &types.fields)?;
        for hook in hooks.iter_mut().filter(|hook| hook.program == "inet_twsk_kill") {
            hook.target = self.time_wait_exit.unwrap_or(hook.target);
        }
        self.refuse_split_functions(minis, &hooks)?;
        // Both kinds of mini sockets share the programs that observe timers.
        let before = |hook: Hook| {
            let is_shared = self.is_in_use(hook);
            Ok((hook, if is_shared { misses::of_program(ebpf, hook.program)? } else { 0 }))
        };
        let with_misses = hooks.iter().copied().map(before).collect::<Result<Vec<_>, Error>>()?;
        let new = || hooks.iter().copied().filter(|&hook| !self.is_in_use(hook));
        let attached = new().try_for_each(|hook| hooks::attach(ebpf, hook, &types.ids));
        if attached.is_err() {
            new().for_each(|hook| hooks::detach(ebpf, hook.program));
        }
        attached.map(|()| with_misses)
    }

    /// Returns an error if the compiler has split one of the hooked functions, because the programs
    /// would then miss births or ends without a count of the missed calls.
    fn refuse_split_functions(&self, minis: Minis, hooks: &[Hook]) -> Result<(), Error> {
        let mut targets = hooks.iter().map(|hook| hook.target);
        targets.try_for_each(|function| match self.symbols.variant_of(function) {
            Some(variant) => Err(Error::Split { minis, function, variant: variant.to_owned() }),
            None => Ok(()),
        })
    }

    fn is_in_use(&self, hook: Hook) -> bool {
        [&self.time_wait, &self.syn_recv].iter().any(|active| active.hooks.contains(&hook))
    }
}

/// Returns the limit of a hook that is not the best hook.
fn limit_of_transitions(by: Transitions, reasons: Vec<Reason<Transitions>>) -> Option<Limit> {
    let effect = match by {
        Transitions::TpBtf => return None,
        Transitions::RawTp => Effect::CostlyTransitions,
        Transitions::Tracepoint => Effect::MoreMissed,
    };
    Some(Limit::Transitions { by, reasons, effect })
}

/// Returns the limit of a provider that does not observe all mini sockets of a kind.
fn limit(minis: Minis, by: Provider, reasons: Vec<Reason<Provider>>) -> Option<Limit> {
    let effect = match (minis, by) {
        (_, Provider::Fentry) | (Minis::SynRecv, Provider::Timer) => return None,
        (Minis::TimeWait, Provider::Timer) => Effect::OnlyExpiryKnown,
        (Minis::TimeWait, Provider::Polled) => Effect::SumOfTimeWait,
        (Minis::TimeWait, Provider::None) => Effect::NoTimeWait,
        (Minis::SynRecv, _) => Effect::NoRequests,
    };
    Some(Limit::Minis { minis, by, reasons, effect })
}
