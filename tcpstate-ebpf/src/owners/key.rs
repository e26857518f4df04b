//! The owner of a socket, and the number of the owner.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::abi::{
    NO_PID, OWNER_CGROUP, OWNER_COMM, OWNER_LOCAL_PORT, OWNER_NETNS, OWNER_OTHER, OWNER_PROCESS,
    OWNER_REMOTE, OWNER_REMOTE_PORT, OWNER_UNKNOWN, OWNER_USER, OwnerKey, ProcessKey,
};

use super::{process_exit, recent, rows};
use crate::{
    access::Access,
    atomic::add_one_atomically,
    cgroups,
    config::config,
    kernel::EEXIST,
    maps::{FREE_OWNERS, OWNER_NAMES, OWNER_NUMBERS, OWNER_PROCESSES},
    process::{self, Running},
    program_tree,
    sock::Sock,
};

/// Returns whether an owner is selected by the property `key`; the verifier knows the value.
#[inline(always)]
pub(super) fn has(key: u32) -> bool {
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
/// The two functions are not inlined, because they have many callers. Neither calls the other,
/// because old kernels limit the stack of all nested calls, also of calls that cannot happen.
#[inline(always)]
pub(crate) fn number<A: Access>(sock: Sock<A>, from: usize, is_server: bool) -> u32 {
    // The function is called here, because the stacks of nested calls add up.
    if has_process() && program_tree::is_current_outside() {
        return OWNER_OTHER;
    }
    if is_only_process() { number_of_process() } else { number_of_values(sock, from, is_server) }
}

#[inline(never)]
fn number_of_values<A: Access>(sock: Sock<A>, from: usize, is_server: bool) -> u32 {
    let mut key = MaybeUninit::uninit();
    let key = blank(&mut key);
    if has_process() {
        let Some(process) = Running::now() else { return OWNER_UNKNOWN };
        // Output cannot name a process without an ID in the PID namespace of the user.
        let pid = process.pid();
        if pid == NO_PID {
            return OWNER_UNKNOWN;
        }
        if has(OWNER_PROCESS) {
            (key.pid, key.start) = (pid, process.start_ticks());
        }
        if has(OWNER_COMM) {
            // SAFETY: the leader exists as long as the current task.
            unsafe { process::read_name(process.leader, &mut key.comm) };
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
    number_of(key)
}

/// Returns whether only the process distinguishes owners; the verifier knows the value.
#[inline(always)]
fn is_only_process() -> bool {
    config!(owner_keys) == OWNER_PROCESS
}

/// Returns the number of the process that runs now, if only the process distinguishes owners.
#[inline(never)]
fn number_of_process() -> u32 {
    let Some(process) = Running::now() else { return OWNER_UNKNOWN };
    recent::number(process, || {
        let pid = process.pid();
        if pid == NO_PID {
            return OWNER_UNKNOWN;
        }
        let mut key = MaybeUninit::uninit();
        let key = blank(&mut key);
        (key.pid, key.start) = (pid, process.start_ticks());
        number_of(key)
    })
}

/// Removes all values of a key. The stores are volatile, so that the compiler does not call a
/// function that stores single bytes.
#[inline(always)]
fn blank(key: &mut MaybeUninit<OwnerKey>) -> &mut OwnerKey {
    const WORDS: usize = size_of::<OwnerKey>() / size_of::<u64>();
    let words = key.as_mut_ptr().cast::<u64>();
    let mut index = 0;
    // SAFETY: the words are all words of the key, which consists of integers, for which zero is a
    // valid value.
    unsafe {
        while index < WORDS {
            words.add(index).write_volatile(0);
            index += 1;
        }
        key.assume_init_mut()
    }
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
        && let Some(process) = Running::now()
    {
        // SAFETY: `name` points to an element of the map, which stays valid while the program runs.
        // Only the program that took the number from the free numbers writes the name. The leader
        // exists as long as the current task.
        unsafe { process::read_name(process.leader, &mut *name) };
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
