//! Constants of the kernel, by their kernel names, and the kernel's clock, for several modules.

use aya_ebpf::helpers::bpf_ktime_get_ns;

/// The map already has an entry for this key.
pub(crate) const EEXIST: i32 = 17;
/// The map is full.
pub(crate) const E2BIG: i32 = 7;
/// The family of IPv4 sockets.
pub(crate) const AF_INET: u16 = 2;
/// The family of IPv6 sockets.
pub(crate) const AF_INET6: u16 = 10;
/// The protocol of TCP sockets. MPTCP's master sockets have protocol 262, and `ss` does not list
/// them as TCP sockets.
pub(crate) const IPPROTO_TCP: u16 = 6;
/// Flag of a task that is a kernel thread.
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;

/// The monotonic clock, in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_ktime_get_ns() }
}
