//! The cost of programs in the kernel, from the kernel's BPF statistics. Benchmarks print the
//! costs. No test asserts a cost.

use std::{
    fs,
    ops::Sub,
    process::{self, Command, Stdio},
    time::{Duration, Instant},
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, ProgramInfo},
};
use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike as _,
    },
    time::clock_getcpuclockid,
    unistd::Pid,
};

use crate::{traffic::Load, wait};

static EMPTY: &[u8] = aya::include_bytes_aligned!("../bpf/empty.bpf.o");

/// The number of runs of BPF programs and their total time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// The number of runs.
    pub runs: u64,
    /// The total time of all runs.
    pub time: Duration,
}

impl RunTime {
    /// Returns the runs of these programs since the programs were loaded, if the kernel counted the
    /// runs.
    #[must_use]
    pub fn of(programs: impl IntoIterator<Item = ProgramInfo>) -> Self {
        let add = |sum: Self, program: ProgramInfo| Self {
            runs: sum.runs + program.run_count(),
            time: sum.time + program.run_time(),
        };
        programs.into_iter().fold(Self::default(), add)
    }

    /// The average time of a run, in nanoseconds.
    #[must_use]
    pub fn ns_per_run(self) -> f64 {
        self.ns_per(self.runs)
    }

    /// Returns the average time per processed item, in nanoseconds. `things` is the number of items
    /// that the runs processed.
    #[must_use]
    pub fn ns_per(self, things: u64) -> f64 {
        self.time.as_nanos() as f64 / things as f64
    }
}

impl Sub for RunTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { runs: self.runs - earlier.runs, time: self.time.saturating_sub(earlier.time) }
    }
}

/// An empty program on a tracepoint. The kernel's statistics give the empty program a run time, and
/// this time is the cost of the statistics.
pub struct Empty(Ebpf);

impl Empty {
    /// Loads and attaches the program.
    ///
    /// # Panics
    /// Panics if the kernel refuses the program.
    #[must_use]
    pub fn at(tracepoint: &str) -> Self {
        let btf = Btf::from_sys_fs().expect("the kernel has BTF");
        let mut ebpf = Ebpf::load(EMPTY).expect("the object is valid");
        let program: &mut BtfTracePoint = ebpf
            .program_mut("empty")
            .and_then(|program| program.try_into().ok())
            .expect("it holds the program");
        program.load(tracepoint, &btf).expect("the kernel takes it");
        program.attach().expect("the tracepoint exists");
        Self(ebpf)
    }

    /// Returns the runs since the program was loaded.
    ///
    /// # Panics
    /// Panics if the kernel no longer has the program.
    #[must_use]
    pub fn run_time(&self) -> RunTime {
        let program = self.0.program("empty").expect("it holds the program");
        RunTime::of([program.info().expect("our own program")])
    }
}

/// Returns the run time of programs while traffic makes the given number of connections.
///
/// # Panics
/// Panics if loopback does not work.
pub fn during(load: &Load, connections: u64, mut programs: impl FnMut() -> RunTime) -> RunTime {
    // The first connections only warm up caches and branch predictors.
    let warm = load.completed() + 500;
    wait::until("the load", || load.completed() >= warm);
    let before = programs();
    let goal = load.completed() + connections;
    wait::until_within(Duration::from_secs(120), "the turn's connections", || {
        load.completed() >= goal
    });
    programs() - before
}

/// The CPU time of a process, summed over all its threads.
///
/// # Panics
/// Panics if there is no process with this ID.
#[must_use]
pub fn processor_time(process: u32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(process.cast_signed())).expect("it runs");
    clock.now().expect("it runs").into()
}

/// The resident memory of a process, in bytes.
///
/// # Panics
/// Panics if there is no process with this ID.
#[must_use]
pub fn resident_bytes(process: u32) -> u64 {
    bytes_of_status(process, "VmRSS:")
}

/// The peak resident memory of a process, in bytes.
///
/// # Panics
/// Panics if there is no process with this ID.
#[must_use]
pub fn peak_resident_bytes(process: u32) -> u64 {
    bytes_of_status(process, "VmHWM:")
}

/// The bytes in a line such as `VmRSS: 4711 kB`.
fn bytes_of_status(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it has memory");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes * 1024
}

/// The CPU time and the elapsed time of a command or of a closure.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time, summed over all CPUs.
    pub processor: Duration,
    /// Elapsed time.
    pub wall: Duration,
}

impl Cost {
    /// The cost of a command and its children. The output of the command must contain the text
    /// `line` as a line.
    ///
    /// # Errors
    /// Returns an error if the program is not installed.
    ///
    /// # Panics
    /// Panics if the output does not contain the line.
    pub fn of_command(command: &mut Command, line: &str) -> Result<Self, String> {
        let (before, began) = (ended_children(), Instant::now());
        let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        let cost =
            Self { processor: ended_children().saturating_sub(before), wall: began.elapsed() };
        let (text, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if errors.contains("not found") {
            return Err(errors.trim_end().to_owned());
        }
        assert!(text.lines().any(|text| text == line), "no {line:?}:\n{text}{errors}");
        Ok(cost)
    }

    /// The average cost of `work`, which this process runs `times` times.
    pub fn of_each(times: u32, mut work: impl FnMut()) -> Self {
        let (before, began) = (processor_time(process::id()), Instant::now());
        (0..times).for_each(|_| work());
        let processor = processor_time(process::id()).saturating_sub(before);
        Self { processor: processor / times, wall: began.elapsed() / times }
    }
}

/// The CPU time of all children of this process that have ended.
fn ended_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every process may ask");
    let time = usage.user_time() + usage.system_time();
    Duration::from_micros(time.num_microseconds().unsigned_abs())
}

/// Sorts the values and returns the median.
///
/// # Panics
/// Panics if `turns` is empty.
#[must_use]
pub fn median(turns: &mut [f64]) -> f64 {
    turns.sort_by(f64::total_cmp);
    turns[turns.len() / 2]
}

/// The difference between the largest and the smallest value.
#[must_use]
pub fn spread(turns: &[f64]) -> f64 {
    let most = turns.iter().copied().fold(f64::MIN, f64::max);
    let least = turns.iter().copied().fold(f64::MAX, f64::min);
    most - least
}
