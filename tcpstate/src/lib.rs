//! tcpstate: exact live counts of TCP sockets by state, from eBPF.
//!
//! The folders are the path of a number, in order. Data never flows backwards:
//!
//! ```text
//! kernel event -> tcpstate-ebpf -> probe/ -> source/ -> aggregate/ ------> view/     command/
//!                 counts per CPU   loads,    consistent  gauges and  |     table,    loop, clock,
//!                                  attaches  cuts,       rates       v     JSON      signals
//!                                            scans           recording/ -> view/
//! ```
//!
//! The types on that path are in [`report`], which imports no other module. [`source`] makes
//! events. [`aggregate`] makes snapshots. [`recording`] writes both to files and reads them back.
//! [`view`] shows them, live or recorded.
//!
//! [`tracer`] joins all steps before the view. [`counter`] does that for a list of sockets, without
//! BPF. For clients that poll, [`serve`] replaces the loop of [`command`].
//!
//! Three modules are not on the path. [`check`] tries what [`probe`] would do, and reports the
//! results. [`doctor`] evaluates the kernel's own counters. [`explain`] contains texts, and reads
//! nothing from the system.

pub mod aggregate;
pub mod check;
pub mod command;
pub mod counter;
pub mod doctor;
pub mod error;
pub mod explain;
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
