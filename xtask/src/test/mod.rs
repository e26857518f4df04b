//! `cargo xtask test`: every test, after all set-up, on a bare Debian 12 too.
//!
//! ```text
//! cargo xtask test                 formatting, lints, the object's lock file, unit and kernel tests, 20 s of fuzzing
//! cargo xtask test NAME            only tests whose name contains NAME; those of the feature otlp by a NAME with otlp in it
//! cargo xtask test --full          installs the BPF toolchain, so that the object is rebuilt
//! cargo xtask test --vm            on other kernels too, in virtual machines; `CI=true` adds this, the rebuilt object
//!                                  and the faults
//! cargo xtask test --faults [NAME] only the faults (whose name contains NAME)
//! cargo xtask test --object FILE   the kernel tests on another object
//! ```
//!
//! A failing step does not keep the others from running. A test that prints `skipped: CAUSE` counts as skipped. The
//! last line is `N passed, N failed, N skipped`; a step that is no test, like formatting, counts as one.

pub(crate) mod binaries;
pub(crate) mod libtest;
mod mutation;
mod report;

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use self::{
    binaries::{Binary, Run},
    libtest::Outcome,
    report::Report,
};
use crate::{
    bpf::{self, Verdict},
    debian, fuzz, kernel_tests,
    object::Variant,
    process, prometheus,
    toolchain::Toolchain,
    vm,
};

/// Names the object for the kernel tests to load instead of the embedded one.
const OBJECT_VARIABLE: &str = "TCPSTATE_TEST_OBJECT";
/// Names the object without log lines.
const NO_LOG_VARIABLE: &str = "TCPSTATE_TEST_OBJECT_NO_LOG";
/// Names the folder with Prometheus' programs.
const PROMETHEUS_VARIABLE: &str = "TCPSTATE_TEST_PROMETHEUS";
/// Packages with programs that tests run.
const DEBIAN_PACKAGES: &[&str] = &["bpftool", "ca-certificates", "iproute2", "jq", "procps"];
/// What those programs are called elsewhere.
const PROGRAMS: &[&str] = &["bpftool", "ip", "jq", "ss"];

/// Which tests to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Install the BPF toolchain if it is missing: with it, the object is rebuilt for a comparison.
    #[arg(long)]
    full: bool,
    /// Run only the faults seeded into the kernel half.
    #[arg(long)]
    faults: bool,
    /// Run the kernel tests on other kernels too.
    #[arg(long, conflicts_with_all = ["filter", "faults", "object"])]
    vm: bool,
    /// Run the kernel tests on this object, not on the embedded one.
    #[arg(long, value_name = "FILE", conflicts_with = "faults")]
    object: Option<PathBuf>,
}

/// Runs the tests, prints the counts, and says whether nothing failed.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    let mut report = Report::default();
    let is_ci = env::var("CI").is_ok_and(|value| value == "true" || value == "1")
        && options.filter.is_none();
    let tools = set_up(root, &mut report, options.full || options.faults || is_ci);
    if !options.faults {
        tests(root, options, tools.as_ref(), &mut report);
    }
    if !options.faults && options.filter.is_none() {
        report.tests("fuzz", || fuzz::gate(root));
    }
    if options.faults || is_ci {
        faults(root, options, tools.as_ref(), &mut report);
    }
    // Not beside the faults: with the processors busy some kernels lose more events, and then small faults do not stand out.
    if options.vm || is_ci {
        report.tests("virtual machines", || vm::gate(root));
    }
    println!("{report}");
    report.is_success()
}

/// Installs what the tests run, and returns the tools for BPF: those that are there, or, if they are `wanted`, after
/// an installation.
fn set_up(root: &Path, report: &mut Report, wanted: bool) -> Option<Toolchain> {
    report
        .prepare("set-up", || {
            rust_components(root)?;
            if debian::is_debian() {
                debian::install(DEBIAN_PACKAGES)?;
            }
            for program in PROGRAMS {
                if process::find_in_path(program).is_none()
                    && !Path::new("/usr/sbin").join(program).exists()
                {
                    println!("no {program}: the tests that need it will say so");
                }
            }
            if wanted { Toolchain::provision().map(Some) } else { Ok(Toolchain::find().ok()) }
        })
        .flatten()
}

/// Rustup's minimal profile lacks them.
fn rust_components(root: &Path) -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if process::read(process::cargo(root).args([subcommand, "--version"])).is_err() {
            process::run(
                process::command("rustup").args(["component", "add", component]).current_dir(root),
            )?;
        }
    }
    Ok(())
}

fn tests(root: &Path, options: &Options, tools: Option<&Toolchain>, report: &mut Report) {
    let mut rebuilt = None;
    if options.filter.is_none() {
        sources(root, report);
        rebuilt = object(root, tools, report);
    }
    let filters: Vec<String> = options.filter.iter().cloned().collect();
    unit_tests(root, &filters, report);
    let Some(binaries) = report.prepare("build kernel tests", || build_kernel_tests(root)) else {
        return;
    };
    let variables = variables(root, tools, report);
    let mut run = Run { filters, variables, is_kernel_test: true, ..Run::default() };
    // Half a minute of building, which a test of another name is spared.
    let is_meant = options.filter.as_ref().is_none_or(|filter| filter.contains("otlp"));
    if is_meant
        && options.object.is_none()
        && let Some(binaries) = report.prepare("build with OTLP", || {
            binaries::build_by(&mut kernel_tests::cargo_with_otlp(root))
        })
    {
        run_kernel_tests(&binaries, &run, "", report);
    }
    if let Some(given) = &options.object {
        let canonical =
            || fs::canonicalize(given).with_context(|| format!("open {}", given.display()));
        if let Some(object) = report.prepare("open the object", canonical) {
            run.variables.push((OBJECT_VARIABLE.into(), object.into()));
            run_kernel_tests(&binaries, &run, " on the object given", report);
        }
        return;
    }
    run_kernel_tests(&binaries, &run, "", report);
    // The embedded one was the first; now the one that other tools made of the same sources.
    if let Some(rebuilt) = rebuilt {
        run.variables.push((OBJECT_VARIABLE.into(), rebuilt.into()));
        run_kernel_tests(&binaries, &run, " on the rebuilt object", report);
    }
}

/// Looks how the sources are written.
fn sources(root: &Path, report: &mut Report) {
    report.check("format", || {
        process::run(process::cargo(root).args(["fmt", "--all", "--", "--check", "--color=never"]))
    });
    report.check("lints", || {
        let arguments = ["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"];
        process::run(process::cargo(root).args(arguments))?;
        // No default member, for it can only be linked with libFuzzer.
        let of_fuzzer = ["clippy", "--quiet", "--package", "tcpstate-fuzz", "--", "-D", "warnings"];
        process::run(process::cargo(root).args(of_fuzzer))?;
        // Nor this one, which has the feature with it.
        let of_otlp = ["clippy", "--quiet", "--package", kernel_tests::OTLP_PACKAGE];
        let rest = ["--all-targets", "--", "-D", "warnings"];
        process::run(process::cargo(root).args(of_otlp).args(rest))
    });
}

fn unit_tests(root: &Path, filters: &[String], report: &mut Report) {
    let unit = Run { filters: filters.to_vec(), ..Run::default() };
    let arguments = [
        "--workspace",
        "--exclude",
        "tcpstate-ebpf",
        "--exclude",
        "tcpstate-fuzz",
        "--exclude",
        "tcpstate-tests",
        "--exclude",
        kernel_tests::OTLP_PACKAGE,
        "--lib",
        "--bins",
        "--examples",
    ];
    if let Some(binaries) = report.prepare("build unit tests", || binaries::build(root, &arguments))
    {
        for binary in binaries {
            report.tests(&binary.name, || binary.run(&unit));
        }
    }
    report.tests("doc tests", || doc_tests(root, filters));
}

/// What kernel tests are given besides, as far as it can be had.
fn variables(
    root: &Path,
    tools: Option<&Toolchain>,
    report: &mut Report,
) -> Vec<(OsString, OsString)> {
    let mut variables = Vec::new();
    if let Some(tools) = tools
        && let Some(object) = report.prepare("build the object without log", || {
            bpf::build_variant(root, tools, Variant::NoLog)
        })
    {
        variables.push((NO_LOG_VARIABLE.into(), object.into()));
    }
    if let Some(programs) = prometheus::provide(root) {
        variables.push((PROMETHEUS_VARIABLE.into(), programs.into()));
    }
    variables
}

/// Compares the object with its sources; returns the rebuilt one if that is another, and needs tests of its own.
fn object(root: &Path, tools: Option<&Toolchain>, report: &mut Report) -> Option<PathBuf> {
    let verdict = report.check("BPF object", || {
        // If a full check has no tools, the set-up has failed already.
        let verdict = bpf::check(root, tools)?;
        println!("{verdict}");
        Ok(verdict)
    })?;
    match verdict {
        Verdict::OtherTools { rebuilt, .. } => Some(rebuilt),
        Verdict::Identical { .. } | Verdict::SourcesMatch => None,
    }
}

fn doc_tests(root: &Path, filters: &[String]) -> Result<Outcome> {
    let mut cargo = process::cargo(root);
    cargo
        .args(["test", "--quiet", "--doc", "--workspace"])
        .args(["--exclude", "tcpstate-ebpf", "--exclude", "tcpstate-fuzz"])
        .args(["--exclude", kernel_tests::OTLP_PACKAGE, "--"])
        .args(filters);
    // Without it, cargo's --quiet asks for dots instead of names.
    cargo.arg("--format=pretty").arg("--show-output");
    binaries::follow(&mut cargo, false, |child| {
        let _ = child.kill();
    })
}

/// The unit tests of the same packages run elsewhere.
fn build_kernel_tests(root: &Path) -> Result<Vec<Binary>> {
    let mut binaries = binaries::build_by(&mut kernel_tests::cargo(root))?;
    binaries.retain(|binary| binary.kind == "test" || binary.package == kernel_tests::FOLDER);
    Ok(binaries)
}

fn run_kernel_tests(binaries: &[Binary], run: &Run, suffix: &str, report: &mut Report) {
    for binary in binaries {
        report.tests(&format!("{}{suffix}", binary.name), || binary.run(run));
    }
}

fn faults(root: &Path, options: &Options, tools: Option<&Toolchain>, report: &mut Report) {
    // Without tools the set-up has failed, and said why.
    let Some(tools) = tools else { return };
    let build = || build_kernel_tests(root);
    let Some(mut binaries) = report.prepare("build the tests that notice faults", build) else {
        return;
    };
    binaries.retain(|binary| binary.package == kernel_tests::FOLDER);
    let filter = options.filter.as_deref().unwrap_or_default();
    mutation::run(root, tools, &binaries, filter, report);
}
