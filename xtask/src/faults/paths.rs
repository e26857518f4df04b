//! The scripted paths of `tests/src/paths` that show a fault, for faults whose test runs every
//! path.
//!
//! With the fault, only these paths run. The run takes seconds instead of a minute. If none of them
//! shows the fault, the whole test runs.

/// Names of faults, and names of paths that must fail with the fault.
pub(super) const PATHS: &[(&str, &[&str])] = &[
    ("listener-left-on-clone", &["active close"]),
    ("mptcp-counted", &["MPTCP"]),
    ("substate-ignored", &["orphan gets data", "orphan expires"]),
    ("restart-is-birth", &["TIME_WAIT gets FIN again"]),
    ("requests-ignored", &["half-open"]),
    ("expiry-is-exit", &["orphan expires"]),
];
