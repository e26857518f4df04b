//! Handles tests that fail in one guest and pass in a second guest. The module decides which tests
//! run again, and corrects the results. The functions of this module do no I/O.
//!
//! An emulated machine is slow, and the clocks of the machine jump. A timeout may expire too early
//! in an emulated machine, or a kernel thread may run too late. A test is listed as flaky if the
//! test fails once and then passes alone in a new guest. The run fails if there are more than
//! [`MAX_FLAKY`] flaky tests. More than [`MAX_FLAKY`] flaky tests indicate an error in the tests or
//! in tcpstate.

use super::verdict::Verdict;
use crate::test::libtest::Outcome;

/// The maximum number of flaky tests on all kernels together before the run fails.
pub(super) const MAX_FLAKY: usize = 2;
/// The maximum number of tests of a guest that run again after a failure. If more than
/// `MOST_RETRIES` tests of one guest fail, the failures count as real, and no test of this guest
/// runs again.
const MOST_RETRIES: usize = 6;

/// A test that failed in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The name of the program that contains the test.
    pub(super) program: String,
    /// The name of the test in the program.
    pub(super) test: String,
}

/// Returns the tests to run again. The list is empty if the guest did not finish or a program
/// crashed, because then the results of some tests are unknown.
pub(super) fn failures(verdict: &Verdict, outcome: &Outcome) -> Vec<Failure> {
    let is_death = |name: &String| name.ends_with(')');
    if *verdict != Verdict::Fail
        || outcome.failed.len() > MOST_RETRIES
        || outcome.failed.iter().any(is_death)
    {
        return Vec::new();
    }
    let failure = |name: &String| {
        let (program, test) = name.split_once(": ")?;
        Some(Failure { program: program.to_owned(), test: test.to_owned() })
    };
    outcome.failed.iter().filter_map(failure).collect()
}

/// Whether the test passed in the second guest, which ran only this test. A skipped test has not
/// passed.
pub(super) fn clears(verdict: &Verdict, outcome: &Outcome) -> bool {
    *verdict == Verdict::Pass && outcome.passed == 1
}

/// If a failed test passed in the second guest, moves the test from the failed tests to the flaky
/// tests, and counts the test as passed. `output` is the path of the log of the first guest.
pub(super) fn settle(outcome: &mut Outcome, failure: &Failure, output: &str) {
    let name = format!("{}: {}", failure.program, failure.test);
    outcome.failed.retain(|failed| *failed != name);
    outcome.passed += 1;
    outcome.flaky.push(format!("{name}: {output}"));
}

/// Adds a failure if the run has too many flaky tests.
pub(super) fn limit(outcome: &mut Outcome) {
    let count = outcome.flaky.len();
    if count > MAX_FLAKY {
        outcome.failed.push(format!("{count} tests are flaky, more than {MAX_FLAKY}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::console::{Console, Port};

    /// Returns the parsed output of a guest whose test programs printed `results`.
    fn guest(results: &[(&str, &str)], status: &str) -> Outcome {
        let mut console = Console::default();
        let mut print = |line: &str| drop(console.line(Port::Programs, line));
        print("tcpstate-vm: ready 5.10.0-46-cloud-amd64 2.31");
        print("tcpstate-vm: run kernel");
        print("running some tests");
        for (name, result) in results {
            print(&format!("test {name} ... {result}"));
        }
        let named = |wanted| results.iter().filter(move |(_, result)| *result == wanted);
        print("");
        print("failures:");
        named("FAILED").for_each(|(name, _)| print(&format!("---- {name} stdout ----")));
        print("failures:");
        named("FAILED").for_each(|(name, _)| print(&format!("    {name}")));
        let (passed, failed) = (named("ok").count(), named("FAILED").count());
        print(&format!("test result: FAILED. {passed} passed; {failed} failed; 0 ignored"));
        print(&format!("tcpstate-vm: end kernel: {status}"));
        console.finish(None)
    }

    fn failure(test: &str) -> Failure {
        Failure { program: "kernel".into(), test: test.into() }
    }

    #[test]
    fn failed_test_is_repeated_by_its_name() {
        let outcome = guest(&[("a::b", "ok"), ("c::d", "FAILED")], "exit status: 101");
        assert_eq!(failures(&Verdict::Fail, &outcome), [failure("c::d")]);
    }

    #[test]
    fn a_test_that_passes_alone_is_flaky() {
        let mut outcome = guest(&[("a::b", "ok"), ("c::d", "FAILED")], "exit status: 101");
        let alone = guest(&[("c::d", "ok")], "exit status: 0");
        assert!(clears(&Verdict::Pass, &alone));
        settle(&mut outcome, &failure("c::d"), "5.10.log");
        limit(&mut outcome);
        assert_eq!(outcome.passed, 2);
        assert!(outcome.failed.is_empty());
        assert_eq!(outcome.flaky, ["kernel: c::d: 5.10.log"]);
    }

    #[test]
    fn a_test_that_fails_again_or_is_skipped_stays_failed() {
        let again = guest(&[("c::d", "FAILED")], "exit status: 101");
        assert!(!clears(&Verdict::Fail, &again));
        let skipped =
            Outcome { skipped: vec!["kernel: c::d: no fentry".into()], ..Outcome::default() };
        assert!(!clears(&Verdict::Pass, &skipped));
        // In the second guest, the kernel crashed after the test had passed.
        let alone = guest(&[("c::d", "ok")], "exit status: 0");
        assert!(!clears(&Verdict::Died("Oops".into()), &alone));
    }

    #[test]
    fn more_than_two_flaky_tests_fail_the_run() {
        let flaky = vec!["a".into(), "b".into()];
        let mut outcome = Outcome { flaky, ..Outcome::default() };
        limit(&mut outcome);
        assert!(outcome.failed.is_empty());
        outcome.flaky.push("c".into());
        limit(&mut outcome);
        assert_eq!(outcome.failed, ["3 tests are flaky, more than 2"]);
    }

    #[test]
    fn guest_that_broke_or_fails_in_many_tests_is_not_repeated() {
        let failed = guest(&[("a::b", "FAILED")], "exit status: 101");
        for verdict in
            [Verdict::Pass, Verdict::Died("Oops".into()), Verdict::Timeout("late".into())]
        {
            assert!(failures(&verdict, &failed).is_empty(), "{verdict}");
        }
        let many = [("a", "FAILED"); MOST_RETRIES + 1];
        assert!(failures(&Verdict::Fail, &guest(&many, "exit status: 101")).is_empty());
        let mut died = Console::default();
        for line in
            ["tcpstate-vm: run kernel", "running 2 tests", "test a ... FAILED", "test b ... "]
        {
            died.line(Port::Programs, line);
        }
        died.line(Port::Programs, "tcpstate-vm: end kernel: signal: 11 (SIGSEGV)");
        assert!(failures(&Verdict::Fail, &died.finish(None)).is_empty());
    }
}
