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
pub mod aggregate;
pub mod command;
pub mod counter;
pub mod doctor;
pub mod explain;
pub mod filter;
pub mod probe;
pub mod source;
pub mod tracer;
pub mod view;
