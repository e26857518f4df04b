//! Tests that failed in a guest and pass in a second one. Decides which tests run again, and
//! changes the results. There is no I/O in this module.
//!
//! An emulated machine is slow and its clocks jump. So a wait or a kernel thread may be too late
//! there. A test that fails once and passes alone in a fresh guest is listed as flaky. More than
//! [`MAX_FLAKY`] flaky tests fail the run, because then the tests or tcpstate have a fault.

use super::verdict::Verdict;
use crate::test::libtest::Outcome;

/// The maximum number of flaky tests in a run, on all kernels together.
pub(super) const MAX_FLAKY: usize = 2;
/// If more tests fail in a guest, there is a real fault, and no test of this guest runs again.
const MOST_RETRIES: usize = 6;

/// A test that failed in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The program that contains the test.
    pub(super) program: String,
    /// The name of the test in the program.
    pub(super) test: String,
}

/// The tests to run again. The list is empty if the guest did not finish, or if a program
/// crashed. Then the results of the remaining tests are unknown.
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

/// Whether the test passed in the second guest, which ran only this test. A skipped test does not
/// pass.
pub(super) fn clears(verdict: &Verdict, outcome: &Outcome) -> bool {
    *verdict == Verdict::Pass && outcome.passed == 1
}

/// Moves a test that passed in the second guest from the failed to the flaky tests, and counts it
/// as passed. `output` is the path of its stored output.
pub(super) fn settle(outcome: &mut Outcome, failure: &Failure, output: &str) {
    let name = format!("{}: {}", failure.program, failure.test);
    outcome.failed.retain(|failed| *failed != name);
    outcome.passed += 1;
    outcome.flaky.push(format!("{name}: {output}"));
}

/// Fails a run with too many flaky tests.
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

    /// The results of a guest with this output.
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
        // The kernel crashed after the test had passed.
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
