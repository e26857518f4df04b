//! The steps of a run of the tests, each of which the report lists with its time.

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

/// Packages with programs that tests run.
const DEBIAN_PACKAGES: &[&str] = &["bpftool", "ca-certificates", "iproute2", "jq", "procps"];
/// What those programs are called elsewhere.
const PROGRAMS: &[&str] = &["bpftool", "ip", "jq", "ss"];

/// Tests that the gate leaves to `cargo xtask test --all`, by parts of their names, for lack of time.
const LEFT_OUT: &[&str] = &[
    // A minute of load, to see that the memory of the process does not grow; `cargo xtask soak` and the shorter tests
    // of load see most of what it would.
    "load_of_ten_million",
    // Twenty starts with 20,000 sockets, where one start is in most tests.
    "load_twenty_starts",
    // Every path once more, for each family by itself. `families_add_up` and the tests of `serve`
    // compare families as well.
    "families_equal_the_kernel_on_every_path",
];

/// The test of the library that waits a minute for TIME_WAIT to expire. It needs no processor
/// meanwhile, so it runs beside the tests of the command, most of which wait as well.
const WAITING: &str = "gauges_are_right_when_time_wait_expires";

/// Installs what the tests run, and returns the tools for BPF: those that are there, or, if they are `wanted`, after
/// an installation.
pub(super) fn set_up(root: &Path, report: &mut Report, wanted: bool) -> Option<Toolchain> {
    report
        .prepare("set-up", || {
            check::rust_components(root)?;
            programs()?;
            if wanted { Toolchain::provision().map(Some) } else { Ok(Toolchain::find().ok()) }
        })
        .flatten()
}

/// Installs the programs that tests run, or says which are missing.
pub(super) fn programs() -> Result<()> {
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
    Ok(())
}

/// Compares the object with its sources; returns the rebuilt one if that is another, and needs tests of its own.
pub(super) fn object(
    root: &Path,
    tools: Option<&Toolchain>,
    report: &mut Report,
) -> Option<PathBuf> {
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

/// The kernel tests on the embedded object, and on the rebuilt one if other tools made another of the same sources.
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
            let join = || waiting.join().expect("a run returns its errors");
            report.tests(&format!("{}: {WAITING}", binary.name), join);
        }
    });
    run.skips.pop();
    if let Some(rebuilt) = rebuilt {
        run.variables.push((OBJECT_VARIABLE.into(), rebuilt.into()));
        run_each(&binaries, &run, " on the rebuilt object", report);
    }
}

/// The kernel tests on an object that somebody built.
pub(super) fn on_object(root: &Path, object: &Path, report: &mut Report) {
    let tools = set_up(root, report, false);
    let Some(variable) = report.prepare("open the object", || given(object)) else { return };
    let Some(binaries) = built(root, report) else { return };
    let mut variables = no_log(root, tools.as_ref(), report);
    variables.extend(prometheus(root));
    variables.push(variable);
    let run = Run { variables, is_kernel_test: true, ..Run::default() };
    run_each(&binaries, &run, " on the object given", report);
}

/// The variable that has tests load this object.
pub(super) fn given(object: &Path) -> Result<(OsString, OsString)> {
    let path = fs::canonicalize(object).with_context(|| format!("open {}", object.display()))?;
    Ok((OBJECT_VARIABLE.into(), path.into()))
}

/// The variable that names the object without log lines, built if there are tools.
pub(super) fn no_log(
    root: &Path,
    tools: Option<&Toolchain>,
    report: &mut Report,
) -> Vec<(OsString, OsString)> {
    let Some(tools) = tools else { return Vec::new() };
    let object = report.prepare("build the object without log", || {
        bpf::build_variant(root, tools, Variant::NoLog)
    });
    object.map(|object| (NO_LOG_VARIABLE.into(), object.into())).into_iter().collect()
}

/// The variable that names the folder with Prometheus, if it is not on the `PATH` and can be had.
pub(super) fn prometheus(root: &Path) -> Option<(OsString, OsString)> {
    prometheus::provide(root).map(|programs| (PROMETHEUS_VARIABLE.into(), programs.into()))
}

/// The tests of the feature `otlp`, which are built apart.
pub(super) fn otlp(root: &Path, report: &mut Report) {
    let build = || binaries::build_by(&mut kernel_tests::cargo_with_otlp(root));
    if let Some(binaries) = report.prepare("build with OTLP", build) {
        let run = Run { is_kernel_test: true, ..Run::default() };
        run_each(&binaries, &run, "", report);
    }
}

/// Every reader of bytes from outside, for some seconds.
pub(super) fn fuzz(root: &Path, report: &mut Report) {
    report.tests("fuzz", || fuzz::gate(root));
}

/// The seeded faults. Without tools they are skipped; a set-up that wanted the tools has failed by then.
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
    let Some(mut binaries) = report.prepare("build the tests that notice faults", build) else {
        return;
    };
    binaries.retain(|binary| binary.package == kernel_tests::FOLDER);
    mutation::run(&Judge { root, tools, binaries: &binaries }, selection, report);
}

/// What takes long and fails rarely.
pub(super) fn long(root: &Path, report: &mut Report) {
    report.check("soak", || soak::run(root, &soak::Options::SHORT));
    report.check("bench --quick", || bench::run(root, &bench::Options::QUICK));
    report.check("dist --try", || dist::run(root, &dist::Options::TRY));
}

fn built(root: &Path, report: &mut Report) -> Option<Vec<Binary>> {
    let build = || binaries::build_by(&mut kernel_tests::cargo(root));
    report.prepare("build kernel tests", build)
}

/// Runs the programs one after the other; `suffix` says what is special about this time.
pub(super) fn run_each(binaries: &[Binary], run: &Run, suffix: &str, report: &mut Report) {
    for binary in binaries {
        report.tests(&format!("{}{suffix}", binary.name), || binary.run(run));
    }
}
