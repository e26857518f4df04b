//! Which scripted paths of `tests/src/paths` show a fault, for faults whose test follows every path.
//!
//! Only these paths are followed with the fault, which takes seconds instead of a minute. If none of
//! them shows the fault, its test is run whole.

/// Names of faults, and names of paths that each of them must fail on.
pub(super) const PATHS: &[(&str, &[&str])] = &[
    ("listener-left-on-clone", &["active close"]),
    ("mptcp-counted", &["MPTCP"]),
    ("substate-ignored", &["orphan gets data", "orphan expires"]),
    ("restart-is-birth", &["TIME_WAIT gets FIN again"]),
    ("requests-ignored", &["half-open"]),
    ("expiry-is-exit", &["orphan expires"]),
];
