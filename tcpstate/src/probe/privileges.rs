//! What this process is allowed to do, asked before the kernel is.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::{Error, Probe};
use crate::report::Counted;

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

/// The capabilities of this thread that passes will need, of those that counting was started with: none, unless they visit
/// other network namespaces, or the kernel (before 5.19) asks for them each time a map is read.
#[must_use]
pub fn of_passes(probe: &Probe) -> Vec<Capability> {
    if probe.counted == Counted::All {
        // To find namespaces and to enter them; the first of these also lets it make and read maps.
        vec![Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH]
    } else if probe.kernel.guards_each_bpf_call() {
        vec![Capability::CAP_BPF]
    } else {
        Vec::new()
    }
}

/// Gives up all capabilities of this thread but these, for good: no program that it would start has any either.
pub fn keep_only(wanted: &[Capability]) -> Result<(), Error> {
    let set = |set, capabilities: &_| {
        caps::set(None, set, capabilities).map_err(|error| Error::System {
            action: "give up capabilities",
            source: io::Error::other(error),
        })
    };
    let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let kept = held.into_iter().filter(|capability| wanted.contains(capability)).collect();
    // Takes it out of the ambient ones too.
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    set(CapSet::Effective, &kept)?;
    set(CapSet::Permitted, &kept)
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
