//! Marks the processes that have ended, so that user space can give their numbers to other owners.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tcpstate_common::abi::ProcessKey;

use crate::{
    access::{Access as _, Probed},
    config::config,
    maps::OWNER_PROCESSES,
    process::Running,
};

/// `sched_process_exit(struct task_struct *p)`: the kernel calls this tracepoint when a thread
/// ends (`do_exit` in `kernel/exit.c`). The kernel has already subtracted the thread from the
/// number of live threads, and has not yet closed the files of the process.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    if !has_ended(task) {
        return 0;
    }
    // SAFETY: `task` is the tracepoint's first argument, which exists while the program runs.
    let Some(process) = (unsafe { Running::of::<Probed>(task) }) else { return 0 };
    let process = ProcessKey { start: process.start_ticks(), pid: process.pid(), reserved: 0 };
    if let Some(entry) = OWNER_PROCESSES.get_ptr_mut(process) {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs. The
        // value is one aligned integer.
        unsafe { entry.write_volatile(1) };
    }
    0
}

/// Returns whether all threads of a task's process have ended or are ending.
#[inline(always)]
pub(crate) fn has_ended(task: *const u8) -> bool {
    // SAFETY: `Probed` reads by a helper that takes any address.
    unsafe {
        let signal = Probed::load::<u64>(task, config!(events.signal)) as *const u8;
        Probed::load::<u32>(signal, config!(events.live)) == 0
    }
}
