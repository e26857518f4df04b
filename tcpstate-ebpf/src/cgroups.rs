//! The cgroup of a full socket.

use crate::{
    config::config,
    sock::{Access, Probed, Sock},
};

/// Number of the cgroup in which the socket was made, or its listener; 0 if unknown.
#[inline(always)]
pub(crate) fn cgroup<A: Access>(sock: Sock<A>) -> u64 {
    if config!(owners.sk_cgroup) == 0 {
        return 0;
    }
    if config!(owners.cgroup_is_number) != 0 {
        // SAFETY: read by a helper that takes any address.
        return unsafe { Probed::load(node_by_number(sock), config!(owners.kn_id)) };
    }
    // SAFETY: offsets from BTF, each of the type that the field before points to; null holds nothing.
    unsafe { A::load(node(sock), config!(owners.kn_id)) }
}

/// Whether the socket's cgroup is one of those that are wanted, or below one of them.
#[inline(always)]
pub(crate) fn is_within<A: Access>(sock: Sock<A>, is_wanted: impl Fn(u64) -> bool) -> bool {
    /// Levels of nested cgroups. Container platforms come to ten.
    const MAX_LEVELS: usize = 32;
    let mut node =
        if config!(owners.cgroup_is_number) != 0 { node_by_number(sock) } else { node(sock) }
            as u64;
    for _ in 0..MAX_LEVELS {
        // SAFETY: read by a helper that takes any address.
        let id = unsafe { Probed::load(node as *const u8, config!(owners.kn_id)) };
        if is_wanted(id) {
            return true;
        }
        // SAFETY: as above.
        node = unsafe { Probed::load(node as *const u8, config!(owners.kn_parent)) };
        if node == 0 {
            return false;
        }
    }
    false
}

/// The `struct kernfs_node` of the socket's cgroup.
#[inline(always)]
fn node<A: Access>(sock: Sock<A>) -> *const u8 {
    let cgroup: *const u8 = sock.load(config!(owners.sk_cgroup));
    // SAFETY: an offset from BTF; null holds nothing.
    unsafe { A::load(cgroup, config!(owners.cgroup_kn)) }
}

/// The same where the kernel keeps it as a number. Either of the two lowest bits says that the number is something else:
/// priority and class of version 1.
#[inline(always)]
fn node_by_number<A: Access>(sock: Sock<A>) -> *const u8 {
    const NO_POINTER: u64 = 3;
    let cgroup: u64 = sock.load(config!(owners.sk_cgroup));
    if cgroup & NO_POINTER != 0 {
        return core::ptr::null();
    }
    // SAFETY: read by a helper that takes any address.
    unsafe { Probed::load(cgroup as *const u8, config!(owners.cgroup_kn)) }
}
