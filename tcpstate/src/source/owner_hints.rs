//! Finds the owners of sockets that were opened before the start. The module stores the owners as
//! hints for the BPF programs. The key of a hint is the inode of the socket's file.

use std::{fs, num::NonZeroU32};

use aya::maps::{HashMap, MapData};
use tcpstate_common::abi::{COMM_BYTES, OwnerHint};

use super::owners::Owners;
use crate::{procfs::pids::PidNamespace, report::UnknownOwners};

/// Stores a hint for each open socket of each process. If some open sockets have no owner, the
/// function returns the reason.
pub(super) fn leave(hints: &mut HashMap<MapData, u64, OwnerHint>) -> Option<UnknownOwners> {
    // The BPF programs use the process ids that `/proc` shows, so the hints fit them.
    let namespace = PidNamespace::of_proc();
    if namespace == PidNamespace::Unknown {
        return Some(UnknownOwners::NoPidNamespace);
    }
    let owners = Owners::now();
    let mut names = std::collections::HashMap::new();
    let mut refused = 0_u64;
    for (inode, pid) in owners.sockets() {
        let Some(comm) = *names.entry(pid).or_insert_with(|| name(pid)) else { continue };
        let hint = OwnerHint { born: 0, pid, reserved: 0, comm };
        let inode = u64::from(NonZeroU32::get(inode));
        refused += u64::from(hints.insert(inode, hint, 0).is_err());
    }
    if refused > 0 {
        return Some(UnknownOwners::TableFull(refused));
    }
    match namespace {
        _ if owners.has_hidden_files() => Some(UnknownOwners::Hidden),
        PidNamespace::Inner(_) => Some(UnknownOwners::OutsidePidNamespace),
        _ => None,
    }
}

/// Returns the name of a process, if the process still runs.
pub(super) fn name(pid: u32) -> Option<[u8; COMM_BYTES]> {
    let text = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut name = [0; COMM_BYTES];
    // The process names that the kernel returns always fit in this array.
    name.get_mut(..text.len())?.copy_from_slice(text);
    Some(name)
}
