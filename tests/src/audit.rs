//! How many events the tracepoint really fired, counted without BPF: by perf.
//!
//! Some kernels keep events from BPF programs without counting them (one vendor's does while process 1 runs). On
//! such a kernel a gauge may be off by no fault of ours until a pass. Here is how a test tells that from a fault.

use std::{fs, path::Path, sync::OnceLock, thread};

use aya::{
    programs::ProgramInfo,
    sys::{Stats, enable_stats},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use perf_event::{Builder, Counter, events::Tracepoint};

use tcpstate::tracer::Tracer;

/// Counts the tracepoint's events on all CPUs, and the program's runs, from its start on.
pub struct Audit {
    counters: Vec<Counter>,
    /// Runs and misses at the start.
    before: u64,
    /// The kernel counts runs for as long as this is open.
    _stats: std::os::fd::OwnedFd,
}

impl Audit {
    /// Starts to count. Nothing may move meanwhile.
    ///
    /// # Panics
    /// Without root, or where the kernel has no tracefs.
    #[must_use]
    pub fn start(tracer: &Tracer) -> Self {
        let stats = enable_stats(Stats::RunTime).expect("root may have the kernel count runs");
        let id = tracepoint_id();
        let online =
            fs::read_to_string("/sys/devices/system/cpu/online").expect("sysfs is mounted");
        let counters = cpus(online.trim())
            .map(|cpu| {
                let mut builder = Builder::new(Tracepoint::with_id(id));
                builder.any_pid().one_cpu(cpu).include_kernel();
                let mut counter = builder.build().expect("root may count a tracepoint's events");
                counter.enable().expect("a counter can be enabled");
                counter
            })
            .collect();
        Self { counters, before: runs_and_misses(tracer), _stats: stats }
    }

    /// Events that the program neither saw nor was reported to have missed. Exact while nothing moves.
    ///
    /// # Panics
    /// If the counters can't be read.
    pub fn uncounted(&mut self, tracer: &Tracer) -> i64 {
        let fired: u64 =
            self.counters.iter_mut().map(|counter| counter.read().expect("an open counter")).sum();
        let seen = runs_and_misses(tracer) - self.before;
        fired.cast_signed() - seen.cast_signed()
    }
}

fn runs_and_misses(tracer: &Tracer) -> u64 {
    let info: ProgramInfo = tracer.probe().transitions_info().expect("our own program");
    let misses = tracer.probe().missed().expect("our own program");
    info.run_count() + misses
}

/// The tracepoint's number in this kernel.
fn tracepoint_id() -> u64 {
    static ID: OnceLock<u64> = OnceLock::new();
    *ID.get_or_init(read_tracepoint_id)
}

fn read_tracepoint_id() -> u64 {
    // On a thread of its own, which may have its own mounts.
    let read = || {
        mount_tracefs();
        fs::read_to_string("/sys/kernel/tracing/events/sock/inet_sock_set_state/id")
    };
    let id = thread::spawn(read).join().expect("the thread does not panic");
    id.expect("the tracepoint exists").trim().parse().expect("it has a number")
}

/// Mounts tracefs where programs look for it, for this thread and those that it will start: it need not be mounted on
/// the machine, and is not after the thread's end.
///
/// # Panics
/// Without root.
pub fn mount_tracefs() {
    const TRACEFS: &str = "/sys/kernel/tracing";
    if Path::new(TRACEFS).join("events").exists() {
        return;
    }
    let nothing = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).expect("root may have mounts of its own");
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .expect("one's own mounts can be made private");
    mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), nothing)
        .expect("root may mount tracefs");
}

/// The CPUs of a list such as `0-1,4`.
fn cpus(list: &str) -> impl Iterator<Item = usize> {
    list.split(',').flat_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<usize>().expect("a list of CPUs");
        number(from)..=number(to)
    })
}
