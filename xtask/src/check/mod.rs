//! `cargo xtask check`: the quick tier of the gate, at most three minutes after a first build.
//!
//! It takes what needs neither root nor the kernel: formatting, lints of both halves, the structure of
//! the sources, the lock file of the BPF object, unit tests, and the golden tests of views and
//! documents. `cargo xtask test` begins with the same steps. A step that fails does not keep the
//! others from running.

mod circles;
mod graph;
mod layers;
mod modules;
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
        binaries::{self, Run},
        libtest::Outcome,
        report::Report,
    },
};

/// Tests outside the library that need neither root nor the kernel: the package's test program, and
/// parts of the tests' names. An empty part stands for all tests of the program.
const GOLDEN: [(&str, &[&str]); 2] = [
    ("views", &[""]),
    ("command", &["explain_", "recordings_of_the_tree", "errors_have_a_row_and_a_test_each"]),
];

/// Runs all steps, prints the counts, and says whether all steps passed.
pub(crate) fn run(root: &Path) -> bool {
    let mut report = Report::default();
    report.prepare("components of Rust", || rust_components(root));
    steps(root, &mut report);
    report.check("BPF object", || {
        // `cargo xtask test` rebuilds the object for a comparison; here the hashes have to do.
        let verdict = bpf::check(root, None)?;
        println!("{verdict}");
        Ok(())
    });
    golden(root, &mut report);
    println!("{report}");
    report.is_success()
}

/// The steps with which the gate begins. It runs golden tests later, among all others of their
/// programs.
pub(crate) fn steps(root: &Path, report: &mut Report) {
    report.check("format", || {
        process::run(process::cargo(root).args(["fmt", "--all", "--", "--check", "--color=never"]))
    });
    structure::check(root, report);
    report.check("lints", || lints(root));
    report.check("lints of the kernel half", || object::lint(root));
    unit_tests(root, report);
}

/// Rustup's minimal profile lacks the components that check sources.
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

/// One run of clippy for the whole user half. Features of all packages are on in it, so the few lines
/// that only a build without `otlp` has are read by the second run, which shares all dependencies.
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

fn unit_tests(root: &Path, report: &mut Report) {
    let targets = ["--workspace", "--lib", "--bins", "--examples"];
    let excluded = ["tcpstate-ebpf", "tcpstate-fuzz", kernel_tests::OTLP_PACKAGE];
    let exclusions = excluded.iter().flat_map(|package| ["--exclude", package]);
    let arguments: Vec<&str> = targets.into_iter().chain(exclusions).collect();
    let build = || binaries::build(root, &arguments);
    let Some(binaries) = report.prepare("build unit tests", build) else { return };
    for binary in binaries {
        report.tests(&binary.name, || binary.run(&Run::default()));
    }
}

fn golden(root: &Path, report: &mut Report) {
    let names = GOLDEN.iter().flat_map(|(name, _)| ["--test", name]);
    let arguments: Vec<&str> = ["--package", "tcpstate"].into_iter().chain(names).collect();
    let build = || binaries::build(root, &arguments);
    let Some(binaries) = report.prepare("build golden tests", build) else { return };
    for (name, parts) in GOLDEN {
        for part in parts {
            let title = format!("golden tests: {name} {part}");
            report.tests(title.trim_end(), || {
                let suffix = format!(" {name}");
                let binary = binaries.iter().find(|binary| binary.name.ends_with(&suffix));
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
