//! The functions of this module that the fuzzer calls.

use super::{
    btf::Btf, confinement, events, format, hooks, kallsyms, kernel, misses, namespaces, offsets,
};

/// Parses BTF and looks up all kernel fields that the BPF programs need.
pub(crate) fn btf(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes.to_vec()) else { return };
    if let Ok(mut offsets) = offsets::sockets(&btf) {
        let _ = offsets::namespaces(&btf, &mut offsets);
    }
    if let Ok(minis) = offsets::minis(&btf) {
        assert!(matches!(minis.num_timeout_mask, 1..=0xff), "the mask is of one byte");
    }
    let _ = offsets::verdicts(&btf);
    let _ = events::offsets(&btf);
    let _ = hooks::verdict(&btf);
}

/// Parses the format of a tracepoint.
pub(crate) fn tracepoint(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = format::parse(text);
}

/// Parses the small files from which tcpstate reads a single line or word.
pub(crate) fn kernel_files(bytes: &[u8]) {
    let _ = kallsyms::Symbols::read(bytes);
    namespaces::mounts(bytes).for_each(drop);
    namespaces::inode(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    confinement::has_filter(text);
    confinement::lockdown(text);
    misses::parse(text);
    let _ = kernel::Kernel::from_release(text.to_owned());
    kernel::sockets_in_use(text);
}
