//! Gives up the capabilities that a run does not need any more, once everything is attached.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};

use super::{Error, Probe};
use crate::report::Counted;

/// The capabilities of this thread that scans will need, of those that counting was started with:
/// none, unless they visit other network namespaces, or the kernel (before 5.19) asks for them each
/// time a map is read.
#[must_use]
pub fn of_scans(probe: &Probe) -> Vec<Capability> {
    if probe.counted == Counted::All {
        // To find namespaces and to enter them; the first of these also lets it make and read maps.
        vec![Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH]
    } else if probe.kernel.guards_each_bpf_call() {
        vec![Capability::CAP_BPF]
    } else {
        Vec::new()
    }
}

/// Gives up all capabilities of this thread but these, for good: no program that it would start has
/// any either.
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
