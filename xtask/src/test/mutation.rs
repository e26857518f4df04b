//! `cargo xtask test --faults` builds a faulty kernel half for each seeded fault, and verifies that
//! a test fails.
//!
//! ```text
//! table, lock -> chosen faults -> run without fault -> objects (2 at a time) -> runs -> lock
//! ```
//!
//! All faulty objects are built before any test runs. On a busy machine the kernel loses more
//! events, and lost events would hide small seeded faults. The tests of a fault run one by one
//! until the first test fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use anyhow::{Context as _, Result};

use super::{
    binaries::{Binary, Run},
    libtest::Outcome,
    report::Report,
};
use crate::{
    bpf::Copy,
    faults::{
        FAULTS, Fault,
        lock::{self, FaultLock, Found},
    },
    object::{Variant, build_object},
    toolchain::Toolchain,
};

/// The beginning of the error message that a test prints if the kernel refuses the faulty BPF
/// program. If a test fails with this message, the test has not detected the seeded fault.
const REFUSED: &str = "load BPF program";
/// The environment variable that lists the scripted paths for a test. `tests/src/paths` reads the
/// variable.
const PATHS_VARIABLE: &str = "TCPSTATE_TEST_PATHS";
/// The minimum number of seeded faults for which a second copy of the kernel half's sources saves
/// time. Each copy must build `core`, so for a few faults two copies are slower than one copy.
const MANY: usize = 6;

/// Selects the seeded faults that run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Selection<'a> {
    /// Selects the seeded faults whose current hash is not in the lock file.
    Changed,
    /// Selects all seeded faults, and writes the lock file.
    All,
    /// Selects the seeded faults whose name contains this text.
    Named(&'a str),
}

/// Builds an object for each seeded fault with the BPF tools, and runs the fault's tests from the
/// test programs with this object.
pub(crate) struct Judge<'a> {
    pub(crate) root: &'a Path,
    pub(crate) tools: &'a Toolchain,
    pub(crate) binaries: &'a [Binary],
}

/// A seeded fault, and the verdict on this fault.
struct Row {
    fault: &'static Fault,
    hash: String,
    verdict: Verdict,
}

enum Verdict {
    /// A test failed, and so detected the seeded fault.
    Detected {
        test: String,
        reason: String,
    },
    NotDetected,
    /// The tests that must detect the seeded fault cannot run on this machine.
    Skipped(String),
    Broken(String),
}

impl Verdict {
    fn found(&self) -> Found {
        match self {
            Self::Detected { .. } => Found::Detected,
            Self::Skipped(_) => Found::Skipped,
            Self::NotDetected | Self::Broken(_) => Found::Not,
        }
    }
}

/// A seeded fault to run, and the hash of this fault.
type Chosen = (&'static Fault, String);
/// For the name of each seeded fault, the BPF object with this fault.
type Objects = BTreeMap<&'static str, Result<PathBuf>>;

/// Runs the tests with each selected fault, and reports each seeded fault as a check.
pub(crate) fn run(judge: &Judge<'_>, selection: Selection<'_>, report: &mut Report) {
    let Some((known, faults)) = report.prepare("choose faults", || choose(judge.root, selection))
    else {
        return;
    };
    if faults.is_empty() {
        return;
    }
    let Some(healthy) =
        report.prepare("tests of faults without a fault", || judge.healthy(&faults))
    else {
        return;
    };
    let usable: Vec<&Fault> = faults
        .iter()
        .filter_map(|&(fault, _)| unusable(fault, &healthy).is_none().then_some(fault))
        .collect();
    let Some(mut objects) = report.prepare("build faulty objects", || judge.build(&usable)) else {
        return;
    };
    let rows = report.prepare("faults", || Ok(judge.rows(faults, &healthy, &mut objects)));
    let rows = rows.unwrap_or_default();
    table(&rows);
    for Row { fault, verdict, .. } in &rows {
        let name = format!("fault {}", fault.name);
        match verdict {
            Verdict::Skipped(cause) => report.skip(&name, cause),
            verdict => report.add(name, verdict.found() == Found::Detected),
        }
    }
    if matches!(selection, Selection::All) {
        let found: Vec<(&str, &str, Found)> =
            rows.iter().map(|row| (row.fault.name, &*row.hash, row.verdict.found())).collect();
        report.prepare("write the lock file of faults", || known.after(&found).write(judge.root));
    }
}

/// Returns the content of the lock file, and the seeded faults that run.
fn choose(root: &Path, selection: Selection<'_>) -> Result<(FaultLock, Vec<Chosen>)> {
    let known = FaultLock::read(root)?;
    let mut chosen = Vec::new();
    for fault in FAULTS {
        let hash = lock::hash(root, fault)?;
        let is_chosen = match selection {
            Selection::Changed => !known.holds(fault.name, &hash),
            Selection::All => true,
            Selection::Named(part) => fault.name.contains(part),
        };
        if is_chosen {
            chosen.push((fault, hash));
        }
    }
    println!("running {} of {} faults", chosen.len(), FAULTS.len());
    Ok((known, chosen))
}

impl Judge<'_> {
    /// Builds a BPF object for each seeded fault. The faults are seeded into one copy of the kernel
    /// half's sources, or into two copies in parallel.
    fn build(&self, faults: &[&'static Fault]) -> Result<Objects> {
        let mut copies = vec![Copy::of(self.root)?];
        if faults.len() >= MANY {
            copies.push(Copy::second(self.root)?);
        }
        let waiting = Mutex::new(faults.iter());
        let objects = Mutex::new(Objects::new());
        let work = |copy: &Copy| {
            let next = || waiting.lock().expect("no thread panics with the lock").next();
            while let Some(fault) = next() {
                let object = self.faulty(fault, copy);
                println!(
                    "fault {}: {}",
                    fault.name,
                    if object.is_ok() { "built" } else { "not built" }
                );
                objects.lock().expect("no thread panics meanwhile").insert(fault.name, object);
            }
        };
        thread::scope(|scope| {
            let work = &work;
            for copy in &copies {
                scope.spawn(move || work(copy));
            }
        });
        Ok(objects.into_inner().expect("no thread panicked"))
    }

    fn faulty(&self, fault: &Fault, copy: &Copy) -> Result<PathBuf> {
        let healthy = fault.seed(&copy.sources)?;
        let built = build_object(self.tools, &copy.sources, Variant::Default, &copy.target);
        fault.heal(&copy.sources, &healthy)?;
        keep(&built.context("the faulty sources do not compile")?, self.root, fault.name)
    }

    /// Builds the correct object, and runs all tests that the seeded faults name with this object.
    fn healthy(&self, faults: &[Chosen]) -> Result<BTreeMap<&'static str, Healthy>> {
        let copy = Copy::of(self.root)?;
        let built = build_object(self.tools, &copy.sources, Variant::Default, &copy.target)?;
        let object = keep(&built, self.root, "healthy")?;
        let names: BTreeSet<&'static str> =
            faults.iter().flat_map(|(fault, _)| fault.red).copied().collect();
        let mut healthy = BTreeMap::new();
        for name in names {
            let run = Run { filters: vec![name.to_owned()], ..on(&object, &[]) };
            let mut outcome = Outcome::default();
            for binary in self.binaries {
                outcome.merge(binary.run(&run)?);
            }
            healthy.insert(name, Healthy::of(name, &outcome));
        }
        Ok(healthy)
    }

    fn rows(
        &self,
        faults: Vec<Chosen>,
        healthy: &BTreeMap<&str, Healthy>,
        objects: &mut Objects,
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        for (fault, hash) in faults {
            println!("\n-- fault {}: {}", fault.name, fault.why);
            let verdict = unusable(fault, healthy).unwrap_or_else(|| {
                let object = objects.remove(fault.name).context("no object was built");
                let judged = object.and_then(|object| self.judge(fault, &object?));
                judged.unwrap_or_else(|error| Verdict::Broken(format!("{error:#}")))
            });
            rows.push(Row { fault, hash, verdict });
        }
        rows
    }

    /// Runs the fault's tests on the fault's scripted paths. If no test fails on the scripted paths
    /// of the fault, runs the tests on all paths.
    fn judge(&self, fault: &Fault, object: &Path) -> Result<Verdict> {
        let paths = fault.paths();
        let verdict = self.first_red(fault, &on(object, paths))?;
        if matches!(verdict, Verdict::NotDetected) && !paths.is_empty() {
            println!("not detected on the paths {}; running all paths", paths.join(", "));
            return self.first_red(fault, &on(object, &[]));
        }
        Ok(verdict)
    }

    /// Runs the fault's tests one by one, until the first test fails.
    fn first_red(&self, fault: &Fault, run: &Run) -> Result<Verdict> {
        let filters: Vec<String> = fault.red.iter().map(ToString::to_string).collect();
        for binary in self.binaries {
            for test in binary.list(&filters)? {
                let run = Run {
                    filters: vec![test.clone()],
                    is_exact: true,
                    is_terse: true,
                    ..run.clone()
                };
                let outcome = binary.run(&run)?;
                if outcome.failed.is_empty() {
                    continue;
                }
                let reason = outcome.reason.unwrap_or_default();
                return Ok(if reason.starts_with(REFUSED) {
                    Verdict::Broken(format!("the verifier rejected the object: {reason}"))
                } else {
                    Verdict::Detected { test, reason }
                });
            }
        }
        Ok(Verdict::NotDetected)
    }
}

/// The result of a test that ran with the correct object.
enum Healthy {
    Passes,
    /// The test was skipped. The text of this variant is the cause of the skip.
    Skipped(String),
    /// The test cannot detect a seeded fault, because the test does not exist or fails with the
    /// correct object too.
    Useless(String),
}

impl Healthy {
    fn of(name: &str, outcome: &Outcome) -> Self {
        if !outcome.failed.is_empty() {
            Self::Useless(format!("`{name}` fails without the fault"))
        } else if outcome.passed > 0 {
            Self::Passes
        } else if outcome.skipped.is_empty() {
            Self::Useless(format!("no test has `{name}` in its name"))
        } else {
            Self::Skipped(outcome.skipped.join("; "))
        }
    }
}

/// Returns the verdict on a seeded fault without a run, if a test of the fault is useless or all
/// tests of the fault are skipped.
fn unusable(fault: &Fault, healthy: &BTreeMap<&str, Healthy>) -> Option<Verdict> {
    let mut causes = Vec::new();
    for state in fault.red.iter().filter_map(|red| healthy.get(red)) {
        match state {
            Healthy::Useless(why) => return Some(Verdict::Broken(why.clone())),
            Healthy::Skipped(cause) => causes.push(cause.as_str()),
            Healthy::Passes => {}
        }
    }
    (causes.len() == fault.red.len()).then(|| Verdict::Skipped(causes.join("; ")))
}

/// Returns the options for a run of tests with an object. The tests use the scripted paths `paths`,
/// or all paths if the list is empty.
fn on(object: &Path, paths: &[&str]) -> Run {
    let mut variables = vec![(OsString::from(super::OBJECT_VARIABLE), object.into())];
    if !paths.is_empty() {
        variables.push((PATHS_VARIABLE.into(), paths.join(",").into()));
    }
    Run { variables, is_kernel_test: true, ..Run::default() }
}

/// Copies the built object, because the next build overwrites the file.
fn keep(built: &Path, root: &Path, name: &str) -> Result<PathBuf> {
    let folder = root.join("target/faults");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let object = folder.join(name).with_extension("o");
    fs::copy(built, &object).with_context(|| format!("write {}", object.display()))?;
    Ok(object)
}

fn table(rows: &[Row]) {
    println!("\n{:<26} {:<13} failed test", "fault", "verdict");
    for Row { fault, verdict, .. } in rows {
        let (verdict, detail) = match verdict {
            Verdict::Detected { test, reason } => ("ok", format!("{test}: {reason}")),
            Verdict::NotDetected => ("NOT DETECTED", format!("none of {}", fault.red.join(", "))),
            Verdict::Skipped(cause) => ("skipped", cause.clone()),
            Verdict::Broken(error) => ("BROKEN", error.clone()),
        };
        println!("{:<26} {verdict:<13} {detail}", fault.name);
    }
}
