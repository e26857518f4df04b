//! Waits for a condition, with a deadline. The panic message of a wait names the condition.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use crate::emulated::is_emulated;

/// The usual deadline, which is far longer than any operation in the tests takes.
const DEADLINE: Duration = Duration::from_secs(10);
/// The factor for deadlines on an emulated machine, whose host may be busy.
const EMULATED: u32 = 5;
/// The shortest and the longest pause between two checks. The pauses between two checks become
/// longer: each pause is a fixed fraction of the time waited so far. During a pause the kernel and
/// other processes get the CPU. A wait of a minute costs little CPU time, which matters on an
/// emulated machine.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];
/// The length of a pause is the time waited so far, divided by `SHARE`.
const SHARE: u32 = 10;

/// Waits until the condition is true.
///
/// # Panics
/// Panics if `condition` does not hold within 10 s, or within 50 s on an emulated machine.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_equal(what, &true, &mut condition);
}

/// Waits until `read` returns the `expected` value.
///
/// # Panics
/// Panics if `read` does not return the value within 10 s, or within 50 s on an emulated machine.
/// The panic message contains the last value that `read` returned.
pub fn until_equal<T: PartialEq + Debug>(what: &str, expected: &T, read: impl FnMut() -> T) {
    until_equal_within(DEADLINE, what, expected, read);
}

/// Waits until the condition is true, with a longer deadline.
///
/// # Panics
/// Panics if `condition` does not hold within `time`, or within five times `time` on an emulated
/// machine.
pub fn until_within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    until_equal_within(time, what, &true, &mut condition);
}

/// Waits until `read` returns the `expected` value, with a longer deadline.
///
/// # Panics
/// Panics if `read` does not return the value within `time`, or within five times `time` on an
/// emulated machine. The panic message contains the last value that `read` returned.
pub fn until_equal_within<T: PartialEq + Debug>(
    time: Duration,
    what: &str,
    expected: &T,
    mut read: impl FnMut() -> T,
) {
    let time = patience(time);
    let began = Instant::now();
    loop {
        let last = read();
        if last == *expected {
            return;
        }
        let waited = began.elapsed();
        assert!(waited < time, "waited {time:?} for {what}: {expected:?}, still {last:?}");
        thread::sleep((waited / SHARE).clamp(PAUSES[0], PAUSES[1]));
    }
}

/// Returns `time`, or five times `time` on an emulated machine.
#[must_use]
pub fn patience(time: Duration) -> Duration {
    if is_emulated() { time * EMULATED } else { time }
}

/// Waits for all RCU read-side critical sections that were active when the function was called.
///
/// A closing socket disappears from `/proc` a moment before its last transition is reported. The
/// kernel reports transitions from packets and timers under RCU, so all such reports have ended
/// when the function returns.
pub fn grace_period() {
    // SAFETY: membarrier takes only numbers and does not access memory of this process.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    assert_eq!(result, 0, "membarrier: {}", std::io::Error::last_os_error());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_is_checked_until_it_holds() {
        let mut asked = 0;
        until("the third question", || {
            asked += 1;
            asked == 3
        });
        assert_eq!(asked, 3);
    }
}
