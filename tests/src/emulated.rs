//! Emulated machines, in which everything is slow: those of `cargo xtask vm`, which say so.

use std::env;

/// How much less is enough there: speed is not what they are for.
const DIVISOR: u64 = 50;

/// Whether this machine is emulated, and the test's own.
#[must_use]
pub fn is_emulated() -> bool {
    env::var_os("TCPSTATE_TEST_EMULATED").is_some()
}

/// So many; a fiftieth where the machine is emulated, rounded up.
#[must_use]
pub fn scaled(number: u64) -> u64 {
    if is_emulated() { number.div_ceil(DIVISOR) } else { number }
}
