//! Constants of the kernel with their kernel names, and the kernel's clock.

use aya_ebpf::helpers::bpf_ktime_get_ns;

/// Error number of a map that already has an entry for this key.
pub(crate) const EEXIST: i32 = 17;
/// Error number of a map that is full.
pub(crate) const E2BIG: i32 = 7;
/// The family of IPv4 sockets.
pub(crate) const AF_INET: u16 = 2;
/// The family of IPv6 sockets.
pub(crate) const AF_INET6: u16 = 10;
/// The protocol of TCP sockets. The master socket of an MPTCP connection has protocol 262, and `ss`
/// does not list it as a TCP socket.
pub(crate) const IPPROTO_TCP: u16 = 6;
/// Flag of a task that marks a kernel thread.
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;

/// Returns the time of the monotonic clock in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_ktime_get_ns() }
}
