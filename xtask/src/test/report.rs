//! What a run of the tests says: a heading and a duration for each step, and one line of counts at the end.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::libtest::Outcome;

/// The counts of a run, and what is to be said about it at the end.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    /// Names, with their step.
    failed: Vec<String>,
    /// Names and causes.
    skipped: Vec<String>,
}

impl Report {
    /// Runs something that is one check, like the formatting of the tree. Its errors are shown and counted.
    pub(crate) fn check<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let done = self.prepare(name, work);
        self.passed += usize::from(done.is_some());
        done
    }

    /// Runs something that is no check, but fails the run if it fails.
    pub(crate) fn prepare<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let start = heading(name);
        match work() {
            Ok(value) => {
                ending("ok", start.elapsed());
                Some(value)
            }
            Err(error) => {
                println!("{error:#}");
                ending("FAILED", start.elapsed());
                self.failed.push(name.to_owned());
                None
            }
        }
    }

    /// Runs tests, and adds what came of each.
    pub(crate) fn tests(&mut self, name: &str, work: impl FnOnce() -> Result<Outcome>) {
        let start = heading(name);
        match work() {
            Ok(outcome) => {
                let verdict = if outcome.failed.is_empty() { "ok" } else { "FAILED" };
                ending(&format!("{verdict}, {outcome}"), start.elapsed());
                self.passed += outcome.passed;
                self.failed
                    .extend(outcome.failed.iter().map(|failure| format!("{name}: {failure}")));
                self.skipped.extend(outcome.skipped);
            }
            Err(error) => {
                println!("{error:#}");
                ending("FAILED", start.elapsed());
                self.failed.push(name.to_owned());
            }
        }
    }

    pub(crate) fn skip(&mut self, name: &str, cause: &str) {
        self.skipped.push(format!("{name}: {cause}"));
    }

    /// Adds one check that was shown elsewhere.
    pub(crate) fn add(&mut self, name: String, is_ok: bool) {
        if is_ok {
            self.passed += 1;
        } else {
            self.failed.push(name);
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.failed.is_empty()
    }
}

/// The summary. Its last line is the run's last line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, lines) in [("skipped", &self.skipped), ("failed", &self.failed)] {
            if !lines.is_empty() {
                writeln!(f, "\n{title}:")?;
                lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
            }
        }
        write!(
            f,
            "\n{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        )
    }
}

fn heading(name: &str) -> Instant {
    println!("\n== {name}");
    Instant::now()
}

fn ending(verdict: &str, duration: Duration) {
    println!("   {verdict} ({:.1} s)", duration.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_summary_ends_with_the_counts() {
        let mut report = Report::default();
        report.check("good", || Ok(()));
        report.check("bad", || -> Result<()> { bail!("broken") });
        report.prepare("free", || Ok(()));
        report.skip("test", "no such kernel");
        let text = report.to_string();
        assert_eq!(text.lines().last(), Some("1 passed, 1 failed, 1 skipped"));
        assert!(text.contains("  test: no such kernel\n"), "{text}");
        assert!(!report.is_success());
    }
}
