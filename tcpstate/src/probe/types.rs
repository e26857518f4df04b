//! The kernel's types, for as long as programs are loaded by them.

use aya::Btf;

use super::{Error, btf};

/// The kernel's types: ours for offsets, aya's to load programs with.
pub(super) struct Types {
    pub(super) fields: btf::Btf,
    pub(super) ids: Btf,
}

impl Types {
    pub(super) fn of_kernel() -> Result<Self, Error> {
        let fields = btf::Btf::from_kernel()?;
        let ids = Btf::from_sys_fs().map_err(|error| btf::Error::Unreadable {
            path: btf::VMLINUX.into(),
            cause: error.to_string(),
        })?;
        Ok(Self { fields, ids })
    }
}

/// The kernel's types take some 40 MiB for a moment, of which the allocator would keep half for as long as we run.
pub(super) fn give_memory_back() {
    // SAFETY: it takes a number, and any thread may call it at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
