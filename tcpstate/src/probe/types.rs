//! Reads the kernel's types for finding field offsets and for loading BPF programs.

use aya::Btf;

use super::{Error, btf};

/// The kernel's types in two forms: tcpstate's own form for offsets, and aya's form for loading
/// programs.
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
            limit: None,
        })?;
        Ok(Self { fields, ids })
    }
}

/// Returns unused memory to the system. The kernel's types use about 40 MiB, and the allocator
/// would keep half of these 40 MiB until tcpstate exits.
pub(super) fn trim_memory() {
    // SAFETY: the function takes a plain number, and any thread may call it at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
