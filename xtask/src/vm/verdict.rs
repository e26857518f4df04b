//! Computes the verdict on a guest from the observed signs. The functions of this module do no I/O.
//!
//! The verdict is PASS or FAIL only if two signs agree: the exit status of QEMU, and the last line
//! that the guest's first process prints. The guest selects QEMU's exit status by a write to the
//! I/O port of the device `isa-debug-exit`.
//!
//! The following cases were provoked on the kernels 5.10, 6.1, 6.12 and 7.3, with these results:
//!
//! | in the guest                          | QEMU's status | line           | verdict |
//! |---------------------------------------|---------------|----------------|---------|
//! | all programs succeed                  | 33            | `verdict pass` | PASS    |
//! | a test fails, a program is killed     | 35            | `verdict fail` | FAIL    |
//! | `echo c > /proc/sysrq-trigger`        | 0             | none           | DIED    |
//! | a test that never ends                | none, killed  | none           | TIMEOUT |

use std::fmt;

/// The exit status of QEMU after all tests passed. The guest writes `status >> 1` to the port. The
/// statuses 0 and 1 are not used, because QEMU exits with 1 after its own errors.
const PASSED: i32 = 33;
const FAILED: i32 = 35;

/// Messages after which the kernel does not recover. Only the output of the kernel is searched for
/// these messages.
const FATAL: &[&str] = &[
    "Kernel panic",
    "Oops: ",
    "BUG: unable to handle",
    "kernel BUG at",
    "general protection fault",
    "BUG: soft lockup",
    "hard LOCKUP",
];

/// A kernel message that a bug in QEMU causes. QEMU's translator sometimes executes a breakpoint
/// instruction that the kernel has already removed.
const PATCHING_FLAKE: &str = "Oops: int3";

/// The observations from which the verdict on a guest is computed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    /// Whether the guest's first process finished the set-up and started the tests.
    pub(crate) is_ready: bool,
    /// The verdict that the first process printed. `true` means that all tests passed.
    pub(crate) said: Option<bool>,
    /// The first kernel message for which [`is_fatal`] returns true.
    pub(crate) fatal: Option<String>,
    /// The exit status of QEMU. `None` if a signal killed QEMU.
    pub(crate) status: Option<i32>,
    /// The time limit in seconds, if the guest was killed because the guest exceeded the limit.
    pub(crate) timeout: Option<u64>,
}

/// The verdict on a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Fail,
    /// The guest crashed or ended early. The text of this variant is the known cause.
    Died(String),
    Timeout(String),
}

impl Verdict {
    /// Returns the cause of the guest's failure. Returns `None` if the results of the tests already
    /// show the cause of the failure.
    pub(crate) fn cause(&self) -> Option<&str> {
        match self {
            Self::Pass | Self::Fail => None,
            Self::Died(cause) | Self::Timeout(cause) => Some(cause),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Died(_) => "DIED",
            Self::Timeout(_) => "TIMEOUT",
        })
    }
}

/// Returns whether this kernel message reports an error from which the kernel does not recover.
pub(crate) fn is_fatal(line: &str) -> bool {
    FATAL.iter().any(|text| line.contains(text))
}

/// Computes the verdict on a guest from the signs.
pub(crate) fn judge(signs: &Signs) -> Verdict {
    // A fatal kernel message has priority, because tests that pass on a broken kernel prove
    // nothing.
    if let Some(line) = &signs.fatal {
        return Verdict::Died(line.clone());
    }
    match (signs.status, signs.said) {
        (Some(PASSED), Some(true)) => return Verdict::Pass,
        (Some(FAILED), Some(false)) => return Verdict::Fail,
        _ => {}
    }
    let stage = if signs.is_ready { "with tests running" } else { "before it was ready" };
    if let Some(seconds) = signs.timeout {
        return Verdict::Timeout(format!("ended after {seconds} s, {stage}"));
    }
    let status =
        signs.status.map_or_else(|| "a signal".to_owned(), |status| format!("status {status}"));
    Verdict::Died(match signs.said {
        Some(said) => {
            let said = if said { "pass" } else { "fail" };
            format!("signs disagree: the guest printed {said}, QEMU ended with {status}")
        }
        None => format!("no verdict, {stage}; QEMU ended with {status}"),
    })
}

/// Returns the reason to start the guest again. Returns `None` if the tests may have caused the
/// failure.
pub(crate) fn retry_cause(signs: &Signs) -> Option<&'static str> {
    let is_lost = matches!(judge(signs), Verdict::Died(_) | Verdict::Timeout(_));
    if is_lost && !signs.is_ready {
        Some("it ended before its tests began")
    } else if signs.fatal.as_deref().is_some_and(|line| line.contains(PATCHING_FLAKE)) {
        Some("`Oops: int3` comes from emulated code patching")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: i32, said: Option<bool>) -> Signs {
        Signs { is_ready: true, said, status: Some(status), ..Signs::default() }
    }

    fn fatal(line: &str, is_ready: bool) -> Signs {
        Signs { is_ready, fatal: Some(line.to_owned()), ..Signs::default() }
    }

    fn timeout(is_ready: bool) -> Signs {
        Signs { is_ready, timeout: Some(240), ..Signs::default() }
    }

    #[test]
    fn two_signs_that_agree_make_a_verdict() {
        assert_eq!(judge(&ended(33, Some(true))), Verdict::Pass);
        assert_eq!(judge(&ended(35, Some(false))), Verdict::Fail);
    }

    #[test]
    fn one_sign_alone_is_a_crash() {
        for signs in [
            ended(33, None),
            ended(35, None),
            ended(33, Some(false)),
            ended(35, Some(true)),
            ended(0, Some(true)),
            ended(1, None),
            Signs::default(),
        ] {
            assert!(matches!(judge(&signs), Verdict::Died(_)), "{signs:?}");
        }
    }

    #[test]
    fn nothing_passes_on_a_kernel_that_broke() {
        let line = "Oops: 0002 [#1] SMP PTI";
        let signs = Signs { fatal: Some(line.to_owned()), ..ended(33, Some(true)) };
        assert_eq!(judge(&signs), Verdict::Died(line.to_owned()));
    }

    #[test]
    fn guest_that_was_killed_timed_out() {
        assert!(matches!(judge(&timeout(true)), Verdict::Timeout(_)));
        // The guest printed a verdict, but QEMU did not exit.
        let signs = Signs { said: Some(true), ..timeout(true) };
        assert!(matches!(judge(&signs), Verdict::Timeout(_)));
    }

    #[test]
    fn only_failures_of_the_guest_are_repeated() {
        let again = [timeout(false), Signs::default(), fatal("Kernel panic - not syncing", false)];
        assert!(again.iter().all(|signs| retry_cause(signs).is_some()));
        assert!(retry_cause(&fatal("Oops: int3: 0000 [#1] SMP NOPTI", true)).is_some());
        let never = [
            ended(33, Some(true)),
            ended(35, Some(false)),
            ended(0, None),
            timeout(true),
            fatal("Kernel panic - not syncing: sysrq triggered crash", true),
        ];
        assert!(never.iter().all(|signs| retry_cause(signs).is_none()));
    }

    #[test]
    fn kernels_say_when_they_break() {
        for line in [
            "[    4.1] Kernel panic - not syncing: sysrq triggered crash",
            "[    4.1] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [swapper/0:1]",
            "[    4.1] BUG: unable to handle page fault for address: ffffffffff",
        ] {
            assert!(is_fatal(line), "{line}");
        }
        assert!(!is_fatal("[    0.2] Spectre V2 : Mitigation: Retpolines"));
    }
}
