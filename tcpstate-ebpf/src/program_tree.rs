//! The process tree of the program that a run starts (`-- PROGRAM`), for the filter `--only-it`.
//!
//! ```text
//! sched_process_fork -> the child of a member becomes a member
//! Process::current   -> the ID of a member has a mark, which sockets keep
//! owners             -> only members are owners, all other processes count as `other`
//! sched_process_free -> the kernel frees the first thread of a member: the member is removed
//! ```
//!
//! A process is a member if it is the program itself or if the map has its entry. The ID of the
//! program is frozen. User space reaps the program only when the run ends, so no other process gets
//! this ID. The key of an entry has the start time of the process, so a later process with the ID
//! of a member is not a member. An execve changes neither the ID nor the time.
//!
//! The mark is stored with the ID, because a socket can outlive the processes that used the socket.

use aya_ebpf::{bindings::BPF_ANY, macros::btf_tracepoint, programs::BtfTracePointContext};
use tcpstate_common::{
    abi::{NO_PID, ProcessKey},
    filter::{FILTER_TREE, PID_IS_IN_TREE},
};

use crate::{
    access::{Access as _, Probed},
    atomic::add_one_atomically,
    config::config,
    filter_lists::filter,
    maps::{PROGRAM_TREE, TREE_LOSSES},
    process::Running,
    verifier::checked_once,
};

/// Returns whether the filter has the condition; the verifier knows the value.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    filter!(conditions) & FILTER_TREE != 0
}

/// Returns whether a process runs that is not a member of the tree. The result is false if the
/// filter does not have the condition.
#[inline(always)]
pub(crate) fn is_current_outside() -> bool {
    is_on() && is_outside(0) != 0
}

checked_once! {
    fn is_outside(_unused: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let Some(process) = Running::now() else { return 0 };
        let pid = process.pid();
        (pid != NO_PID && !has(pid, process.leader)).into()
    }
}

/// Returns the ID of a process, with a mark if the process is a member of the tree. `leader` must
/// be the first thread of the process.
#[inline(always)]
pub(crate) fn marked(pid: u32, leader: *const u8) -> u32 {
    if is_on() && pid != NO_PID && is_member(pid, leader as u64) != 0 {
        pid | PID_IS_IN_TREE
    } else {
        pid
    }
}

/// Returns whether an ID has the mark.
#[inline(always)]
pub(crate) fn is_marked(pid: u32) -> bool {
    pid & PID_IS_IN_TREE != 0 && pid != NO_PID
}

/// Returns an ID without the mark.
#[inline(always)]
pub(crate) fn plain(pid: u32) -> u32 {
    if is_on() && pid != NO_PID { pid & !PID_IS_IN_TREE } else { pid }
}

checked_once! {
    /// Returns whether a process is a member of the tree. `leader` must be the address of the first
    /// thread of the process.
    fn is_member(pid: u32, leader: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        has(pid, leader as *const u8).into()
    }
}

#[inline(always)]
fn has(pid: u32, leader: *const u8) -> bool {
    pid == filter!(program) || PROGRAM_TREE.get_ptr(key(leader)).is_some()
}

/// Returns the key of a process: its ID in the initial PID namespace, and the time when it started
/// (clock since boot, in nanoseconds). The function reads both from the first thread of the
/// process.
#[inline(always)]
fn key(leader: *const u8) -> ProcessKey {
    // SAFETY: `Probed` reads by a helper that takes any address.
    unsafe {
        ProcessKey {
            start: Probed::load(leader, config!(events.start_boottime)),
            pid: Probed::load(leader, config!(events.tgid)),
            reserved: 0,
        }
    }
}

/// Returns the first thread of a task's process.
#[inline(always)]
fn leader(task: *const u8) -> *const u8 {
    // SAFETY: `Probed` reads by a helper that takes any address.
    unsafe { Probed::load::<u64>(task, config!(events.group_leader)) as *const u8 }
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`: the kernel calls
/// this tracepoint before a new thread or process runs.
#[btf_tracepoint(function = "sched_process_fork")]
pub(crate) fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let child = leader(ctx.arg(1));
    // SAFETY: the task is an argument of the tracepoint.
    let Some(parent) = (unsafe { Running::of::<Probed>(ctx.arg(0)) }) else { return 0 };
    // A new thread belongs to the process of its parent.
    if parent.leader != child
        && is_member(parent.pid(), parent.leader as u64) != 0
        && PROGRAM_TREE.insert(key(child), 1, u64::from(BPF_ANY)).is_err()
        && let Some(losses) = TREE_LOSSES.get_ptr_mut(0)
    {
        // SAFETY: `losses` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(losses) };
    }
    0
}

/// `sched_process_free(struct task_struct *p)`: the kernel calls this tracepoint some time after a
/// thread has ended and its parent has been told.
#[btf_tracepoint(function = "sched_process_free")]
pub(crate) fn sched_process_free(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    // After an execve by another thread than the first one, the former first thread is not the
    // first thread of a process.
    if leader(task) == task {
        let _ = PROGRAM_TREE.remove(key(task));
    }
    0
}
