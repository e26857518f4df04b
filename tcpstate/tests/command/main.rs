//! Tests `tcpstate` as users run it: as a process with flags, output, an exit status and signals.
//!
//! The tests start the program in network namespaces, as other users, in pipes and on terminals.
//! The tests run only on this machine, because guests of `cargo xtask vm` lack programs that the
//! tests need. `tests/tests/kernel/` tests the correctness of the numbers on every kernel.
//! `tcpstate/tests/views/` tests the output of views for synthetic numbers.
//!
//! One program contains all these tests, because linking several programs would take longer. `cargo
//! xtask` runs the tests one at a time. A test that changes a property of the whole process, such
//! as a limit, restores the property.

mod check;
mod churn;
mod connections;
mod count;
mod desk;
mod doctor;
mod errors;
mod events;
mod examples;
mod explain;
mod fault_matrix;
mod floods;
mod groups;
mod guide;
mod help;
mod hist;
mod limits;
mod namespaces;
mod privileges;
mod process;
mod program;
mod program_tree;
mod recordings;
mod serve;
mod serve_abuse;
mod serve_by;
mod serve_failures;
mod serve_hist;
mod serve_lists;
mod serve_prometheus;
mod served;
mod surroundings;
mod terminal;
mod torture;

/// A recording of some connections, by Linux 6.18.
const RECORDING: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/recordings/v1-6.18-connections.tcps");
