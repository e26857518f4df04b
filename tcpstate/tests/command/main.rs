//! Command level: `tcpstate` as its users run it, a process with flags, output, an exit status and
//! signals.
//!
//! The tests start the program, in network namespaces, as other users, in pipes and on terminals. They
//! run on this machine only, because guests of `cargo xtask vm` lack the programs that the tests need.
//! Whether the numbers themselves are right is tested at library level, on every kernel, in
//! `tests/tests/kernel/`. What views print of made-up numbers is in `tcpstate/tests/views/`.
//!
//! One program holds all the tests, and is linked once. `cargo xtask` runs its tests one at a time. A
//! test that changes something of the whole process, such as a limit, changes it back.

mod check;
mod count;
mod doctor;
mod errors;
mod events;
mod examples;
mod explain;
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
