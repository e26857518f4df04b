//! What BPF objects the kernel holds, of whomever.

use std::collections::BTreeSet;

use aya::{
    maps::loaded_maps,
    programs::{loaded_links, loaded_programs},
};

/// The ids of all programs, maps and links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelObjects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl KernelObjects {
    /// What there is now.
    #[must_use]
    pub fn now() -> Self {
        // One that goes while it is looked at is gone.
        Self {
            programs: loaded_programs()
                .filter_map(Result::ok)
                .map(|program| program.id())
                .collect(),
            maps: loaded_maps().filter_map(Result::ok).map(|map| map.id()).collect(),
            links: loaded_links().filter_map(Result::ok).map(|link| link.id()).collect(),
        }
    }
}
