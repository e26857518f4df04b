//! Defines the steps of `cargo xtask test`. The report lists each step with its duration.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};

use super::{
    NO_LOG_VARIABLE, OBJECT_VARIABLE, PROMETHEUS_VARIABLE,
    binaries::{self, Binary, Run},
    mutation::{self, Judge, Selection},
    report::Report,
};
use crate::{
    bench,
    bpf::{self, Verdict},
    check, debian, dist, fuzz, kernel_tests,
    object::Variant,
    process, prometheus, soak,
    toolchain::Toolchain,
};

/// Debian packages that contain the programs for the tests.
const DEBIAN_PACKAGES: &[&str] =
    &["bpftool", "ca-certificates", "curl", "iproute2", "jq", "procps"];
/// The names of the programs that the tests run.
const PROGRAMS: &[&str] = &["bpftool", "curl", "ip", "jq", "ss"];

/// Parts of the names of slow tests. Only `cargo xtask test --all` runs the slow tests.
const LEFT_OUT: &[&str] = &[
    // This test makes traffic for a minute, and checks that memory does not grow. Most memory
    // growth is also detected by `cargo xtask soak` and by the shorter tests `load_…`.
    "load_of_ten_million",
    // This test starts 10,000 processes that make 1.6 million connections. The tests
    // `owners_that_have_gone` and `owners_without_room` check the same code with few processes.
    "owners_of_ten_million",
    // This test starts a tracer twenty times with 20,000 sockets. Most other tests also test the
    // start of a tracer.
    "load_twenty_starts",
    // This test runs every scripted path once for each address family. `families_add_up` and the
    // tests of `serve` also compare the address families.
    "families_equal_the_kernel_on_every_path",
    // These four tests run more scripted lifetimes of sockets than the tests `torture_of_sixty`
    // and `torture_with_silent_losses`.
    "torture_never",
    "torture_of_a_thousand",
    "torture_by_family",
    "torture_of_serve",
    // The tests `floods_…` wait until thousands of half-open connections expire. The tests
    // `seeded_…` also drop the ends of half-open connections.
    "floods_",
    "churn_of_a_minute",
    // This test runs each command with each fault. The tests `error_…` check most of these errors.
    "fault_matrix",
    // These tests run each command under many values of each limit. The tests `error_…` check one
    // value of each limit.
    "limits_of_open_files",
    "limits_of_memory",
    "limits_of_the_stack",
];

/// The library test that waits a minute for TIME_WAIT to expire. This test uses almost no CPU, so
/// the test runs in parallel with the command tests, which also wait most of the time.
const WAITING: &str = "gauges_are_right_when_time_wait_expires";

/// Installs the programs that the tests run. Returns the BPF tools, or `None` if they are missing.
/// If `wanted` is true, missing BPF tools are installed.
pub(super) fn set_up(root: &Path, report: &mut Report, wanted: bool) -> Option<Toolchain> {
    report
        .prepare("set-up", || {
            check::rust_components(root)?;
            programs()?;
            if wanted { Toolchain::provision().map(Some) } else { Ok(Toolchain::find().ok()) }
        })
        .flatten()
}

/// Installs the programs that tests run, or reports which programs are missing.
pub(super) fn programs() -> Result<()> {
    if debian::is_debian() {
        debian::install(DEBIAN_PACKAGES)?;
    }
    for program in PROGRAMS {
        if process::find_in_path(program).is_none()
            && !Path::new("/usr/sbin").join(program).exists()
        {
            println!("no {program}; tests that need it will be skipped");
        }
    }
    Ok(())
}

/// Verifies that the checked-in object was built from the current sources. If a rebuild gives a
/// different object, returns the rebuilt object. The caller must test the rebuilt object too.
pub(super) fn object(
    root: &Path,
    tools: Option<&Toolchain>,
    report: &mut Report,
) -> Option<PathBuf> {
    let verdict = report.check("BPF object", || {
        // Missing BPF tools do not fail this step. If the run needs the missing BPF tools, the
        // set-up step has already failed.
        let verdict = bpf::check(root, tools)?;
        println!("{verdict}");
        Ok(verdict)
    })?;
    match verdict {
        Verdict::OtherTools { rebuilt, .. } => Some(rebuilt),
        Verdict::Identical { .. } | Verdict::SourcesMatch => None,
    }
}

/// Runs the kernel tests with the embedded object. If different tools built a different object from
/// the sources, runs the kernel tests with the different object too.
pub(super) fn kernel_tests(
    root: &Path,
    tools: Option<&Toolchain>,
    rebuilt: Option<PathBuf>,
    is_all: bool,
    report: &mut Report,
) {
    let Some(binaries) = built(root, report) else { return };
    let mut variables = no_log(root, tools, report);
    variables.extend(prometheus(root));
    let left_out = if is_all { &[] } else { LEFT_OUT };
    let mut skips: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    skips.push(WAITING.to_owned());
    let mut run = Run { variables, skips, is_kernel_test: true, ..Run::default() };
    let waiting = Run { filters: vec![WAITING.to_owned()], skips: Vec::new(), ..run.clone() };
    thread::scope(|scope| {
        let of_library = |binary: &&Binary| binary.package == kernel_tests::FOLDER;
        let waiting = binaries
            .iter()
            .find(of_library)
            .map(|binary| (binary, scope.spawn(|| binary.run(&waiting))));
        run_each(&binaries, &run, "", report);
        if let Some((binary, waiting)) = waiting {
            let join = || waiting.join().expect("a run does not panic");
            report.tests(&format!("{}: {WAITING}", binary.name), join);
        }
    });
    run.skips.pop();
    if let Some(rebuilt) = rebuilt {
        run.variables.push((OBJECT_VARIABLE.into(), rebuilt.into()));
        run_each(&binaries, &run, " with the rebuilt object", report);
    }
}

/// Runs the kernel tests with an object that was built earlier.
pub(super) fn on_object(root: &Path, object: &Path, report: &mut Report) {
    let tools = set_up(root, report, false);
    let Some(variable) = report.prepare("open the object", || given(object)) else { return };
    let Some(binaries) = built(root, report) else { return };
    let mut variables = no_log(root, tools.as_ref(), report);
    variables.extend(prometheus(root));
    variables.push(variable);
    let run = Run { variables, is_kernel_test: true, ..Run::default() };
    run_each(&binaries, &run, " with the given object", report);
}

/// Returns the environment variable that makes tests load this object.
pub(super) fn given(object: &Path) -> Result<(OsString, OsString)> {
    let path = fs::canonicalize(object).with_context(|| format!("open {}", object.display()))?;
    Ok((OBJECT_VARIABLE.into(), path.into()))
}

/// Builds the object without log lines if the tools are installed. Returns the environment variable
/// that names the object.
pub(super) fn no_log(
    root: &Path,
    tools: Option<&Toolchain>,
    report: &mut Report,
) -> Vec<(OsString, OsString)> {
    let Some(tools) = tools else { return Vec::new() };
    let object = report.prepare("build the object without log lines", || {
        bpf::build_variant(root, tools, Variant::NoLog)
    });
    object.map(|object| (NO_LOG_VARIABLE.into(), object.into())).into_iter().collect()
}

/// Returns the environment variable that names the directory with Prometheus. Returns `None` if
/// `PATH` already contains Prometheus, or if Prometheus is not available.
pub(super) fn prometheus(root: &Path) -> Option<(OsString, OsString)> {
    prometheus::provide(root).map(|programs| (PROMETHEUS_VARIABLE.into(), programs.into()))
}

/// Builds and runs the tests of the feature `otlp`.
pub(super) fn otlp(root: &Path, report: &mut Report) {
    let build = || binaries::build_by(&mut kernel_tests::cargo_with_otlp(root));
    if let Some(binaries) = report.prepare("build with OTLP", build) {
        let run = Run { is_kernel_test: true, ..Run::default() };
        run_each(&binaries, &run, "", report);
    }
}

/// Fuzzes every parser of external data for some seconds, and some parsers longer if `is_all` is
/// set.
pub(super) fn fuzz(root: &Path, is_all: bool, report: &mut Report) {
    report.tests("fuzz", || fuzz::gate(root, is_all));
}

/// Runs the seeded faults. Skips the seeded faults if the BPF tools are missing. If the run needs
/// the missing tools, the set-up step has already failed.
pub(super) fn faults(
    root: &Path,
    selection: Selection<'_>,
    tools: Option<&Toolchain>,
    report: &mut Report,
) {
    let Some(tools) = tools else {
        return report.skip("faults", "no BPF toolchain; `cargo xtask bpf` installs one");
    };
    let build = || binaries::build_by(&mut kernel_tests::cargo(root));
    let Some(mut binaries) = report.prepare("build the tests for the faults", build) else {
        return;
    };
    binaries.retain(|binary| binary.package == kernel_tests::FOLDER);
    mutation::run(&Judge { root, tools, binaries: &binaries }, selection, report);
}

/// Runs the steps that take long and rarely fail.
pub(super) fn long(root: &Path, report: &mut Report) {
    report.check("soak", || soak::run(root, &soak::Options::LONG));
    report.check("bench --quick", || bench::run(root, &bench::Options::QUICK));
    report.check("dist --try", || dist::run(root, &dist::Options::TRY));
}

fn built(root: &Path, report: &mut Report) -> Option<Vec<Binary>> {
    let build = || binaries::build_by(&mut kernel_tests::cargo(root));
    report.prepare("build kernel tests", build)
}

/// Runs the test programs one after the other. The report appends `suffix` to the name of each
/// program.
pub(super) fn run_each(binaries: &[Binary], run: &Run, suffix: &str, report: &mut Report) {
    for binary in binaries {
        report.tests(&format!("{}{suffix}", binary.name), || binary.run(run));
    }
}
