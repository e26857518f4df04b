//! Attaches the hooks that find the owners of accepted connections, if an enabled feature needs the
//! process of a socket.

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData},
};
use tcpstate_common::abi::{NO_PID_NAMESPACE, OwnerHint, OwnerOffsets, PidConfig};

use super::{
    Error, Options, btf,
    hooks::{self, Hook, hook},
    programs::{map_error, take_map},
    types::Types,
};
use crate::{
    procfs::pids::PidNamespace,
    report::{Acceptors, Limit},
};

/// The kernel function that returns accepted connections.
const ACCEPT: &str = "inet_csk_accept";

/// The attached hook that finds the owners of accepted connections, and the map of owner hints.
pub(crate) struct AcceptorHook {
    /// The attached hook.
    pub(crate) acceptors: Acceptors,
    /// The map of owner hints. The BPF programs and user space store hints in this map.
    pub(crate) hints: HashMap<MapData, u64, OwnerHint>,
    /// The reason why a better hook is not attached. The field is `None` if the best hook is
    /// attached.
    pub(super) limit: Option<Limit>,
}

/// Sets the sizes of the maps that hold the processes of sockets.
pub(super) fn set_map_sizes(loader: &mut EbpfLoader<'_>, options: &Options) {
    let max_sockets = options.max_tracked();
    if options.needs_names() {
        loader.map_max_entries("OWNER_HINTS", max_sockets);
    }
    if options.needs_closers() {
        loader.map_max_entries("MINI_STATES", max_sockets);
        loader.map_max_entries("CLOSERS", max_closing(max_sockets));
    }
}

/// Returns the size of the map of closers. A full socket needs an entry only from its close until
/// the peer has closed too, so most sockets need no entry.
fn max_closing(max_sockets: u32) -> u32 {
    (max_sockets / 4).max(64)
}

/// Attaches the hook `only`. If `only` is `None`, the function attaches the best hook that the
/// kernel accepts.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    types: &Types,
    only: Option<Acceptors>,
) -> Result<AcceptorHook, Error> {
    let hints = HashMap::try_from(take_map(ebpf, "OWNER_HINTS")?)
        .map_err(map_error("open", "OWNER_HINTS"))?;
    let mut first = None;
    for acceptors in Acceptors::ALL {
        if only.is_some_and(|only| only != acceptors) {
            continue;
        }
        match attach_hooks(ebpf, types, acceptors) {
            Ok(()) => {
                let limit = first.map(|error: Error| Limit::Acceptors {
                    by: acceptors,
                    reason: error.to_string(),
                });
                return Ok(AcceptorHook { acceptors, hints, limit });
            }
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or(Error::Absent(ACCEPT)))
}

fn attach_hooks(ebpf: &mut Ebpf, types: &Types, acceptors: Acceptors) -> Result<(), Error> {
    let hooks = match acceptors {
        Acceptors::Accept => vec![hook(accepted(&types.fields)?, ACCEPT)],
        Acceptors::Use => {
            vec![hook("received", "sock_recv_length"), hook("sent", "sock_send_length")]
        }
        Acceptors::Receive => vec![hook("took", "tcp_rcv_space_adjust")],
        Acceptors::None => Vec::new(),
    };
    for &Hook { program, target } in &hooks {
        if let Err(error) = hooks::attach(ebpf, Hook { program, target }, &types.ids) {
            for hook in &hooks {
                hooks::detach(ebpf, hook.program);
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Returns the program that matches the number of arguments of the accept function.
fn accepted(btf: &btf::Btf) -> Result<&'static str, Error> {
    match btf.arguments(ACCEPT)? {
        // Since Linux 6.10, the function `inet_csk_accept` has 2 arguments.
        2 => Ok("accepted_2"),
        4 => Ok("accepted_4"),
        arguments => Err(Error::Arguments { function: ACCEPT, arguments }),
    }
}

/// Returns the offsets of the fields that lead from a socket to its owner.
pub(super) fn offsets(btf: &btf::Btf) -> Result<OwnerOffsets, btf::Error> {
    let path = |field| btf.field("socket_alloc", field).map(|field| field.offset_bits / 8);
    let to_inode = path("vfs_inode")? - path("socket")?;
    let mut offsets = OwnerOffsets {
        sk_socket: btf.offset("sock", "sk_socket", 64)?,
        socket_file: btf.offset("socket", "file", 64)?,
        socket_inode: to_inode + btf.offset("inode", "i_ino", 64)?,
        sk_lock_owned: btf.offset("sock", "sk_lock.owned", 32)?,
        skc_hash: btf.offset("sock_common", "skc_hash", 32)?,
        skc_listener: btf.offset("sock_common", "skc_listener", 64)?,
        ..OwnerOffsets::default()
    };
    // If a kernel was built without cgroups, the fields `sk_cgrp_data.cgroup` and
    // `sk_cgrp_data.val` do not exist.
    let pointer = btf.offset("sock", "sk_cgrp_data.cgroup", 64);
    let number = btf.offset("sock", "sk_cgrp_data.val", 64);
    if let Ok(sk_cgroup) = pointer.as_ref().or(number.as_ref()) {
        // Since Linux 6.15, the field `parent` is named `__parent`.
        let parent = btf.offset("kernfs_node", "parent", 64);
        offsets.sk_cgroup = *sk_cgroup;
        offsets.cgroup_is_number = pointer.is_err().into();
        offsets.task_cgroups = btf.offset("task_struct", "cgroups", 64)?;
        offsets.css_set_cgroup = btf.offset("css_set", "dfl_cgrp", 64)?;
        offsets.cgroup_kn = btf.offset("cgroup", "kn", 64)?;
        offsets.kn_id = btf.offset("kernfs_node", "id", 64)?;
        offsets.kn_parent = parent.or_else(|_| btf.offset("kernfs_node", "__parent", 64))?;
    }
    Ok(offsets)
}

/// Returns the PID namespace in which the BPF programs name processes, and the fields that lead to
/// the ids. If the namespace or the fields are unknown, events have no process ids.
pub(super) fn pids(btf: &btf::Btf) -> PidConfig {
    let none = PidConfig { namespace: NO_PID_NAMESPACE, ..PidConfig::default() };
    match PidNamespace::of_proc() {
        PidNamespace::Initial => PidConfig::default(),
        PidNamespace::Inner(namespace) => pids_in(namespace, btf).unwrap_or(none),
        PidNamespace::Unknown => none,
    }
}

fn pids_in(namespace: u32, btf: &btf::Btf) -> Result<PidConfig, btf::Error> {
    let ns = btf.offset("upid", "ns", 64)?;
    Ok(PidConfig {
        namespace,
        thread_pid: btf.offset("task_struct", "thread_pid", 64)?,
        level: btf.offset("pid", "level", 32)?,
        numbers: btf.field("pid", "numbers")?.offset_bits / 8,
        // `ns` is the last field of `struct upid`.
        upid_size: ns + 8,
        nr: btf.offset("upid", "nr", 32)?,
        ns,
        inum: btf.offset("pid_namespace", "ns.inum", 32)?,
    })
}
