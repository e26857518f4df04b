//! A tracer under test, and the comparison with the truth.

use std::{env, fs, path::PathBuf};

use tcpstate::{aggregate::Snapshot, probe::Options, tracer::Tracer};
use tcpstate_common::State;

use crate::{audit::Audit, truth};

/// Names an object to test instead of the embedded one: how faults are seeded.
const OBJECT_VARIABLE: &str = "TCPSTATE_TEST_OBJECT";

/// A tracer of the thread's namespace, and the means to tell a fault from a kernel that keeps events from BPF.
pub struct Traced {
    /// The tracer.
    pub tracer: Tracer,
    audit: Audit,
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
        Self { tracer, audit }
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

    /// Asserts that each gauge equals the number of full sockets in its state, while nothing moves.
    ///
    /// A pass may help, once, if the kernel or the tracer says that something was missed; else a difference is a
    /// fault.
    ///
    /// # Panics
    /// If a gauge differs.
    pub fn assert_equal(&mut self, label: &str) {
        let snapshot = self.snapshot();
        let Err(difference) = compare(&snapshot) else { return };
        let uncounted = self.audit.uncounted(&self.tracer);
        assert!(
            snapshot.unreconciled > 0 || uncounted != 0,
            "{label}: {difference}, and nothing was missed"
        );
        println!(
            "{label}: {difference}: unreconciled {}, uncounted {uncounted}: one pass",
            snapshot.unreconciled
        );
        self.reconcile();
        let snapshot = self.snapshot();
        if let Err(difference) = compare(&snapshot) {
            panic!("{label}: {difference}, after a pass too");
        }
    }
}

/// Compares the gauges of full sockets with the truth.
///
/// # Errors
/// The states that differ.
pub fn compare(snapshot: &Snapshot) -> Result<(), String> {
    let sockets = truth::sockets();
    let differences: Vec<String> = State::GAUGES
        .into_iter()
        .filter(|&state| state != State::TimeWait)
        .filter_map(|state| {
            let gauge = snapshot.gauge(state)?.current?;
            let truth = sockets.full[state].cast_signed();
            (gauge != truth).then(|| format!("{state} is {gauge}, the kernel has {truth}"))
        })
        .collect();
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}
