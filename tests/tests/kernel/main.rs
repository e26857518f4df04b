//! Library level: the numbers of tcpstate's library, compared with the kernel that runs the tests.
//!
//! Each test uses the library in its own process, in a new network namespace. The test compares the
//! library's numbers with an independent truth (`tcpstate_tests::truth`, `audit`). No test starts a
//! program of tcpstate, so the tests also run on other kernels, in the guests of `cargo xtask vm`.
//! Tests of the program that users start are in `tcpstate/tests/command/`. If both folders have a
//! file with one name, the file here tests numbers. The file there tests flags, output, exit status
//! and signals.
//!
//! One program contains all tests. So it is linked once, and a guest needs it only once. `cargo
//! xtask` runs its tests one at a time. Each test has its own thread, so a namespace that the
//! thread enters ends with the test. A test that changes a property of the whole process, for
//! example a limit, restores it.

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
