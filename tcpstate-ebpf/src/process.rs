//! The process that owns a socket.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel_str_bytes,
    generated::bpf_get_current_task_btf,
};
use tcpstate_common::abi::{COMM_BYTES, FLAG_TYPED_TASKS, NO_PID};

use crate::{
    access::{Access, Probed, Typed},
    config::config,
    kernel::PF_KTHREAD,
    program_tree,
};

/// A process: its ID and name.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    /// The process ID; 0 if the process is unknown, [`NO_PID`] if the process has no ID in the PID
    /// namespace of the user. The ID may have a mark of [`program_tree`].
    pub(crate) pid: u32,
    pub(crate) comm: [u8; COMM_BYTES],
}

impl Process {
    pub(crate) const UNKNOWN: Self = Self { pid: 0, comm: [0; COMM_BYTES] };

    /// Returns the process that runs now. The process is unknown if a kernel thread runs, because
    /// the thread works for some other process. The name is the name of the process, not the name
    /// of a thread.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        let Some(leader) = current_leader() else { return Self::UNKNOWN };
        let mut comm = [0; COMM_BYTES];
        // SAFETY: the leader exists as long as the current task.
        let pid = unsafe {
            read_name(leader, &mut comm);
            if config!(pids.namespace) == 0 {
                (bpf_get_current_pid_tgid() >> 32) as u32
            } else {
                pid_in_namespace(leader)
            }
        };
        Self { pid: program_tree::marked(pid, leader), comm }
    }
}

/// A process that runs.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    /// The first thread of the process, which exists as long as a task of the process.
    pub(crate) leader: *const u8,
    /// The ID of the process in the initial PID namespace.
    pub(crate) tgid: u32,
    /// Time when the process started (clock since boot, nanoseconds).
    pub(crate) start: u64,
}

impl Running {
    /// Returns the process that runs now, or `None` if a kernel thread runs.
    #[inline(always)]
    pub(crate) fn now() -> Option<Self> {
        // SAFETY: both tasks are the current task. The verifier knows the type of the first.
        unsafe {
            if config!(flags) & FLAG_TYPED_TASKS != 0 {
                Self::of::<Typed>(bpf_get_current_task_btf() as *const u8)
            } else {
                Self::of::<Probed>(current_task())
            }
        }
    }

    /// Returns the process of a task, or `None` if the task is a kernel thread.
    ///
    /// # Safety
    /// `task` must point to a task that exists while the value is in use.
    #[inline(always)]
    pub(crate) unsafe fn of<A: Access>(task: *const u8) -> Option<Self> {
        // SAFETY: the offsets are from BTF. The leader exists as long as a task of the process.
        unsafe {
            if A::load::<u32>(task, config!(events.task_flags)) & PF_KTHREAD != 0 {
                return None;
            }
            let leader: *const u8 = A::load(task, config!(events.group_leader));
            let tgid = A::load(leader, config!(events.tgid));
            let start = A::load(leader, config!(events.start_boottime));
            Some(Self { leader, tgid, start })
        }
    }

    /// Returns the ID of the process in the PID namespace of the user, or [`NO_PID`].
    #[inline(always)]
    pub(crate) fn pid(self) -> u32 {
        if config!(pids.namespace) == 0 {
            self.tgid
        } else {
            // SAFETY: the leader exists as long as the current task.
            unsafe { pid_in_namespace(self.leader) }
        }
    }

    /// Returns the time when the process started, in the unit of `/proc/PID/stat`.
    #[inline(always)]
    pub(crate) fn start_ticks(self) -> u64 {
        self.start / TICK
    }
}

/// The unit of `/proc/PID/stat` in nanoseconds (`USER_HZ` is 100).
const TICK: u64 = 10_000_000;

/// Returns the task that runs now.
#[inline(always)]
pub(crate) fn current_task() -> *const u8 {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_get_current_task() as *const u8 }
}

/// Returns the first thread of the process that runs now, or `None` if a kernel thread runs.
#[inline(always)]
pub(crate) fn current_leader() -> Option<*const u8> {
    let task = current_task();
    // SAFETY: `task` is the current task, and `Probed` reads by a helper that takes any address.
    unsafe {
        let is_kernel_thread =
            Probed::load::<u32>(task, config!(events.task_flags)) & PF_KTHREAD != 0;
        (!is_kernel_thread)
            .then(|| Probed::load::<u64>(task, config!(events.group_leader)) as *const u8)
    }
}

/// Reads the name of a process.
///
/// # Safety
/// `leader` must point to the first thread of the process.
#[inline(always)]
pub(crate) unsafe fn read_name(leader: *const u8, name: &mut [u8; COMM_BYTES]) {
    // The name is read as a string, because older kernels (5.10) leave the rest of an earlier,
    // longer name after the terminating zero.
    // SAFETY: the helper takes any address.
    unsafe {
        let from = leader.add(config!(events.comm) as usize);
        let _ = bpf_probe_read_kernel_str_bytes(from, name);
    }
}

/// Returns the ID that a task has in the PID namespace of the user, or [`NO_PID`]. A process has
/// one ID in its own namespace and one ID in each ancestor of that namespace.
///
/// # Safety
///
/// `task` is a task that exists while the program runs.
#[inline(always)]
unsafe fn pid_in_namespace(task: *const u8) -> u32 {
    /// `MAX_PID_NS_LEVEL` in `include/linux/pid_namespace.h`.
    const MAX_LEVEL: u32 = 32;
    // SAFETY: each offset is from BTF, for the type to which the previous field points. `Probed`
    // reads by a helper that takes any address.
    unsafe {
        let pid = Probed::load::<u64>(task, config!(pids.thread_pid)) as *const u8;
        let deepest: u32 = Probed::load(pid, config!(pids.level));
        let numbers = pid.add(config!(pids.numbers) as usize);
        for level in 0..=MAX_LEVEL {
            if level > deepest {
                break;
            }
            let upid = numbers.add((level * config!(pids.upid_size)) as usize);
            let namespace = Probed::load::<u64>(upid, config!(pids.ns)) as *const u8;
            if Probed::load::<u32>(namespace, config!(pids.inum)) == config!(pids.namespace) {
                return Probed::load(upid, config!(pids.nr));
            }
        }
    }
    NO_PID
}
