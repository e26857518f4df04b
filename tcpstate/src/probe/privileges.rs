//! What this process is allowed to do, asked before the kernel is.

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// What counting needs: to load programs and make maps, and to let a program read kernel memory by pointer.
pub const COUNTING: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_PERFMON];

/// The capabilities that counting needs and this thread lacks; `CAP_SYS_ADMIN` stands for both.
#[must_use]
pub fn missing() -> Vec<Capability> {
    if has(Capability::CAP_SYS_ADMIN) {
        return Vec::new();
    }
    COUNTING.into_iter().filter(|&capability| !has(capability)).collect()
}

/// Whether this thread may use a capability. In a user namespace of its own the answer means little.
#[must_use]
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Lets this process lock as much memory as its maps need. Where that is refused, the maps' creation says so.
pub(super) fn lift_memory_limit() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// How many bytes this process may lock, if there is a limit.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let (soft, _hard) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}
