//! Drops the capabilities that a run no longer needs after everything is attached.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};

use super::{Error, Probe};
use crate::report::Counted;

/// Returns the capabilities that scans need after the start. Since kernel 5.19, scans of one
/// network namespace need no capability. Before kernel 5.19, each read of a map needs CAP_BPF.
#[must_use]
pub fn of_scans(probe: &Probe) -> Vec<Capability> {
    if probe.counted == Counted::All {
        // Scans of all namespaces need the following capabilities to find and enter namespaces. The
        // capability CAP_SYS_ADMIN also allows creating and reading maps.
        vec![Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH]
    } else if probe.kernel.guards_each_bpf_call() {
        vec![Capability::CAP_BPF]
    } else {
        Vec::new()
    }
}

/// Drops all capabilities of this thread permanently, except the capabilities in `wanted`. The
/// thread passes no ambient or inheritable capability to a program that it starts.
pub fn keep_only(wanted: &[Capability]) -> Result<(), Error> {
    let set = |set, capabilities: &_| {
        caps::set(None, set, capabilities).map_err(|error| Error::System {
            action: "give up capabilities",
            source: io::Error::other(error),
        })
    };
    let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let kept = held.into_iter().filter(|capability| wanted.contains(capability)).collect();
    // Clearing the inheritable set also clears the ambient set.
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    set(CapSet::Effective, &kept)?;
    set(CapSet::Permitted, &kept)
}
