//! What programs in the kernel cost, by the kernel's own BPF statistics: for benchmarks. Times are printed, never
//! asserted.

use std::{fs, ops::Sub, time::Duration};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, ProgramInfo},
};

use crate::{traffic::Load, wait};

static EMPTY: &[u8] = aya::include_bytes_aligned!("../bpf/empty.bpf.o");

/// How often programs ran, and for how long all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// Runs.
    pub runs: u64,
    /// All of them.
    pub time: Duration,
}

impl RunTime {
    /// Of these programs, since their load, as far as the kernel counted.
    #[must_use]
    pub fn of(programs: impl IntoIterator<Item = ProgramInfo>) -> Self {
        let add = |sum: Self, program: ProgramInfo| Self {
            runs: sum.runs + program.run_count(),
            time: sum.time + program.run_time(),
        };
        programs.into_iter().fold(Self::default(), add)
    }

    /// Of one run, on average.
    #[must_use]
    pub fn ns_per_run(self) -> f64 {
        self.ns_per(self.runs)
    }

    /// Of one of so many things that the runs were for.
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

/// A program that does nothing, on a tracepoint: what the statistics themselves cost.
pub struct Empty(Ebpf);

impl Empty {
    /// Loads and attaches it.
    ///
    /// # Panics
    /// If the kernel refuses.
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

    /// Since its load.
    ///
    /// # Panics
    /// If the kernel does not know the program any more.
    #[must_use]
    pub fn run_time(&self) -> RunTime {
        let program = self.0.program("empty").expect("it holds the program");
        RunTime::of([program.info().expect("our own program")])
    }
}

/// What programs took while a load made so many connections.
///
/// # Panics
/// If loopback does not work.
pub fn during(load: &Load, connections: u64, mut programs: impl FnMut() -> RunTime) -> RunTime {
    // Caches and branch predictors know the programs before the turn counts.
    let warm = load.completed() + 500;
    wait::until("the load", || load.completed() >= warm);
    let before = programs();
    let goal = load.completed() + connections;
    wait::until_within(Duration::from_secs(120), "the turn's connections", || {
        load.completed() >= goal
    });
    programs() - before
}

/// Sorts, and takes the one in the middle.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn median(turns: &mut [f64]) -> f64 {
    turns.sort_by(f64::total_cmp);
    turns[turns.len() / 2]
}

/// How far apart the least and the most are.
#[must_use]
pub fn spread(turns: &[f64]) -> f64 {
    let most = turns.iter().copied().fold(f64::MIN, f64::max);
    let least = turns.iter().copied().fold(f64::MAX, f64::min);
    most - least
}

/// What the machine's processor calls itself.
#[must_use]
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown processor");
    name.trim_start_matches([' ', '\t', ':']).to_owned()
}
