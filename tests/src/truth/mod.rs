//! Counts the sockets in the kernel without BPF.
//!
//! All functions count the sockets in the network namespace of the calling thread. The numbers are
//! exact only while no socket changes its state, because the kernel's tables may change while the
//! kernel walks them.

mod counters;
mod counts;
mod proc;
mod rows;
mod ss;

pub use counters::{Sockstat, await_quiet, sockstat, tcp_ext};
pub use counts::Counts;
pub use proc::{Sockets, await_end_of_sockets, has_mini, sockets, sockets_of, time_wait_of};
pub use rows::{Kind, Row, Rows};
pub use ss::{ss, ss_filtered, ss_kill};
