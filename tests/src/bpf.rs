//! Lists the BPF objects that exist in the kernel, of all processes.

use std::{collections::BTreeSet, mem, thread, time::Duration};

use aya::{
    maps::loaded_maps,
    programs::{loaded_links, loaded_programs},
};

use crate::wait;

/// The IDs of all programs, maps and links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelObjects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl KernelObjects {
    /// Waits until no BPF object has been created or freed for half a second, and returns all
    /// objects. The wait is needed because the kernel frees objects some time after their last use.
    ///
    /// # Panics
    /// Panics if programs create or free BPF objects until the deadline.
    #[must_use]
    pub fn at_rest() -> Self {
        let mut objects = Self::now();
        wait::until("BPF objects to stay the same for half a second", || {
            thread::sleep(Duration::from_millis(500));
            let before = mem::replace(&mut objects, Self::now());
            before == objects
        });
        objects
    }

    /// Returns the BPF objects that exist now.
    #[must_use]
    pub fn now() -> Self {
        // An object that disappears while the objects are listed is skipped.
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
