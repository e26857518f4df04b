//! Reads the kernel's counts of skipped runs of BPF programs. The totals include the skipped runs
//! of attached and detached programs. The aya library does not read the counts of skipped runs.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Ebpf;

use super::{Error, programs};

/// The skipped runs of all programs of one kind of mini sockets, including detached programs.
///
/// When a program is loaded, the kernel's count of the program's skipped runs is 0. When the
/// program is unloaded, the kernel discards the count of skipped runs. The total includes the
/// skipped runs of replaced programs, so the total never decreases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MissedRuns {
    /// The number of skipped runs of the programs that are no longer active.
    earlier: u64,
    /// The active programs. The value of each program is the kernel's count of skipped runs at the
    /// time when the program became active.
    active: BTreeMap<&'static str, u64>,
}

impl MissedRuns {
    pub(super) const NONE: Self = Self { earlier: 0, active: BTreeMap::new() };

    /// Adds programs to the list of active programs. `programs` contains the name of each program
    /// and the kernel's count of the program's skipped runs. The count of an added program need not
    /// be 0, because another kind of mini sockets may already use the program.
    pub(super) fn begin(&mut self, programs: impl IntoIterator<Item = (&'static str, u64)>) {
        self.active.extend(programs);
    }

    /// Adds the skipped runs of all active programs to `earlier`, and removes the programs from the
    /// list. The programs must still be loaded when this function is called.
    pub(super) fn end<E>(
        &mut self,
        misses: impl Fn(&'static str) -> Result<u64, E>,
    ) -> Result<(), E> {
        self.earlier = self.total(misses)?;
        self.active.clear();
        Ok(())
    }

    /// Returns the number of all skipped runs. The parameter `misses` is a function that returns
    /// the kernel's count of a program's skipped runs.
    pub(super) fn total<E>(
        &self,
        misses: impl Fn(&'static str) -> Result<u64, E>,
    ) -> Result<u64, E> {
        let since = |(&program, &before): (&&'static str, &u64)| {
            misses(program).map(|now| now.saturating_sub(before))
        };
        self.active.iter().map(since).try_fold(self.earlier, |sum, count| Ok(sum + count?))
    }
}

/// Returns the kernel's count of the skipped runs of a loaded program.
pub(super) fn of_program(ebpf: &Ebpf, name: &'static str) -> Result<u64, Error> {
    recursion_misses(programs::fd(ebpf, name)?)
        .map_err(|source| Error::System { action: "read the program's fdinfo", source })
}

/// Returns how often the kernel skipped this program. The kernel skips a program that is already
/// running on the CPU (`__bpf_trace_run` in `kernel/trace/bpf_trace.c`). If the program's fdinfo
/// has no line for skipped runs, the function returns 0, because such a kernel never skips a run.
fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(parse(&fdinfo(program)?).unwrap_or(0))
}

/// Returns whether this kernel counts skipped runs of BPF programs. Kernels since 5.12 count
/// skipped runs.
pub(super) fn counts_skipped_runs(program: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(parse(&fdinfo(program)?).is_some())
}

fn fdinfo(program: BorrowedFd<'_>) -> io::Result<String> {
    fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))
}

pub(super) fn parse(fdinfo: &str) -> Option<u64> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|count| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_other_lines() {
        assert_eq!(
            parse(
                "pos:\t0\nprog_type:\t26\nrun_cnt:\t9\nrecursion_misses:\t1936\nverified_insns:\t5\n"
            ),
            Some(1936)
        );
        assert_eq!(parse("pos:\t0\nprog_type:\t26\n"), None);
    }

    /// The kernel's count of skipped runs for each loaded program.
    type Kernel = BTreeMap<&'static str, u64>;

    fn total(missed: &MissedRuns, kernel: &Kernel) -> u64 {
        missed.total(|program| kernel.get(program).copied().ok_or(program)).expect("it is loaded")
    }

    #[test]
    fn missed_runs_do_not_fall_when_hooks_are_replaced() {
        let mut missed = MissedRuns::default();
        missed.begin([("inet_twsk_kill", 0), ("inet_twsk_schedule", 0)]);
        let kernel = Kernel::from([("inet_twsk_kill", 0), ("inet_twsk_schedule", 7)]);
        assert_eq!(total(&missed, &kernel), 7);
        missed.end(|program| kernel.get(program).copied().ok_or(program)).expect("they are loaded");
        assert_eq!(total(&missed, &Kernel::new()), 7, "nothing serves");
        missed.begin([("timer_start", 0), ("timer_cancel", 0)]);
        let kernel = Kernel::from([("timer_start", 2), ("timer_cancel", 1)]);
        assert_eq!(total(&missed, &kernel), 10);
    }

    #[test]
    fn runs_missed_before_a_program_was_active_are_not_counted() {
        let mut missed = MissedRuns::default();
        missed.begin([("timer_start", 90)]);
        assert_eq!(total(&missed, &Kernel::from([("timer_start", 90)])), 0);
        assert_eq!(total(&missed, &Kernel::from([("timer_start", 95)])), 5);
    }

    #[test]
    fn unreadable_programs_are_an_error() {
        let mut missed = MissedRuns::default();
        missed.begin([("timer_start", 0)]);
        assert_eq!(missed.end(Err::<u64, _>), Err("timer_start"));
    }
}
