//! How many sockets there are, read from the kernel in ways that have nothing to do with BPF.
//!
//! All of it is about the calling thread's namespace, and all of it is exact only while nothing moves: the kernel
//! walks its tables while sockets come, go and change.

mod counters;
mod counts;
mod proc;
mod ss;

pub use counters::{Sockstat, sockstat, tcp_ext};
pub use counts::Counts;
pub use proc::{Sockets, await_end_of_sockets, has_mini, sockets, sockets_of, time_wait_of};
pub use ss::{ss, ss_filtered, ss_kill};
