//! A tracer under test, and the comparison with the truth.

use std::{env, fmt, fs, path::PathBuf};

use tcpstate::{
    aggregate::{Gauge, Snapshot},
    probe::Options,
    tracer::Tracer,
};
use tcpstate_common::State;

use crate::{audit::Audit, truth};

/// Names an object to test instead of the embedded one: how faults are seeded.
const OBJECT_VARIABLE: &str = "TCPSTATE_TEST_OBJECT";

/// A tracer of the thread's namespace, and the means to tell a fault from a kernel that keeps events from BPF.
pub struct Traced {
    /// The tracer.
    pub tracer: Tracer,
    audit: Audit,
    /// What the audit had found at the last comparison.
    excused: i64,
}

/// Options with the object under test.
///
/// # Panics
/// If the object can't be read.
#[must_use]
pub fn options() -> Options {
    let object = env::var_os(OBJECT_VARIABLE);
    let read = |path: PathBuf| {
        fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    };
    Options { object: object.map(PathBuf::from).map(read), ..Options::default() }
}

impl Traced {
    /// Starts a tracer of the calling thread's namespace.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&options())
    }

    /// Starts a tracer with options.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn with(options: &Options) -> Self {
        let tracer =
            Tracer::start(options).unwrap_or_else(|error| panic!("{error}; {}", error.remedy()));
        let audit = Audit::start(&tracer);
        Self { tracer, audit, excused: 0 }
    }

    /// A snapshot.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn snapshot(&mut self) -> Snapshot {
        self.tracer.snapshot().expect("a snapshot can be taken")
    }

    /// A pass.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn reconcile(&mut self) {
        self.tracer.reconcile().expect("a pass can be made");
    }

    /// Asserts that each gauge equals the number of full sockets in its state, while nothing moves, and that the two
    /// ways of counting agree.
    ///
    /// A pass may help if the kernel or the tracer says that something was missed since the last comparison, and
    /// the difference is no larger than that; else it is a fault.
    ///
    /// # Panics
    /// If a gauge differs.
    pub fn assert_equal(&mut self, label: &str) {
        let snapshot = self.snapshot();
        assert_flows_match_transitions(&snapshot, label);
        let uncounted = self.audit.uncounted(&self.tracer);
        let lost = snapshot.unreconciled + (uncounted - self.excused).unsigned_abs();
        self.excused = uncounted;
        let Err(difference) = compare(&snapshot) else { return };
        // Each event lost puts two gauges off by one, at most.
        assert!(
            difference.sockets <= 2 * lost,
            "{label}: {difference}, and {lost} events were lost"
        );
        println!("{label}: {difference}, and {lost} events were lost: one pass");
        self.reconcile();
        if let Err(difference) = compare(&self.snapshot()) {
            panic!("{label}: {difference}, after a pass too");
        }
    }
}

/// Which gauges differ from the truth.
#[derive(Debug)]
pub struct Difference {
    /// By how many sockets, all gauges together.
    pub sockets: u64,
    states: Vec<(State, i64, i64)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = self
            .states
            .iter()
            .map(|(state, gauge, truth)| format!("{state} is {gauge}, the kernel has {truth}"));
        f.write_str(&states.collect::<Vec<_>>().join("; "))
    }
}

/// Compares the gauges of full sockets with the truth.
///
/// # Errors
/// What differs.
pub fn compare(snapshot: &Snapshot) -> Result<(), Difference> {
    let sockets = truth::sockets();
    let states: Vec<(State, i64, i64)> = State::GAUGES
        .into_iter()
        .filter(|&state| state != State::TimeWait)
        .filter_map(|state| {
            Some((state, snapshot.gauge(state)?.current?, sockets.full[state].cast_signed()))
        })
        .filter(|(_, gauge, truth)| gauge != truth)
        .collect();
    if states.is_empty() {
        return Ok(());
    }
    let sockets = states.iter().map(|(_, gauge, truth)| gauge.abs_diff(*truth)).sum();
    Err(Difference { sockets, states })
}

/// What came into and went out of each state follows from the matrix: an event that moves nothing counts in neither.
fn assert_flows_match_transitions(snapshot: &Snapshot, label: &str) {
    for state in State::GAUGES {
        let Some(Gauge { entered: Some(entered), left: Some(left), .. }) = snapshot.gauge(state)
        else {
            continue;
        };
        let others = || State::ALL.into_iter().filter(|&other| other != state);
        let came: u64 = others().map(|from| snapshot.count(from, state)).sum();
        // A listener stays when its child is born.
        let is_move = |to: &State| (state, *to) != (State::Listen, State::SynRecv);
        let went: u64 = others().filter(is_move).map(|to| snapshot.count(state, to)).sum();
        assert_eq!(
            (entered, left),
            (came, went),
            "{label}: {state} by its counters, and by the matrix"
        );
    }
}
