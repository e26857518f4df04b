//! What this process is allowed to do, asked before the kernel is.

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// What counting needs: to load programs and make maps, and to let a program read kernel memory by pointer.
const COUNTING: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_PERFMON];

/// The capabilities that counting needs and this thread lacks; `CAP_SYS_ADMIN` stands for both.
#[must_use]
pub fn missing() -> Vec<Capability> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if has(Capability::CAP_SYS_ADMIN) {
        return Vec::new();
    }
    COUNTING.into_iter().filter(|&capability| !has(capability)).collect()
}

/// Lets this process lock as much memory as its maps need. Where that is refused, the maps' creation says so.
pub(super) fn lift_memory_limit() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}
