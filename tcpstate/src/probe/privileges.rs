//! Checks what this process may do, before the kernel refuses it.

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// The capabilities that counting needs: CAP_BPF loads programs and creates maps, and CAP_PERFMON
/// lets programs read kernel memory by pointer.
pub const COUNTING: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_PERFMON];

/// Returns the capabilities that counting needs and this thread lacks. `CAP_SYS_ADMIN` replaces
/// both.
#[must_use]
pub fn missing() -> Vec<Capability> {
    if has(Capability::CAP_SYS_ADMIN) {
        return Vec::new();
    }
    COUNTING.into_iter().filter(|&capability| !has(capability)).collect()
}

/// Returns whether this thread has a capability. In another user namespace than the initial one,
/// the capability may have no effect.
#[must_use]
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Removes the limit of locked memory of this process. If that fails, the creation of a map reports
/// the limit.
pub(super) fn lift_memory_limit() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Returns how many bytes this process may lock, if there is a limit.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let (soft, _hard) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}
