//! `cargo xtask test` installs everything that the tests need, and then runs the tests. The command
//! also works on a newly installed Debian 12 system.
//!
//! ```text
//! cargo xtask test                 all of `cargo xtask check`; kernel tests on this kernel and, in
//!                                  virtual machines, on the oldest and the newest kernel; the
//!                                  changed faults; 20 s of fuzzing
//! cargo xtask test NAME            tests whose name contains NAME, within a minute after an edit
//! cargo xtask test --all           all kernels and tests in virtual machines, all faults, OTLP, a
//!                                  soak test of 20 minutes, short benchmarks, the Debian package
//! cargo xtask test --faults [NAME] the faults whose name contains NAME; without NAME, all
//!                                  faults, and write xtask/faults.lock
//! cargo xtask test --object FILE   the kernel tests with another object
//! ```
//!
//! `CI=true`, `--all` and `--faults` select the full set-up. The full set-up installs the BPF
//! toolchain. Without the BPF toolchain, the object is not rebuilt and no seeded fault runs.
//!
//! A failed step does not stop the other steps. A test that prints `skipped: CAUSE` counts as
//! skipped. At the end, the report lists the duration of each step in seconds, longest first. The
//! last line of the output is `N passed, N failed, N skipped`. A step without tests, for example
//! formatting, counts as one test.

pub(crate) mod binaries;
pub(crate) mod libtest;
mod mutation;
mod named;
pub(crate) mod report;
mod steps;

use std::{
    env,
    path::{Path, PathBuf},
};

use self::{mutation::Selection, report::Report};
use crate::{check, debian, vm};

/// The environment variable that names the BPF object for the kernel tests. If this variable is not
/// set, the tests use the embedded object.
const OBJECT_VARIABLE: &str = "TCPSTATE_TEST_OBJECT";
/// The environment variable that names the BPF object without log lines.
const NO_LOG_VARIABLE: &str = "TCPSTATE_TEST_OBJECT_NO_LOG";
/// The environment variable that names the directory with Prometheus's programs.
const PROMETHEUS_VARIABLE: &str = "TCPSTATE_TEST_PROMETHEUS";

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only the tests whose name contains this text
    filter: Option<String>,
    /// Run everything, on every kernel
    #[arg(long, conflicts_with_all = ["filter", "faults", "object"])]
    all: bool,
    /// Run only the faults seeded into the kernel half
    #[arg(long)]
    faults: bool,
    /// Run the kernel tests with this object instead of the embedded object
    #[arg(long, value_name = "FILE", conflicts_with = "faults")]
    object: Option<PathBuf>,
}

/// Runs the tests and prints the counts. Returns `true` if no test failed.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    let mut report = Report::default();
    let filter = options.filter.as_deref();
    if options.faults {
        let tools = steps::set_up(root, &mut report, true);
        let selection = filter.map_or(Selection::All, Selection::Named);
        steps::faults(root, selection, tools.as_ref(), &mut report);
    } else if let Some(name) = filter {
        named::run(root, name, options.object.as_deref(), &mut report);
    } else if let Some(object) = &options.object {
        steps::on_object(root, object, &mut report);
    } else {
        tiers(root, options.all, &mut report);
    }
    println!("{report}");
    report.is_success()
}

/// Runs all steps of `cargo xtask test`, or all steps of `cargo xtask test --all` if `is_all` is
/// set.
fn tiers(root: &Path, is_all: bool, report: &mut Report) {
    let is_ci = env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    let tools = steps::set_up(root, report, is_all || is_ci);
    let tools = tools.as_ref();
    check::steps(root, report);
    let rebuilt = steps::object(root, tools, report);
    steps::kernel_tests(root, tools, rebuilt, is_all, report);
    if is_all {
        steps::otlp(root, report);
    }
    steps::fuzz(root, is_all, report);
    let selection = if is_all { Selection::All } else { Selection::Changed };
    steps::faults(root, selection, tools, report);
    // Start the guests only after the tests of the seeded faults have ended. On a busy machine some
    // kernels lose more events, and lost events would hide small seeded faults.
    if debian::is_debian() {
        report.tests("virtual machines", || vm::gate(root, is_all));
    } else {
        report.skip("virtual machines", "they need Debian's kernels");
    }
    if is_all {
        steps::long(root, report);
    }
}
