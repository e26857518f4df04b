//! `cargo xtask test --faults`: builds the kernel half with one fault at a time, and expects a test to notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Run, binaries::Binary, libtest::Outcome, report::Report};
use crate::{
    bpf::Copy,
    faults::{FAULTS, Fault},
    object::{Variant, build_object},
    toolchain::Toolchain,
};

/// How a test's message begins that could not load the faulty program: it noticed nothing.
const REFUSED: &str = "load BPF program";

/// One fault and what came of it.
struct Row {
    fault: &'static Fault,
    verdict: Verdict,
}

enum Verdict {
    /// These tests turned red, the first of them with this message.
    Detected {
        tests: Vec<String>,
        reason: String,
    },
    NotDetected,
    /// The tests that would notice cannot run here.
    Skipped(String),
    Broken(String),
}

/// Runs the faults whose names contain `filter`.
pub(crate) fn run(
    root: &Path,
    tools: &Toolchain,
    binaries: &[Binary],
    filter: &str,
    report: &mut Report,
) {
    let faults: Vec<&Fault> = FAULTS.iter().filter(|fault| fault.name.contains(filter)).collect();
    let Some((copy, healthy)) = report.prepare("faults: their tests on the healthy object", || {
        let copy = Copy::of(root)?;
        let object = build_object(tools, &copy.sources, Variant::Default, &copy.target)?;
        let healthy = healthy(binaries, &faults, &object)?;
        Ok((copy, healthy))
    }) else {
        return;
    };

    let mut rows = Vec::new();
    for fault in faults {
        println!("\n== fault {}: {}", fault.name, fault.why);
        let verdict = unusable(fault, &healthy).unwrap_or_else(|| {
            seeded(root, tools, binaries, fault, &copy)
                .unwrap_or_else(|error| Verdict::Broken(format!("{error:#}")))
        });
        rows.push(Row { fault, verdict });
    }
    table(&rows);
    for row in rows {
        let name = format!("fault {}", row.fault.name);
        match row.verdict {
            Verdict::Skipped(cause) => report.skip(&name, &cause),
            verdict => report.add(name, matches!(verdict, Verdict::Detected { .. })),
        }
    }
}

/// What a test says without any fault.
enum Healthy {
    Passes,
    /// With the cause.
    Skipped(String),
    /// Its failing on a faulty object would say nothing, or it is not there at all.
    Useless(String),
}

/// Runs all the tests that are to notice some fault.
fn healthy(
    binaries: &[Binary],
    faults: &[&Fault],
    object: &Path,
) -> Result<BTreeMap<&'static str, Healthy>> {
    let names: BTreeSet<&'static str> =
        faults.iter().flat_map(|fault| fault.red).copied().collect();
    let mut healthy = BTreeMap::new();
    for name in names {
        let outcome = run_tests(binaries, &[name], object, false)?;
        let state = if !outcome.failed.is_empty() {
            Healthy::Useless(format!("`{name}` fails without the fault"))
        } else if outcome.passed > 0 {
            Healthy::Passes
        } else if outcome.skipped.is_empty() {
            Healthy::Useless(format!("no test has `{name}` in its name"))
        } else {
            Healthy::Skipped(outcome.skipped.join("; "))
        };
        healthy.insert(name, state);
    }
    Ok(healthy)
}

/// What to say of a fault without seeding it: some test of it is no judge, or all of them are skipped.
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

/// Builds with the fault, and runs its tests.
fn seeded(
    root: &Path,
    tools: &Toolchain,
    binaries: &[Binary],
    fault: &Fault,
    copy: &Copy,
) -> Result<Verdict> {
    let healthy = fault.seed(&copy.sources)?;
    let built = build_object(tools, &copy.sources, Variant::Default, &copy.target);
    fault.heal(&copy.sources, &healthy)?;
    let object = keep(&built.context("the faulty sources do not compile")?, root, fault)?;
    let outcome = run_tests(binaries, fault.red, &object, true)?;
    let reason = outcome.reason.unwrap_or_default();
    Ok(if outcome.failed.is_empty() {
        Verdict::NotDetected
    } else if reason.starts_with(REFUSED) {
        Verdict::Broken(format!("the verifier noticed, not the tests: {reason}"))
    } else {
        Verdict::Detected { tests: outcome.failed, reason }
    })
}

/// The next build overwrites the object.
fn keep(built: &Path, root: &Path, fault: &Fault) -> Result<PathBuf> {
    let folder = root.join("target/faults");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let object = folder.join(fault.name).with_extension("o");
    fs::copy(built, &object).with_context(|| format!("write {}", object.display()))?;
    Ok(object)
}

fn run_tests(
    binaries: &[Binary],
    names: &[&str],
    object: &Path,
    is_terse: bool,
) -> Result<Outcome> {
    let run = Run {
        filters: names.iter().map(ToString::to_string).collect(),
        variables: vec![(OsString::from(super::OBJECT_VARIABLE), object.into())],
        is_kernel_test: true,
        is_terse,
    };
    let mut outcome = Outcome::default();
    for binary in binaries {
        outcome.merge(binary.run(&run)?);
    }
    Ok(outcome)
}

fn table(rows: &[Row]) {
    println!("\n{:<26} {:<13} test that turned red", "fault", "verdict");
    for Row { fault, verdict } in rows {
        let (verdict, detail) = match verdict {
            Verdict::Detected { tests, reason } => {
                ("ok", format!("{}: {reason}", tests.join(", ")))
            }
            Verdict::NotDetected => ("NOT DETECTED", format!("none of {}", fault.red.join(", "))),
            Verdict::Skipped(cause) => ("skipped", cause.clone()),
            Verdict::Broken(error) => ("BROKEN", error.clone()),
        };
        println!("{:<26} {verdict:<13} {detail}", fault.name);
    }
}
