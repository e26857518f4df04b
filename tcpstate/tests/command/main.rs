//! Command-level tests: `tcpstate` as users run it, a process with flags, output, an exit status
//! and signals.
//!
//! The tests start the program in network namespaces, as other users, in pipes and on terminals.
//! They run on this machine only, because guests of `cargo xtask vm` lack programs that the tests
//! need. The numbers themselves are tested at library level, on every kernel, in
//! `tests/tests/kernel/`. The output of views for made-up numbers is tested in
//! `tcpstate/tests/views/`.
//!
//! One program holds all the tests, so that only one is linked. `cargo xtask` runs the tests one at
//! a time. A test that changes a property of the whole process, such as a limit, restores it.

mod check;
mod count;
mod desk;
mod doctor;
mod errors;
mod events;
mod examples;
mod explain;
mod guide;
mod help;
mod hist;
mod namespaces;
mod process;
mod recordings;
mod serve;
mod serve_abuse;
mod serve_hist;
mod serve_prometheus;
mod served;
mod terminal;
