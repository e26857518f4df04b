//! The process that owns a socket.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel_str_bytes,
};
use tcpstate_common::abi::{COMM_BYTES, NO_PID};

use crate::{
    access::{Access as _, Probed},
    config::config,
    kernel::PF_KTHREAD,
};

/// A process: its ID and name.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    /// The process ID; 0 if the process is unknown, [`NO_PID`] if the process has no ID in the PID
    /// namespace of the user.
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
        // SAFETY: the first helpers take no arguments, and memory is read by a helper that takes
        // any address.
        unsafe {
            let task = bpf_get_current_task() as *const u8;
            if Probed::load::<u32>(task, config!(events.task_flags)) & PF_KTHREAD != 0 {
                return Self::UNKNOWN;
            }
            let leader = Probed::load::<u64>(task, config!(events.group_leader)) as *const u8;
            let mut comm = [0; COMM_BYTES];
            // The name is read as a string, because older kernels (5.10) leave the rest of an
            // earlier, longer name after the terminating zero.
            let name = leader.add(config!(events.comm) as usize);
            let _ = bpf_probe_read_kernel_str_bytes(name, &mut comm);
            let pid = if config!(pids.namespace) == 0 {
                (bpf_get_current_pid_tgid() >> 32) as u32
            } else {
                pid_in_namespace(leader)
            };
            Self { pid, comm }
        }
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
