//! tcpstate: exact live counts of TCP sockets by state, from eBPF.
//!
//! The folders are the path of a number, in order; nothing flows backwards:
//!
//! ```text
//! kernel event -> tcpstate-ebpf -> probe/ -> source/ -> aggregate/ -> view/     command/
//!                 counts per CPU   loads,    consistent  gauges and    table,    loop, clock,
//!                                  attaches  cuts,       rates         JSON      signals
//!                                            passes
//! ```
//!
//! `serve/` is the end of the path for those who ask from time to time, in place of `command/`'s loop.
//! `tracer` has all before the view in one step; `counter` the same for a list of sockets, which needs no BPF.
//! `check/` stands beside the path: it tries what `probe/` would do, and says what comes of it. `doctor/` and `explain/` do,
//! too: the one judges what the kernel counts by itself, the other asks nobody.

pub mod aggregate;
pub mod check;
pub mod command;
pub mod counter;
pub mod doctor;
pub mod explain;
pub mod filter;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod probe;
pub mod recording;
pub mod report;
pub mod serve;
pub mod source;
mod text;
pub mod tracer;
pub mod view;
