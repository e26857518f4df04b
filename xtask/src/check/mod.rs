//! `cargo xtask check` runs the quick checks. After a first build, the checks take at most three
//! minutes.
//!
//! The command runs all checks that need neither root nor BPF:
//!
//! * formatting, lints of the user half and the kernel half, and the structure of the sources
//! * the lock file of the BPF object
//! * unit tests, and golden tests of views and documents
//!
//! `cargo xtask test` begins with the steps of `cargo xtask check`. A failed step does not stop the
//! other steps.

mod cycles;
mod graph;
mod layers;
mod links;
mod modules;
mod prose;
mod sizes;
mod structure;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{
    bpf, kernel_tests, object, process,
    test::{
        binaries::{self, Binary, Run},
        libtest::Outcome,
        report::Report,
    },
};

/// Tests outside the library that need neither root nor BPF. Each entry has the name of a test
/// program, and parts of the names of the tests to run. The empty text selects all tests of the
/// program.
const GOLDEN: [(&str, &[&str]); 2] = [
    ("views", &[""]),
    (
        "command",
        &[
            "explain_",
            "recordings_in_the_tree",
            "errors_have_a_row_and_a_test_each",
            "guide_screen",
        ],
    ),
];

/// Runs all steps of `cargo xtask check` and prints the counts. Returns whether all steps passed.
pub(crate) fn run(root: &Path) -> bool {
    let mut report = Report::default();
    report.prepare("components of Rust", || rust_components(root));
    sources(root, &mut report);
    report.check("BPF object", || {
        // Only compare the hashes in the lock file. `cargo xtask test` also rebuilds the object.
        let verdict = bpf::check(root, None)?;
        println!("{verdict}");
        Ok(())
    });
    let programs: Vec<&str> = GOLDEN.iter().flat_map(|(name, _)| ["--test", name]).collect();
    if let Some(binaries) = unit_tests(root, &programs, &mut report) {
        golden(&binaries, &mut report);
    }
    println!("{report}");
    report.is_success()
}

/// Runs the first steps of `cargo xtask test`. The golden tests run later, together with the other
/// tests in the same programs.
pub(crate) fn steps(root: &Path, report: &mut Report) {
    sources(root, report);
    unit_tests(root, &[], report);
}

/// Runs the checks of the source text.
fn sources(root: &Path, report: &mut Report) {
    report.check("format", || {
        process::run(process::cargo(root).args(["fmt", "--all", "--", "--check", "--color=never"]))
    });
    structure::check(root, report);
    report.check("lints", || lints(root));
    report.check("lints of the kernel half", || object::lint(root));
}

/// Installs rustfmt and clippy, which are missing in rustup's minimal profile.
pub(crate) fn rust_components(root: &Path) -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if process::read(process::cargo(root).args([subcommand, "--version"])).is_err() {
            process::run(
                process::command("rustup").args(["component", "add", component]).current_dir(root),
            )?;
        }
    }
    Ok(())
}

/// Runs clippy twice on the user half. The first run enables the features of all packages. The
/// second run checks the few lines that exist only without the feature `otlp`. The two runs of
/// clippy share all compiled dependencies.
fn lints(root: &Path) -> Result<()> {
    let whole = ["--workspace", "--exclude", "tcpstate-ebpf", "--all-targets"];
    for packages in [&whole[..], &["--package", "tcpstate", "--lib"]] {
        let mut clippy = process::cargo(root);
        clippy
            .args(["clippy", "--quiet", "--keep-going"])
            .args(packages)
            .args(["--", "-D", "warnings"]);
        process::run(&mut clippy)?;
    }
    Ok(())
}

/// Runs the unit tests. Also builds and returns the test programs that `programs` selects. One
/// cargo command builds the unit tests and the test programs, so cargo builds the shared
/// dependencies only once.
fn unit_tests(root: &Path, programs: &[&str], report: &mut Report) -> Option<Vec<Binary>> {
    let targets = ["--workspace", "--lib", "--bins", "--examples"];
    let excluded = ["tcpstate-ebpf", "tcpstate-fuzz", kernel_tests::OTLP_PACKAGE];
    let exclusions = excluded.iter().flat_map(|package| ["--exclude", package]);
    let arguments: Vec<&str> =
        targets.into_iter().chain(exclusions).chain(programs.iter().copied()).collect();
    let binaries = report.prepare("build tests", || binaries::build(root, &arguments))?;
    let (others, units): (Vec<Binary>, Vec<Binary>) =
        binaries.into_iter().partition(|binary| binary.name.contains(" test "));
    for binary in units {
        report.tests(&binary.name, || binary.run(&Run::default()));
    }
    Some(others)
}

fn golden(binaries: &[Binary], report: &mut Report) {
    for (name, parts) in GOLDEN {
        for part in parts {
            let title = format!("golden tests: {name} {part}");
            report.tests(title.trim_end(), || {
                let whole = format!("tcpstate test {name}");
                let binary = binaries.iter().find(|binary| binary.name == whole);
                let binary = binary.with_context(|| format!("no test program {name}"))?;
                let outcome =
                    binary.run(&Run { filters: vec![(*part).to_owned()], ..Run::default() })?;
                if outcome == Outcome::default() {
                    bail!("no test of {name} has `{part}` in its name");
                }
                Ok(outcome)
            });
        }
    }
}
