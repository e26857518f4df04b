//! The process that owns a socket.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel_str_bytes,
};
use tcpstate_common::abi::COMM_BYTES;

use crate::{
    access::{Access as _, Probed},
    config::config,
    kernel::PF_KTHREAD,
};

/// A process: its ID and name.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    /// The process ID; 0 if unknown.
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
            Self { pid: (bpf_get_current_pid_tgid() >> 32) as u32, comm }
        }
    }
}
