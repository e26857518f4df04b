//! The owner of a socket, and the number of the owner.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::abi::{
    COMM_BYTES, NO_PID, OWNER_CGROUP, OWNER_COMM, OWNER_LOCAL_PORT, OWNER_NETNS, OWNER_OTHER,
    OWNER_PROCESS, OWNER_REMOTE, OWNER_REMOTE_PORT, OWNER_UNKNOWN, OWNER_USER, OwnerKey,
    ProcessKey,
};

use super::{process_exit, rows};
use crate::{
    access::Access,
    atomic::add_one_atomically,
    cgroups,
    config::config,
    kernel::EEXIST,
    maps::{FREE_OWNERS, OWNER_NAMES, OWNER_NUMBERS, OWNER_PROCESSES},
    process,
    sock::Sock,
};

/// Returns whether an owner is selected by the property `key`; the verifier knows the value.
#[inline(always)]
fn has(key: u32) -> bool {
    config!(owner_keys) & key != 0
}

/// Returns whether owners are processes or their names; the verifier knows the value.
#[inline(always)]
pub(crate) fn has_process() -> bool {
    has(OWNER_PROCESS | OWNER_COMM)
}

/// Returns the number of the owner of a full socket that leaves the state `from`. If owners are
/// processes, the current process is the owner. `is_server` tells whether the local port is that of
/// a listener.
///
/// The function is not inlined, because it has many callers.
#[inline(never)]
pub(crate) fn number<A: Access>(sock: Sock<A>, from: usize, is_server: bool) -> u32 {
    let mut key = OwnerKey {
        start: 0,
        comm: [0; COMM_BYTES],
        remote: [0; 2],
        cgroup: 0,
        netns: 0,
        netns_inode: 0,
        pid: 0,
        uid: 0,
        remote_port: 0,
        local_port: 0,
    };
    if has_process() {
        let Some(leader) = process::current_leader() else { return OWNER_UNKNOWN };
        // SAFETY: the current task exists, and its leader exists as long as the task.
        let (pid, start) = unsafe { process::identity(leader) };
        // Output cannot name a process without an ID in the PID namespace of the user.
        if pid == NO_PID {
            return OWNER_UNKNOWN;
        }
        if has(OWNER_PROCESS) {
            (key.pid, key.start) = (pid, start);
        }
        if has(OWNER_COMM) {
            // SAFETY: as above.
            unsafe { process::read_name(leader, &mut key.comm) };
        }
    }
    if has(OWNER_USER) {
        key.uid = sock.uid();
    }
    if has(OWNER_CGROUP) {
        key.cgroup = cgroups::cgroup(sock);
    }
    if has(OWNER_NETNS) {
        let net = sock.namespace();
        key.netns = net.identity();
        key.netns_inode = net.inode();
    }
    if has(OWNER_LOCAL_PORT) && is_server {
        key.local_port = sock.local_port(from);
    }
    if has(OWNER_REMOTE) {
        key.remote = sock.remote();
    }
    // The peer of a server chose its port by connect().
    if has(OWNER_REMOTE_PORT) && !is_server {
        key.remote_port = sock.remote_port();
    }
    number_of(&key)
}

/// Returns the number of an owner. A new owner gets the next free number. If no number is free, the
/// socket counts in the row [`OWNER_OTHER`].
#[inline(always)]
fn number_of(key: &OwnerKey) -> u32 {
    if let Some(number) = known(key) {
        return number;
    }
    let Ok(Some(number)) = FREE_OWNERS.pop() else { return without_room() };
    // The name is stored before another program can find the number.
    if has_process()
        && let Some(name) = OWNER_NAMES.get_ptr_mut(number)
        && let Some(leader) = process::current_leader()
    {
        // SAFETY: `name` points to an element of the map, which stays valid while the program runs.
        // Only the program that took the number from the free numbers writes the name. The leader
        // exists as long as the current task.
        unsafe { process::read_name(leader, &mut *name) };
    }
    if has(OWNER_PROCESS) {
        let process = ProcessKey { start: key.start, pid: key.pid, reserved: 0 };
        let has_ended = u32::from(process_exit::has_ended(process::current_task()));
        let _ = OWNER_PROCESSES.insert(process, has_ended, u64::from(BPF_ANY));
    }
    match OWNER_NUMBERS.insert(key, number, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            if let Some(memory) = rows::memory() {
                // SAFETY: `memory` points to this CPU's map element, which stays valid while the
                // program runs.
                unsafe { add_one_atomically(&raw mut (*memory).numbered) };
            }
            number
        }
        Err(errno) => {
            // The unused number becomes free again. If the map refuses the number, one owner fewer
            // has room.
            let _ = FREE_OWNERS.push(number, 0);
            // Another CPU may have inserted the owner first.
            if errno == -EEXIST
                && let Some(number) = known(key)
            {
                return number;
            }
            without_room()
        }
    }
}

#[inline(always)]
fn known(key: &OwnerKey) -> Option<u32> {
    // SAFETY: the kernel does not free the memory of a map entry while the program runs. User space
    // removes the entry of an owner only if nothing refers to its number, and looks again after
    // every running program has ended.
    unsafe { OWNER_NUMBERS.get(key) }.copied()
}

/// Counts a socket whose owner has no number.
#[inline(always)]
fn without_room() -> u32 {
    if let Some(memory) = rows::memory() {
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(&raw mut (*memory).without_room) };
    }
    OWNER_OTHER
}
