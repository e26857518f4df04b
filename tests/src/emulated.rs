//! Detects emulated machines, which are slow. The command `cargo xtask vm` marks emulated machines
//! by an environment variable.

use std::env;

/// The divisor for workloads on an emulated machine.
const DIVISOR: u64 = 50;

/// Whether the test runs on an emulated machine.
#[must_use]
pub fn is_emulated() -> bool {
    env::var_os("TCPSTATE_TEST_EMULATED").is_some()
}

/// Returns `number`, or a fiftieth of `number` (rounded up) on an emulated machine.
#[must_use]
pub fn scaled(number: u64) -> u64 {
    if is_emulated() { number.div_ceil(DIVISOR) } else { number }
}
