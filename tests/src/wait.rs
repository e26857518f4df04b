//! Waiting for a condition, with a deadline that names what did not come.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use crate::emulated::is_emulated;

/// How long to wait; far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(10);
/// By how much longer where the machine is emulated, on a host that may have other things to do.
const EMULATED: u32 = 5;
/// Between two looks at first, and at most: a part of the time waited so far, so that the kernel's side gets the CPU and
/// a minute's wait costs next to nothing, which counts where the machine is emulated.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];
/// Which part.
const SHARE: u32 = 10;

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within 10 s, or five times that where the machine is emulated.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_equal(what, &true, &mut condition);
}

/// Waits until `read` gives the `expected` value.
///
/// # Panics
/// If it does not within 10 s, or five times that where the machine is emulated, with the value read last.
pub fn until_equal<T: PartialEq + Debug>(what: &str, expected: &T, read: impl FnMut() -> T) {
    until_equal_within(DEADLINE, what, expected, read);
}

/// Waits until `condition` holds, for what takes longer.
///
/// # Panics
/// If it does not within that time, or five times that where the machine is emulated.
pub fn until_within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    until_equal_within(time, what, &true, &mut condition);
}

/// Waits until `read` gives the `expected` value, for what takes longer.
///
/// # Panics
/// If it does not within that time, or five times that where the machine is emulated, with the value read last.
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

/// How long to wait for what takes no longer than this where nothing is emulated.
#[must_use]
pub fn patience(time: Duration) -> Duration {
    if is_emulated() { time * EMULATED } else { time }
}

/// Returns when whatever the kernel was in the middle of is over.
///
/// A closing socket leaves `/proc` a moment before its last transition is reported. Reports from packets and timers
/// run under RCU, and this waits for all of RCU's readers.
pub fn grace_period() {
    // SAFETY: membarrier takes numbers alone and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    assert_eq!(result, 0, "membarrier: {}", std::io::Error::last_os_error());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_asked_until_it_holds() {
        let mut asked = 0;
        until("the third question", || {
            asked += 1;
            asked == 3
        });
        assert_eq!(asked, 3);
    }
}
