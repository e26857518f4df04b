//! The limits that come from the namespaces and the cgroups in which tcpstate runs.

use crate::{
    probe::Options, procfs::time::monotonic_offset, report::Limit,
    source::process_cgroups::host_uses_version_1,
};

/// Returns the limits for the information that the options request.
pub(super) fn limits(options: &Options) -> Vec<Limit> {
    let clock = options.events.is_some() && monotonic_offset().is_none();
    let cgroups = options.needs_owners() && host_uses_version_1();
    let limits = [(clock, Limit::Clock), (cgroups, Limit::Cgroups)];
    limits.into_iter().filter_map(|(is_set, limit)| is_set.then_some(limit)).collect()
}
