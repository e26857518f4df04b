//! Tests at library level: they compare the numbers of tcpstate's library with the kernel that runs
//! the tests.
//!
//! Each test uses the library in its own process, in a new network namespace. Each test compares
//! the library's numbers with an independent truth (`tcpstate_tests::truth`, `audit`). No test
//! starts a program of tcpstate, so the tests also run on other kernels, in the virtual machines of
//! `cargo xtask vm`. Tests of the program that users start are in `tcpstate/tests/command/`. If
//! this folder and `tcpstate/tests/command/` both have a file with one name, the file in this
//! folder tests numbers. The file in `tcpstate/tests/command/` tests flags, output, exit status and
//! signals.
//!
//! One program contains all tests. The tests are therefore linked once, and a virtual machine needs
//! only one file. The command `cargo xtask` runs the tests of this program one at a time. Each test
//! has its own thread, so a namespace that the thread enters ends with the test. A test that
//! changes a property of the whole process, for example a limit, restores the property.

mod check;
mod close_reason;
mod connections;
mod count;
mod doctor;
mod errors;
mod event_closers;
mod event_filters;
mod event_losses;
mod event_owners;
mod event_timers;
mod events;
mod gauges;
mod hist;
mod hotplug;
mod load;
mod lost;
mod namespaces;
mod owners;
mod paths_selfcheck;
mod program;
mod program_tree;
mod recordings;
mod scans;
mod seeded;
mod serve;
mod torture;
mod traffic_selfcheck;
