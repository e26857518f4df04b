//! An independent count of events, which uses perf instead of BPF.
//!
//! Some kernels withhold events from BPF programs without counting them. One vendor's kernel
//! withholds events while process 1 runs, and in interrupts during that time. On a kernel that
//! withholds events, a gauge may be wrong until the next scan. The cause of the wrong gauge is the
//! kernel, not tcpstate. With the audit, a test can distinguish events that the kernel withheld
//! from errors of tcpstate.

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    thread,
};

use aya::{
    programs::ProgramInfo,
    sys::{Stats, enable_stats},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use perf_event::{Builder, Counter, events::Tracepoint};

use tcpstate::{
    report::{Event, Hook, Minis, Provider},
    tracer::Tracer,
};
use tcpstate_common::State;

/// The maximum number of attempts of a test that needs exact events, for kernels that withhold
/// events.
pub const ATTEMPTS: u32 = 10;

/// Returns whether two CPUs each created a child for the same handshake, and the kernel removed one
/// child (`inet_csk_complete_hashdance`).
///
/// The event lines of both children are correct, but no script expects them. Two children occur on
/// a slow machine, where the last segment of a handshake and the first data arrive at the same
/// time.
#[must_use]
pub fn has_twin(lines: &[Event]) -> bool {
    let is_undone = |event: &Event| {
        event.hook == Hook::Transitions && (event.from, event.to) == (State::SynRecv, State::Close)
    };
    lines.iter().any(is_undone)
}

/// Counts events and program runs since the start of the audit.
pub struct Audit {
    transitions: Tally,
    timers: Option<Timers>,
    /// The kernel counts program runs while this descriptor is open.
    _stats: OwnedFd,
}

impl Audit {
    /// Starts counting. No socket may change its state during this call.
    ///
    /// # Panics
    /// Panics if the caller is not root, or if the kernel has no tracefs.
    #[must_use]
    pub fn start(tracer: &Tracer) -> Self {
        let stats = enable_stats(Stats::RunTime).expect("root may have the kernel count runs");
        let transitions = Tally::start("sock/inet_sock_set_state", transition_runs(tracer));
        let by_timers =
            Minis::BOTH.iter().any(|&minis| tracer.probe().provider(minis) == Provider::Timer);
        Self { transitions, timers: by_timers.then(|| Timers::start(tracer)), _stats: stats }
    }

    /// The number of transitions on the whole machine since the audit started.
    ///
    /// # Panics
    /// Panics if the counters cannot be read.
    pub fn fired(&mut self) -> u64 {
        self.transitions.fired() - self.transitions.before
    }

    /// Returns the number of events that no program observed and that tcpstate did not report as
    /// missed. The number is exact only while no socket changes its state.
    ///
    /// # Panics
    /// Panics if the counters cannot be read.
    pub fn uncounted(&mut self, tracer: &Tracer) -> i64 {
        let timers = self.timers.as_mut().map_or(0, |timers| timers.uncounted(tracer));
        self.transitions.fired().cast_signed() - transition_runs(tracer).cast_signed() + timers
    }
}

/// Counters of the timer events of mini sockets. The programs also run for unrelated timers, so the
/// number of runs is not the number of mini sockets. On a kernel that withholds events, the events
/// while process 1 runs are counted as lost.
struct Timers {
    /// The starts and the cancellations of all timers. A kernel may lose only starts or only
    /// cancellations, for example when a listener with requests closes.
    all: [(&'static str, Tally); 2],
    of_first_process: Vec<Counter>,
}

impl Timers {
    fn start(tracer: &Tracer) -> Self {
        let all = ["timer_start", "timer_cancel"]
            .map(|name| (name, Tally::start(&format!("timer/{name}"), timer_runs(tracer, name))));
        let symbols = fs::read_to_string("/proc/kallsyms").expect("procfs is mounted");
        let of_minis = ["tw_timer_handler", "reqsk_timer_handler"].map(|handler| {
            let is_handler = |line: &&str| line.split(' ').nth(2) == Some(handler);
            let line = symbols.lines().find(is_handler).expect("root sees the kernel's symbols");
            format!("function == 0x{}", line.split(' ').next().expect("a line is not empty"))
        });
        let mut of_first_process = in_first_process("timer/timer_start", &of_minis.join(" || "));
        // The tracepoint `timer_cancel` does not report the timer's function. Most timers of mini
        // sockets are stopped in soft interrupts, so the audit counts cancellations in soft
        // interrupts.
        of_first_process.extend(in_first_process("timer/timer_cancel", "common_flags & 16"));
        Self { all, of_first_process }
    }

    fn uncounted(&mut self, tracer: &Tracer) -> i64 {
        let loses_events =
            self.all.iter_mut().any(|(name, all)| all.fired() > timer_runs(tracer, name));
        if loses_events { sum(&mut self.of_first_process).cast_signed() } else { 0 }
    }
}

/// The number of events that perf has counted on all CPUs, and the number that BPF had counted
/// before perf started.
struct Tally {
    counters: Vec<Counter>,
    /// The number of events that BPF had counted when the audit started.
    before: u64,
}

impl Tally {
    /// The caller reads BPF's count before this function starts perf's counters, so an event
    /// between the two actions does not look like a loss.
    fn start(tracepoint: &str, runs: u64) -> Self {
        Self { before: runs, counters: on_all_cpus(tracepoint) }
    }

    /// Returns the number of all events. Events before the start of the audit were counted by BPF,
    /// and later events by perf.
    fn fired(&mut self) -> u64 {
        self.before + sum(&mut self.counters)
    }
}

fn sum(counters: &mut [Counter]) -> u64 {
    counters.iter_mut().map(|counter| counter.read().expect("an open counter")).sum()
}

/// Returns the number of runs plus misses of the program that counts transitions.
fn transition_runs(tracer: &Tracer) -> u64 {
    let info: ProgramInfo = tracer.probe().transitions_info().expect("our own program");
    info.run_count() + tracer.probe().missed().expect("our own program")
}

/// Returns the number of runs of a timer program, which handles both kinds of mini sockets.
fn timer_runs(tracer: &Tracer, program: &str) -> u64 {
    let programs = Minis::BOTH
        .into_iter()
        .flat_map(|minis| tracer.probe().minis_info(minis).expect("our own programs"));
    let runs = programs.filter(|(name, _)| *name == program);
    runs.map(|(_, info)| info.run_count()).max().unwrap_or_default()
}

fn on_all_cpus(tracepoint: &str) -> Vec<Counter> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").expect("sysfs is mounted");
    let open = |cpu| counter(Builder::new(of(tracepoint)).any_pid().one_cpu(cpu));
    cpus(online.trim()).map(open).collect()
}

/// Counters for events while process 1 or its later children run.
fn in_first_process(tracepoint: &str, filter: &str) -> Vec<Counter> {
    let filter = CString::new(filter).expect("no zero in it");
    let threads = fs::read_dir("/proc/1/task").expect("there is a process 1");
    let names = threads.filter_map(|thread| thread.ok()?.file_name().into_string().ok());
    let open = |name: String| {
        let thread = name.parse().expect("a thread has a number");
        let counter =
            counter(Builder::new(of(tracepoint)).observe_pid(thread).any_cpu().inherit(true));
        // SAFETY: the kernel copies the text, which ends in a zero.
        let result = unsafe { libc::ioctl(counter.as_raw_fd(), SET_FILTER, filter.as_ptr()) };
        assert_eq!(result, 0, "{filter:?}: {}", std::io::Error::last_os_error());
        counter
    };
    names.map(open).collect()
}

/// The request number of `PERF_EVENT_IOC_SET_FILTER`, which is `_IOW('$', 6, char *)`.
const SET_FILTER: libc::Ioctl = 0x4008_2406;

fn counter(builder: &mut Builder<'_>) -> Counter {
    let mut counter =
        builder.include_kernel().build().expect("root may count a tracepoint's events");
    counter.enable().expect("a counter can be enabled");
    counter
}

/// Returns the tracepoint, by its number in this kernel.
fn of(tracepoint: &str) -> Tracepoint {
    // The tracepoint is found on a separate thread, because the thread may need a separate mount
    // namespace.
    let number = thread::scope(|scope| {
        let read = || {
            mount_tracefs();
            fs::read_to_string(format!("/sys/kernel/tracing/events/{tracepoint}/id"))
        };
        scope.spawn(read).join().expect("the thread does not panic")
    });
    let number = number.expect("the tracepoint exists");
    Tracepoint::with_id(number.trim().parse().expect("it has a number"))
}

/// Mounts tracefs at the usual path, for this thread and the threads that it starts. The mount is
/// needed because the machine may have no mounted tracefs. The mount ends with the thread.
///
/// # Panics
/// Panics if the caller is not root.
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

/// Returns the CPUs of a list, for example `0-1,4`.
fn cpus(list: &str) -> impl Iterator<Item = usize> {
    list.split(',').flat_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<usize>().expect("a list of CPUs");
        number(from)..=number(to)
    })
}
