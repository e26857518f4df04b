//! Prints the table at the end of a run: a line for each kernel, and the paths of the logs.

use std::{fmt, path::PathBuf};

use super::{guest::Ending, names::Abi, verdict::Verdict};
use crate::test::libtest::Outcome;

/// A row of the table: a kernel, and the result of the guest that ran this kernel.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) abi: Abi,
    pub(crate) ending: Ending,
    pub(crate) log: PathBuf,
    /// Whether this guest was started because an earlier guest ended before the tests began.
    pub(crate) is_second: bool,
}

impl Row {
    /// Returns the results of the tests. The name of each test begins with the kernel line, for
    /// example `6.12`.
    pub(crate) fn into_outcome(self) -> Outcome {
        let Ending { mut outcome, verdict, .. } = self.ending;
        // If the guest did not pass, but no test failed or was flaky, report the guest as failed.
        if verdict != Verdict::Pass && outcome.failed.is_empty() && outcome.flaky.is_empty() {
            outcome.failed.push(format!("the guest ({verdict})"));
        }
        let Outcome { failed, skipped, flaky, .. } = &mut outcome;
        for name in failed.iter_mut().chain(skipped).chain(flaky) {
            *name = format!("{}: {name}", self.abi.line());
        }
        outcome
    }
}

/// The table with the rows of all kernels.
pub(crate) struct Table<'a>(pub(crate) &'a [Row]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<32} {:<8} {:>6} {:>6} {:>7} {:>7}",
            "kernel", "verdict", "passed", "failed", "skipped", "seconds"
        )?;
        for Row { abi, ending, is_second, .. } in self.0 {
            let Ending { verdict, outcome, duration, .. } = ending;
            let is_flaky = outcome.failed.is_empty() && !outcome.flaky.is_empty();
            let verdict = if is_flaky { "FLAKY".to_owned() } else { verdict.to_string() };
            writeln!(
                f,
                "{abi:<32} {verdict:<8} {:>6} {:>6} {:>7} {:>7.1}{}",
                outcome.passed,
                outcome.failed.len(),
                outcome.skipped.len(),
                duration.as_secs_f64(),
                if *is_second { "  in the second guest" } else { "" },
            )?;
            let flaky = outcome.flaky.len();
            if flaky > 0 {
                writeln!(f, "{:<32} {flaky} tests passed only in a second guest", "")?;
            }
        }
        for Row { abi, ending, log, .. } in self.0 {
            writeln!(f, "\n{}: {}", abi.line(), log.display())?;
            let Outcome { failed, skipped, flaky, .. } = &ending.outcome;
            flaky.iter().try_for_each(|name| writeln!(f, "  flaky: {name}"))?;
            failed.iter().try_for_each(|name| writeln!(f, "  failed: {name}"))?;
            skipped.iter().try_for_each(|name| writeln!(f, "  skipped: {name}"))?;
        }
        Ok(())
    }
}

/// Returns the output of `cargo xtask vm --list`.
pub(crate) fn lines(lines: &[(Abi, bool)]) -> String {
    let row = |(abi, is_here): &(Abi, bool)| {
        let here = if *is_here { "stored" } else { "not stored" };
        format!("{:<6} {abi:<32} {here}\n", abi.line())
    };
    lines.iter().map(row).collect()
}
