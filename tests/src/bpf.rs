//! What BPF objects the kernel holds, of whomever.

use std::{collections::BTreeSet, mem, thread, time::Duration};

use aya::{
    maps::loaded_maps,
    programs::{loaded_links, loaded_programs},
};

use crate::wait;

/// The ids of all programs, maps and links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelObjects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl KernelObjects {
    /// What there is when it stays the same for a while: the kernel frees objects some time after their last user.
    ///
    /// # Panics
    /// If it keeps changing.
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
