//! Lists seeded faults whose test runs every scripted path of `tests/src/paths`. For each of these
//! faults, the list names the paths on which the test fails.
//!
//! If a fault is seeded, its test runs only the listed paths, which takes seconds instead of a
//! minute. If the test detects the fault on no listed path, the test runs again with every path.

/// The name of each seeded fault, and the names of the scripted paths on which a test detects this
/// fault.
pub(super) const PATHS: &[(&str, &[&str])] = &[
    ("listener-left-on-clone", &["active close"]),
    ("mptcp-counted", &["MPTCP"]),
    ("substate-ignored", &["orphan gets data", "orphan expires"]),
    ("restart-is-birth", &["TIME_WAIT gets FIN again"]),
    ("requests-ignored", &["half-open"]),
    ("expiry-is-exit", &["orphan expires"]),
];
