//! `cargo xtask test`: the tests, after all set-up, on a bare Debian 12 too.
//!
//! ```text
//! cargo xtask test                 the gate: all of `cargo xtask check`, the kernel tests here, on the oldest and on the
//!                                  newest kernel in virtual machines, the seeded faults that changed, 20 s of fuzzing
//! cargo xtask test NAME            only tests whose name contains NAME, within a minute of an edit
//! cargo xtask test --all           everything: every kernel and test in virtual machines, every fault, OTLP, a short
//!                                  soak, the benchmarks in small, the Debian package in a chroot
//! cargo xtask test --faults [NAME] only the faults (whose name contains NAME); without NAME, writes xtask/faults.lock
//! cargo xtask test --object FILE   the kernel tests on another object
//! ```
//!
//! `CI=true`, `--all` and `--faults` ask for the full set-up: they install the BPF toolchain, without which the
//! object is not rebuilt and no fault is run.
//!
//! A failing step does not keep the others from running. A test that prints `skipped: CAUSE` counts as skipped.
//! At the end the seconds of each step are listed, the longest first. The last line is
//! `N passed, N failed, N skipped`; a step that is no test, like formatting, counts as one.

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

/// Names the object for the kernel tests to load instead of the embedded one.
const OBJECT_VARIABLE: &str = "TCPSTATE_TEST_OBJECT";
/// Names the object without log lines.
const NO_LOG_VARIABLE: &str = "TCPSTATE_TEST_OBJECT_NO_LOG";
/// Names the folder with Prometheus' programs.
const PROMETHEUS_VARIABLE: &str = "TCPSTATE_TEST_PROMETHEUS";

/// Which tests to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Run everything, on every kernel.
    #[arg(long, conflicts_with_all = ["filter", "faults", "object"])]
    all: bool,
    /// Run only the faults seeded into the kernel half.
    #[arg(long)]
    faults: bool,
    /// Run the kernel tests on this object, not on the embedded one.
    #[arg(long, value_name = "FILE", conflicts_with = "faults")]
    object: Option<PathBuf>,
}

/// Runs the tests, prints the counts, and says whether nothing failed.
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

/// The gate, or everything.
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
    steps::fuzz(root, report);
    let selection = if is_all { Selection::All } else { Selection::Changed };
    steps::faults(root, selection, tools, report);
    // Not at the same time as the faults: with the processors busy some kernels lose more events, and then small
    // faults do not stand out.
    if debian::is_debian() {
        report.tests("virtual machines", || vm::gate(root, is_all));
    } else {
        report.skip("virtual machines", "the kernels that they run are Debian's");
    }
    if is_all {
        steps::long(root, report);
    }
}
