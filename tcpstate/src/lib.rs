//! tcpstate: exact live counts of TCP sockets by state, from eBPF.
//!
//! The folders are the path of a number, in order. Nothing flows backwards:
//!
//! ```text
//! kernel event -> tcpstate-ebpf -> probe/ -> source/ -> aggregate/ ------> view/     command/
//!                 counts per CPU   loads,    consistent  gauges and  |     table,    loop, clock,
//!                                  attaches  cuts,       rates       v     JSON      signals
//!                                            scans           recording/ -> view/
//! ```
//!
//! What travels on that path are the types of [`report`], which imports no other module. [`source`]
//! makes its events, [`aggregate`] its snapshots. [`recording`] writes both to files and reads them
//! back, and [`view`] shows them, live or recorded.
//!
//! [`tracer`] has all before the view in one step. [`counter`] does the same for a list of sockets,
//! which needs no BPF. [`serve`] takes the place of the loop of [`command`] for clients that ask
//! from time to time.
//!
//! Three modules stand beside the path. [`check`] tries what [`probe`] would do, and reports the
//! outcome. [`doctor`] judges what the kernel counts by itself. [`explain`] holds texts, and reads
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
pub mod probe;
pub mod procfs;
pub mod recording;
pub mod report;
pub mod serve;
pub mod source;
mod text;
pub mod tracer;
pub mod view;
