//! Reads the cost of programs from the kernel's statistics, for attached and detached programs.

use std::{collections::BTreeMap, time::Duration};

use aya::{Ebpf, programs::ProgramError};

use super::{Error, programs};

/// The number of runs of one program since the program was loaded, and the total time of these runs
/// on all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) count: u64,
    pub(crate) time: Duration,
}

impl Runs {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.time += other.time;
    }
}

/// The runs of detached programs. When a program is unloaded, the kernel discards the count of the
/// program's runs. This struct keeps the counts of detached programs, so that the reported cost of
/// tcpstate never decreases.
#[derive(Debug, Default)]
pub(super) struct DetachedRuns(BTreeMap<&'static str, Runs>);

impl DetachedRuns {
    /// Stores the runs of a program that is about to be detached.
    pub(super) fn add(&mut self, ebpf: &Ebpf, name: &'static str) -> Result<(), Error> {
        let info = programs::info(ebpf, name)?;
        self.add_runs(name, Runs { count: info.run_count(), time: info.run_time() });
        Ok(())
    }

    fn add_runs(&mut self, name: &'static str, runs: Runs) {
        // All counts and times of runs are zero if the kernel's statistics are disabled.
        if runs != Runs::default() {
            self.0.entry(name).or_default().add(runs);
        }
    }

    /// Returns the total runs of each attached or detached program. If a program was detached and
    /// attached again, the total includes the program's runs before and after the detachment.
    fn with<'a>(
        &'a self,
        attached: impl IntoIterator<Item = (&'a str, Runs)>,
    ) -> BTreeMap<&'a str, Runs> {
        let mut all: BTreeMap<&str, Runs> = attached.into_iter().collect();
        for (&name, &runs) in &self.0 {
            all.entry(name).or_default().add(runs);
        }
        all
    }
}

/// Returns the cost of each program since tcpstate loaded the programs. The keys of the returned
/// map are the names of the programs.
pub(super) fn measured<'a>(
    ebpf: &'a Ebpf,
    detached: &'a DetachedRuns,
) -> Result<BTreeMap<&'a str, Runs>, ProgramError> {
    // A program that is not loaded has no descriptor and no cost.
    let loaded = ebpf.programs().filter(|(_, program)| program.fd().is_ok());
    let runs = loaded.map(|(name, program)| {
        let info = program.info()?;
        Ok((name, Runs { count: info.run_count(), time: info.run_time() }))
    });
    Ok(detached.with(runs.collect::<Result<Vec<_>, ProgramError>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(count: u64) -> Runs {
        Runs { count, time: Duration::from_nanos(100 * count) }
    }

    #[test]
    fn cost_of_a_program_does_not_decrease_when_it_is_replaced() {
        let mut detached = DetachedRuns::default();
        assert_eq!(detached.with([("timer_start", runs(9))])["timer_start"], runs(9));
        detached.add_runs("timer_start", runs(9));
        assert_eq!(detached.with([])["timer_start"], runs(9), "taken out");
        let back = detached.with([("timer_start", runs(2)), ("iterator", runs(1))]);
        assert_eq!((back["timer_start"], back["iterator"]), (runs(11), runs(1)));
        detached.add_runs("timer_start", runs(2));
        assert_eq!(detached.with([])["timer_start"], runs(11), "taken out again");
    }

    #[test]
    fn detached_programs_that_never_ran_are_not_listed() {
        let mut detached = DetachedRuns::default();
        detached.add_runs("timer_start", runs(0));
        assert!(detached.with([]).is_empty());
    }
}
