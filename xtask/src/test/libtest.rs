//! Parses the output of a test binary while the binary runs.
//!
//! Test binaries run with `--show-output`, which prints the output of each test in a section after
//! all results. The parser searches the output of passed tests for `skipped: CAUSE`. The parser
//! shows the output of failed tests.

use std::{fmt, time::Duration};

/// The results of the tests in one or several binaries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    /// Names of failed tests.
    pub(crate) failed: Vec<String>,
    /// Names of skipped tests, with causes.
    pub(crate) skipped: Vec<String>,
    /// Names of tests that failed in a guest and passed in a second guest. The number of passed
    /// tests includes the flaky tests.
    pub(crate) flaky: Vec<String>,
    /// The first line of the first panic message.
    pub(crate) reason: Option<String>,
    /// The duration of each test. The list of durations is empty if tests ran in parallel.
    pub(crate) times: Vec<(String, Duration)>,
}

impl Outcome {
    pub(crate) fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.flaky.extend(other.flaky);
        self.times.extend(other.times);
        self.reason = self.reason.take().or(other.reason);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        )
    }
}

/// The part of the output that the parser currently reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Results,
    PassedOutput,
    FailedOutput,
    Failed,
}

/// Parses the output of one test binary, which arrives in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    section: Section,
    /// The incomplete last line of the output so far.
    partial: String,
    /// The name of the running test: the binary has printed this name, but no result of the test.
    running: Option<String>,
    /// The name of the test whose output the parser is reading.
    speaker: Option<String>,
    /// The number of passed tests, from the last line that the binary printed. `None` until the
    /// parser has read the last line of the binary's output.
    total: Option<usize>,
    /// The number of tests that printed `skipped: CAUSE`.
    said: usize,
    /// The results of single tests. If the binary crashes, the output contains no counts, and the
    /// parser uses the results of single tests.
    seen: Outcome,
    /// Whether the previous line announced a panic, so that this line is the panic message.
    is_panic: bool,
    /// The names of tests that have ended since the last call of [`Self::take_ended`].
    ended: Vec<String>,
    outcome: Outcome,
}

impl Parser {
    /// Parses a piece of the output. Returns the lines to show.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Vec<String> {
        self.partial.push_str(&String::from_utf8_lossy(piece));
        let mut shown = Vec::new();
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            let line = line.trim_end_matches('\n');
            if self.line(line) {
                shown.push(line.to_owned());
            }
        }
        shown
    }

    /// Parses one line of the output. Returns whether to show the line.
    fn line(&mut self, line: &str) -> bool {
        if let Some(result) = line.strip_prefix("test result: ") {
            let passed = result
                .split_once(". ")
                .and_then(|(_, counts)| counts.split(' ').next()?.parse().ok());
            // The output may contain a result line for each package, so add the counts.
            self.total = Some(self.total.unwrap_or(0) + passed.unwrap_or(0));
            self.section = Section::Results;
            return false;
        }
        match (self.section, line) {
            (Section::Results, "successes:") => self.section = Section::PassedOutput,
            (Section::FailedOutput, "failures:") => self.section = Section::Failed,
            (Section::Results | Section::PassedOutput, "failures:") => {
                self.section = Section::FailedOutput;
            }
            (Section::Results, _) => return self.result(line),
            (Section::PassedOutput, _) => self.passed_output(line),
            (Section::FailedOutput, _) => {
                if self.is_panic && self.outcome.reason.is_none() {
                    self.outcome.reason = Some(line.to_owned());
                }
                self.is_panic = line.starts_with("thread '") && line.contains("panicked at");
                return true;
            }
            (Section::Failed, _) => {
                if let Some(name) = line.strip_prefix("    ") {
                    self.outcome.failed.push(name.to_owned());
                }
            }
        }
        false
    }

    /// Parses a line such as `test NAME ... ok`. If tests run one at a time, the output of a test's
    /// child processes may be in front of the `ok`.
    fn result(&mut self, line: &str) -> bool {
        let announced = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        let verdict = if let Some((name, verdict)) = announced {
            self.running = Some(name.to_owned());
            verdict
        } else {
            line
        };
        let is_frame = line.is_empty() || line.starts_with("running ");
        let Some(name) = &self.running else { return !is_frame };
        if let Some(cause) = verdict.strip_prefix("ignored") {
            let cause = cause.trim_start_matches(", ");
            let cause = if cause.is_empty() { "ignored" } else { cause };
            self.outcome.skipped.push(format!("{name}: {cause}"));
            self.running = None;
        } else if verdict.ends_with("ok") {
            self.seen.passed += 1;
            self.ended.extend(self.running.take());
        } else if verdict.ends_with("FAILED") {
            self.seen.failed.push(name.clone());
            self.ended.extend(self.running.take());
        }
        true
    }

    fn passed_output(&mut self, line: &str) {
        if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.speaker = Some(name.to_owned());
        } else if let Some(cause) = line.trim_start().strip_prefix("skipped: ")
            && let Some(name) = self.speaker.take()
        {
            // Remove the test's name, so that a test that prints two causes counts as skipped once.
            self.outcome.skipped.push(format!("{name}: {cause}"));
            self.said += 1;
        }
    }

    /// Returns the name of the running test: the binary has printed this name, but no result of the
    /// test.
    fn pending(&self) -> Option<String> {
        let announced =
            self.partial.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        announced.map(|(name, _)| name.to_owned()).or_else(|| self.running.clone())
    }

    /// Returns the tests that have ended since the last call of this function.
    pub(crate) fn take_ended(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ended)
    }

    /// Returns the results of the tests. `problem` describes the exit of the binary, if the exit
    /// status was not 0.
    pub(crate) fn finish(mut self, problem: Option<&str>) -> Outcome {
        if let Some(passed) = self.total {
            // The binary's number of passed tests includes the skipped tests.
            self.outcome.passed = passed.saturating_sub(self.said);
        } else {
            self.outcome.passed = self.seen.passed;
            self.outcome.failed = std::mem::take(&mut self.seen.failed);
        }
        // If a test failed, the binary exits with a status that is not 0. If the exit status is not
        // 0 but no test failed, the binary crashed, and the running test counts as failed.
        if self.total.is_none() || (problem.is_some() && self.outcome.failed.is_empty()) {
            let name = self.pending().unwrap_or_else(|| "the tests".to_owned());
            self.outcome
                .failed
                .push(format!("{name} ({})", problem.unwrap_or("ended without a result")));
        }
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(output: &str, problem: Option<&str>) -> (Vec<String>, Outcome) {
        let mut parser = Parser::default();
        let shown = output.as_bytes().chunks(7).flat_map(|piece| parser.feed(piece)).collect();
        (shown, parser.finish(problem))
    }

    const MIXED: &str = "\nrunning 4 tests\ntest a::one ... ok\ntest a::two ... ignored, too slow\n\
        test b ... noise of a child\nmore noise, ok\nok\ntest c ... FAILED\n\nsuccesses:\n\n\
        ---- b stdout ----\nskipped: no fentry here\nskipped: twice\n\n\nsuccesses:\n    a::one\n    b\n\nfailures:\n\n\
        ---- c stdout ----\nthread 'c' panicked at c.rs:1:\nleft is not right\n\nfailures:\n    c\n\n\
        test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\n";

    #[test]
    fn each_test_is_counted_once() {
        let (_, outcome) = parse(MIXED, Some("exit status: 101"));
        assert_eq!(outcome.passed, 1);
        assert_eq!(outcome.failed, ["c"]);
        assert_eq!(outcome.skipped, ["a::two: too slow", "b: no fentry here"]);
        assert_eq!(outcome.reason.as_deref(), Some("left is not right"));
    }

    #[test]
    fn only_failed_tests_show_their_output() {
        let (shown, _) = parse(MIXED, Some("exit status: 101"));
        assert!(shown.iter().any(|line| line == "left is not right"));
        assert!(shown.iter().any(|line| line == "test a::one ... ok"));
        assert!(
            !shown
                .iter()
                .any(|line| line.contains("no fentry here") || line.starts_with("running"))
        );
    }

    #[test]
    fn crashed_binary_fails_the_running_test() {
        let (_, outcome) = parse(
            "running 3 tests\ntest a ... ok\ntest f ... FAILED\ntest b ... ",
            Some("signal: 11"),
        );
        assert_eq!(
            (outcome.passed, outcome.failed),
            (1, vec!["f".into(), "b (signal: 11)".into()])
        );
        let (_, outcome) = parse("", None);
        assert_eq!(outcome.failed, ["the tests (ended without a result)"]);
    }

    #[test]
    fn a_test_ends_with_its_result() {
        let mut parser = Parser::default();
        parser.feed(b"running 2 tests\ntest a ... ok\ntest b ... noise\n");
        assert_eq!(parser.take_ended(), ["a"]);
        parser.feed(b"FAILED\n");
        assert_eq!(parser.take_ended(), ["b"]);
        assert!(parser.take_ended().is_empty());
    }

    #[test]
    fn the_results_of_several_packages_add_up() {
        let package = "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n";
        let (_, outcome) = parse(&package.repeat(3), None);
        assert_eq!(outcome, Outcome { passed: 3, ..Outcome::default() });
    }
}
