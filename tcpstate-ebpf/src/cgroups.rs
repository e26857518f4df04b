//! The cgroups of full sockets and of processes.

use crate::{
    access::{Access, Probed},
    config::config,
    process,
    sock::Sock,
};

/// Returns the number of the cgroup in which the socket, or its listener, was created; 0 if
/// unknown.
#[inline(always)]
pub(crate) fn cgroup<A: Access>(sock: Sock<A>) -> u64 {
    if config!(owners.sk_cgroup) == 0 {
        return 0;
    }
    if config!(owners.cgroup_is_number) != 0 {
        // SAFETY: `Probed` reads by a helper that takes any address.
        return unsafe { Probed::load(node_by_number(sock), config!(owners.kn_id)) };
    }
    // SAFETY: each offset is from BTF, for the type to which the previous field points. A load
    // through a null pointer gives 0.
    unsafe { A::load(node(sock), config!(owners.kn_id)) }
}

/// Returns the `struct kernfs_node` of the current process's cgroup; 0 if unknown.
#[inline(always)]
pub(crate) fn current_node() -> u64 {
    if config!(owners.task_cgroups) == 0 {
        return 0;
    }
    // SAFETY: each offset is from BTF, for the type to which the previous field points. `Probed`
    // reads by a helper that takes any address.
    unsafe {
        let groups = Probed::load::<u64>(process::current_task(), config!(owners.task_cgroups));
        let cgroup: u64 = Probed::load(groups as *const u8, config!(owners.css_set_cgroup));
        Probed::load(cgroup as *const u8, config!(owners.cgroup_kn))
    }
}

/// Returns the number of the cgroup with this `struct kernfs_node`.
#[inline(always)]
pub(crate) fn number(node: u64) -> u64 {
    // SAFETY: `Probed` reads by a helper that takes any address.
    unsafe { Probed::load(node as *const u8, config!(owners.kn_id)) }
}

/// Returns whether `is_wanted` is true for the socket's cgroup or for one of its ancestors.
#[inline(always)]
pub(crate) fn is_within<A: Access>(sock: Sock<A>, is_wanted: impl Fn(u64) -> bool) -> bool {
    let node =
        if config!(owners.cgroup_is_number) != 0 { node_by_number(sock) } else { node(sock) };
    is_node_within(node as u64, is_wanted)
}

/// Returns whether `is_wanted` is true for the cgroup with this `struct kernfs_node`, or for one of
/// its ancestors.
#[inline(always)]
pub(crate) fn is_node_within(mut node: u64, is_wanted: impl Fn(u64) -> bool) -> bool {
    /// Maximum number of nested cgroups that the function checks. Container platforms nest about
    /// ten levels.
    const MAX_LEVELS: usize = 32;
    for _ in 0..MAX_LEVELS {
        if is_wanted(number(node)) {
            return true;
        }
        // SAFETY: `Probed` reads by a helper that takes any address.
        node = unsafe { Probed::load(node as *const u8, config!(owners.kn_parent)) };
        if node == 0 {
            return false;
        }
    }
    false
}

/// Returns the `struct kernfs_node` of the socket's cgroup.
#[inline(always)]
fn node<A: Access>(sock: Sock<A>) -> *const u8 {
    let cgroup: *const u8 = sock.load(config!(owners.sk_cgroup));
    // SAFETY: the offset is from BTF. A load through a null pointer gives 0.
    unsafe { A::load(cgroup, config!(owners.cgroup_kn)) }
}

/// Returns the `struct kernfs_node` of the socket's cgroup, on kernels that store the cgroup as a
/// number. If either of the two lowest bits is set, the number holds the priority and class of
/// cgroup version 1.
#[inline(always)]
fn node_by_number<A: Access>(sock: Sock<A>) -> *const u8 {
    const NO_POINTER: u64 = 3;
    let cgroup: u64 = sock.load(config!(owners.sk_cgroup));
    if cgroup & NO_POINTER != 0 {
        return core::ptr::null();
    }
    // SAFETY: `Probed` reads by a helper that takes any address.
    unsafe { Probed::load(cgroup as *const u8, config!(owners.cgroup_kn)) }
}
