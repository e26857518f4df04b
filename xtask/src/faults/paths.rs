//! For faults whose test runs every scripted path: the paths of `tests/src/paths` that show the
//! fault.
//!
//! If a fault is seeded, its test runs only the listed paths, which takes seconds instead of a
//! minute. If no listed path shows the fault, the test runs again with every path.

/// The name of each fault, and the names of the scripted paths that fail with this fault.
pub(super) const PATHS: &[(&str, &[&str])] = &[
    ("listener-left-on-clone", &["active close"]),
    ("mptcp-counted", &["MPTCP"]),
    ("substate-ignored", &["orphan gets data", "orphan expires"]),
    ("restart-is-birth", &["TIME_WAIT gets FIN again"]),
    ("requests-ignored", &["half-open"]),
    ("expiry-is-exit", &["orphan expires"]),
];
