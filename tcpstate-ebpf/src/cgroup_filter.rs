//! The condition of the filter on cgroups, for full sockets and for processes that close
//! connections.

use tcpstate_common::filter::FILTER_CGROUP;

use crate::{
    cgroups,
    filter_lists::{CastItem as _, any, filter},
    maps::{CGROUPS_REMEMBERED, CGROUPS_SEEN},
    verifier::checked_once,
};

/// Returns whether the filter has a condition on cgroups; the verifier knows the value.
#[inline(always)]
pub(crate) fn has_cgroups() -> bool {
    filter!(conditions) & FILTER_CGROUP != 0
}

checked_once! {
    /// Returns whether the filter contains the cgroup itself.
    fn is_cgroup(id: u64) -> u64 {
        u64::from(id != 0 && any!(cgroup, cgroups, |wanted: u64| wanted == id))
    }
}

/// Returns whether the filter contains the current process's cgroup or one of its ancestors. The
/// result is false if the filter has no condition on cgroups.
#[inline(always)]
pub(crate) fn is_current_in_cgroup() -> bool {
    if !has_cgroups() {
        return false;
    }
    let node = cgroups::current_node();
    is_in_cgroup(cgroups::number(node), |is_wanted| cgroups::is_node_within(node, is_wanted))
}

/// Returns whether the filter contains the cgroup with this number or one of its ancestors. The
/// function `is_within` applies a condition to the cgroup and its ancestors. The result is cached
/// for each cgroup.
#[inline(always)]
pub(crate) fn is_in_cgroup(id: u64, is_within: impl Fn(fn(u64) -> bool) -> bool) -> bool {
    let seen = CGROUPS_SEEN.get_ptr_mut(id as u32 & (CGROUPS_REMEMBERED as u32 - 1));
    if let Some(seen) = seen {
        // SAFETY: the pointer is to an element of the map, which programs write with single stores.
        let seen = unsafe { seen.read_volatile() };
        if seen >> 1 == id {
            return seen & 1 != 0;
        }
    }
    let is_in = is_within(|id| is_cgroup(id) != 0);
    if let Some(seen) = seen {
        // SAFETY: the pointer is to an element of the map, which programs write with single stores.
        unsafe { seen.write_volatile(id << 1 | u64::from(is_in)) };
    }
    is_in
}
