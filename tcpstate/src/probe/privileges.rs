//! Checks the privileges of this process before the kernel refuses an action.

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// The capabilities that counting needs: CAP_BPF loads programs and creates maps, and CAP_PERFMON
/// lets programs read kernel memory by pointer.
pub const COUNTING: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_PERFMON];

/// Returns the capabilities that counting needs and this thread lacks. If the thread has
/// `CAP_SYS_ADMIN`, the function returns no capability.
#[must_use]
pub fn missing() -> Vec<Capability> {
    if has(Capability::CAP_SYS_ADMIN) {
        return Vec::new();
    }
    COUNTING.into_iter().filter(|&capability| !has(capability)).collect()
}

/// Returns whether this thread has a capability. In a user namespace other than the initial user
/// namespace, the capability may have no effect.
#[must_use]
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Raises this process's limit of locked memory (`RLIMIT_MEMLOCK`) to infinity. If this function
/// cannot raise the limit and the creation of a map fails later, the later error names the limit.
pub(super) fn lift_memory_limit() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Returns how many bytes of memory this process may lock. The function returns `None` if there is
/// no limit.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let (soft, _hard) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}
