//! Library level: what tcpstate's library measures, held against the kernel that runs the tests.
//!
//! Each test uses the library in its own process and compares its numbers with an independent truth
//! (`tcpstate_tests::truth`, `audit`), in a network namespace of its own. No test starts a program of
//! tcpstate, so the tests run in the guests of `cargo xtask vm` too, on other kernels. Tests of the
//! program that users start are in `tcpstate/tests/command/`; where both folders have a file of one
//! name, this one is about the numbers, and that one about flags, output, exit status and signals.
//!
//! One program holds all the tests: it is linked once, and a guest has to hold it once. `cargo xtask`
//! runs its tests one at a time. Each test has a thread of its own, so a namespace that the thread
//! enters ends with the test. A test that changes something of the whole process, such as a limit,
//! changes it back.

mod check;
mod close_reason;
mod count;
mod doctor;
mod errors;
mod event_filters;
mod event_owners;
mod events;
mod gauges;
mod hist;
mod hotplug;
mod load;
mod namespaces;
mod paths_selfcheck;
mod program;
mod recordings;
mod scans;
mod serve;
mod traffic_selfcheck;
