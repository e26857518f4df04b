//! Prints the report of a run. Each step has a heading and a duration. The end of the report lists
//! the steps and the slowest tests, longest first, and one line of counts.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::libtest::Outcome;

/// The maximum number of slow tests in the report.
const SLOWEST: usize = 12;
/// The minimum duration of a test that the report lists as slow.
const SLOW: Duration = Duration::from_secs(5);

/// The counts of passed, failed and skipped tests, and the lists that the report prints at the end.
#[derive(Debug)]
pub(crate) struct Report {
    start: Instant,
    /// The name and the duration of each step, in the order of the run.
    steps: Vec<(String, Duration)>,
    /// Names and durations of the tests that ran one at a time.
    times: Vec<(String, Duration)>,
    passed: usize,
    /// The name of each failed test, and the name of the step that ran the test.
    failed: Vec<String>,
    /// Names of skipped tests, and the causes.
    skipped: Vec<String>,
    /// Names of tests that failed in one guest and passed in a second guest.
    flaky: Vec<String>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            steps: Vec::new(),
            times: Vec::new(),
            passed: 0,
            failed: Vec::new(),
            skipped: Vec::new(),
            flaky: Vec::new(),
        }
    }
}

impl Report {
    /// Runs a step that counts as one check, for example formatting. An error of the step is shown
    /// and counted as a failed check.
    pub(crate) fn check<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let done = self.prepare(name, work);
        self.passed += usize::from(done.is_some());
        done
    }

    /// Runs a step that is not a check, for example a build. If the step fails, the run fails.
    pub(crate) fn prepare<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let start = heading(name);
        match work() {
            Ok(value) => {
                self.end(name, "ok", start);
                Some(value)
            }
            Err(error) => {
                println!("{error:#}");
                self.end(name, "FAILED", start);
                self.failed.push(name.to_owned());
                None
            }
        }
    }

    /// Runs tests and adds their results to the report.
    pub(crate) fn tests(&mut self, name: &str, work: impl FnOnce() -> Result<Outcome>) {
        let start = heading(name);
        match work() {
            Ok(outcome) => {
                let verdict = if outcome.failed.is_empty() { "ok" } else { "FAILED" };
                self.end(name, &format!("{verdict}, {outcome}"), start);
                self.passed += outcome.passed;
                self.failed
                    .extend(outcome.failed.iter().map(|failure| format!("{name}: {failure}")));
                self.skipped.extend(outcome.skipped);
                self.flaky.extend(outcome.flaky);
                self.times.extend(outcome.times);
            }
            Err(error) => {
                println!("{error:#}");
                self.end(name, "FAILED", start);
                self.failed.push(name.to_owned());
            }
        }
    }

    pub(crate) fn skip(&mut self, name: &str, cause: &str) {
        self.skipped.push(format!("{name}: {cause}"));
    }

    /// Adds a check whose result has already been shown.
    pub(crate) fn add(&mut self, name: String, is_ok: bool) {
        if is_ok {
            self.passed += 1;
        } else {
            self.failed.push(name);
        }
    }

    /// Prints the result of a step and stores the duration of the step.
    fn end(&mut self, name: &str, verdict: &str, start: Instant) {
        let duration = start.elapsed();
        println!("   {verdict} ({:.1} s)", duration.as_secs_f64());
        self.steps.push((name.to_owned(), duration));
    }

    pub(crate) fn is_success(&self) -> bool {
        self.failed.is_empty()
    }
}

/// Sorts the entries by duration, longest first.
fn sorted(times: &[(String, Duration)]) -> Vec<&(String, Duration)> {
    let mut sorted: Vec<_> = times.iter().collect();
    sorted.sort_by_key(|(_, duration)| std::cmp::Reverse(*duration));
    sorted
}

/// Prints the summary at the end of a run. The line of counts is the last line of the output.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, (name, time): &(String, Duration)| {
            writeln!(f, "{:>8.1}  {name}", time.as_secs_f64())
        };
        writeln!(f, "\nseconds per step:")?;
        sorted(&self.steps).into_iter().try_for_each(|step| line(f, step))?;
        line(f, &("in all".to_owned(), self.start.elapsed()))?;
        let slow = sorted(&self.times).into_iter().filter(|(_, time)| *time >= SLOW);
        let slow: Vec<_> = slow.take(SLOWEST).collect();
        if !slow.is_empty() {
            writeln!(f, "\nseconds of the slowest tests here:")?;
            slow.into_iter().try_for_each(|test| line(f, test))?;
        }
        let lists = [("skipped", &self.skipped), ("flaky", &self.flaky), ("failed", &self.failed)];
        for (title, lines) in lists {
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

    #[test]
    fn steps_are_listed_with_the_longest_first() {
        let seconds = |name: &str, seconds| (name.to_owned(), Duration::from_secs(seconds));
        let report = Report {
            steps: vec![seconds("short", 1), seconds("long", 70)],
            times: vec![seconds("fast", 1), seconds("slow", 6)],
            ..Report::default()
        };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let long = lines.iter().position(|line| *line == "70.0  long").expect("it is listed");
        assert_eq!(lines[long - 1], "seconds per step:");
        assert_eq!(lines[long + 1], "1.0  short");
        assert!(lines.contains(&"6.0  slow") && !lines.contains(&"1.0  fast"), "{text}");
        assert!(text.contains("\n     0.0  in all\n"), "{text}");
    }
}
