//! Traffic for integration tests, and independent counts of sockets with which the tests compare
//! tcpstate's numbers.
//!
//! ```text
//! netns -> traffic -> paths -> checkpoint: tcpstate's gauges == truth ?
//! ```
//!
//! - [`netns`]: a network namespace for a test, which contains only the sockets of the test
//! - [`traffic`]: sockets, load and idle connections over loopback, and segments on a tun device
//! - [`paths`]: scripted socket lifetimes that stop at checkpoints, where no packet is in flight
//! - [`torture`]: random lifetimes of sockets that end at random moments, and their peers
//! - [`lines`]: running programs, and the comparison of their lines with the truth
//! - [`truth`]: the number of sockets from `/proc` and from `ss`
//! - [`traced`]: a tracer under test, and the comparison with the truth
//! - [`watch`]: tracers of every scope, compared with the truth while no socket changes its state
//! - [`actor`]: processes with other names, users and cgroups
//! - [`audit`]: the true number of events, counted without BPF
//! - [`bpf`]: the BPF objects that exist in the kernel
//! - [`command`]: programs that run until they exit or receive a signal
//! - [`emulated`]: smaller workloads on a slow machine
//! - [`errors`]: the entries of docs/ERRORS.md, which tests compare with the printed errors
//! - [`measure`]: the cost of programs in the kernel, for benchmarks
//! - [`privileges`]: the privileges of a process and its threads
//! - [`random`]: a generator of repeatable random numbers
//! - [`rows`]: the results of a benchmark
//! - [`peers`]: other programs for the same task, for benchmarks
//! - [`own`]: the program tcpstate, and tcpstate as a running process
//! - [`recordings`]: recordings of real kernels, and their output formats
//! - [`served`]: a running `tcpstate serve` and a client for it
//! - [`stopped`]: a stopped thread of another process
//! - [`synthetic`]: generated events of a busy host
//! - [`files`]: separate file tables for threads
//! - [`wait`]: waiting for conditions with a deadline, without fixed sleeps
//!
//! The modules of this crate do not depend on how tcpstate counts. All modules need root.

pub mod actor;
pub mod audit;
pub mod bpf;
pub mod command;
pub mod emulated;
pub mod errors;
pub mod files;
pub mod lines;
pub mod measure;
pub mod netns;
pub mod own;
pub mod paths;
pub mod peers;
pub mod privileges;
pub mod random;
pub mod recordings;
pub mod rows;
pub mod served;
pub mod stopped;
pub mod synthetic;
pub mod torture;
pub mod traced;
pub mod traffic;
pub mod truth;
pub mod wait;
pub mod watch;
