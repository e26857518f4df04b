//! tcpstate: exact live counts of TCP sockets by state, from eBPF.
//!
//! Each number passes through the folders in the following order. Data never flows backwards:
//!
//! ```text
//! kernel event -> tcpstate-ebpf -> probe/ -> source/ -> aggregate/ ------> view/     command/
//!                 counts per CPU   loads,    consistent  gauges and  |     table,    loop, clock,
//!                                  attaches  cuts,       rates       v     JSON      signals
//!                                            scans           recording/ -> view/
//! ```
//!
//! The module [`report`] contains the types that the folders exchange, and imports no other module.
//! [`source`] makes events. [`aggregate`] makes snapshots. [`recording`] writes events and
//! snapshots to files and reads such files. [`view`] shows events and snapshots, live or recorded.
//!
//! [`tracer`] runs all steps before the view. [`counter`] runs the steps that count sockets from
//! the kernel's list, without BPF. The loop in [`command`] makes reports at intervals. The loop in
//! [`serve`] makes reports on request.
//!
//! The modules [`check`], [`doctor`] and [`explain`] do not process these numbers. [`check`] tries
//! what [`probe`] would do, and reports the results. [`doctor`] evaluates the kernel's own
//! counters. [`explain`] contains texts, and reads nothing from the system.

pub mod aggregate;
pub mod check;
pub mod command;
pub mod counter;
pub mod doctor;
pub mod error;
pub mod explain;
mod files;
pub mod filter;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod nearest;
pub mod probe;
pub mod procfs;
pub mod recording;
pub mod report;
pub mod serve;
pub mod source;
mod text;
pub mod tracer;
pub mod view;
