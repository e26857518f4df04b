//! `cargo xtask test NAME` searches the source files for matching tests, and builds only the
//! programs that contain these tests.
//!
//! ```text
//! NAME -> #[test] functions below the folders of TARGETS -> programs, extras -> builds -> runs
//! ```
//!
//! Three extras take long to fetch or build: the object without log lines, Prometheus, and the
//! feature `otlp`. An extra is provided only if a selected test needs the extra: the test names the
//! environment variable of the extra, or is a test of the feature `otlp`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    NO_LOG_VARIABLE, PROMETHEUS_VARIABLE,
    binaries::{self, Binary, Run},
    report::Report,
    steps,
};
use crate::{kernel_tests, toolchain::Toolchain};

/// A program with tests, and the directory of its source files.
#[derive(Debug)]
struct Target {
    folder: &'static str,
    build: Build,
}

/// How a program that contains tests is built.
#[derive(Clone, Copy, Debug)]
enum Build {
    /// The program contains kernel tests. The text is the name of the program in cargo.
    Kernel(&'static str),
    /// The program contains tests of the feature `otlp`, and is built with this feature.
    Otlp,
    /// The program contains unit tests. The texts are the arguments of `cargo test` that select the
    /// program.
    Unit(&'static [&'static str]),
}

const TARGETS: &[Target] = &[
    Target { folder: "tests/tests/kernel", build: Build::Kernel("kernel") },
    Target { folder: "tcpstate/tests/command", build: Build::Kernel("command") },
    Target { folder: "tcpstate/tests/views", build: Build::Kernel("views") },
    Target { folder: "tests/otlp/tests", build: Build::Otlp },
    Target {
        folder: "tcpstate/src",
        build: Build::Unit(&["--package", "tcpstate", "--lib", "--bins"]),
    },
    Target {
        folder: "tcpstate/examples",
        build: Build::Unit(&["--package", "tcpstate", "--examples"]),
    },
    Target {
        folder: "tcpstate-common/src",
        build: Build::Unit(&["--package", "tcpstate-common", "--lib"]),
    },
    Target { folder: "tests/src", build: Build::Unit(&["--package", "tcpstate-tests", "--lib"]) },
    Target { folder: "xtask/src", build: Build::Unit(&["--package", "xtask"]) },
];

/// A test that was found in a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    /// The module and the function of the test, for example `hist::hist_agrees`.
    name: String,
    /// The `//!` comment of the test's file, and the source text of the test's function.
    text: String,
}

/// Builds and runs the tests whose names contain `name`. Kernel tests use the BPF object `object`.
/// If `object` is `None`, kernel tests use the embedded object.
pub(super) fn run(root: &Path, name: &str, object: Option<&Path>, report: &mut Report) {
    let Some(found) = report.prepare("find the tests", || find(root, name)) else { return };
    let is_needed = |variable: &str| {
        found.iter().flat_map(|(_, tests)| tests).any(|test| test.text.contains(variable))
    };
    let is_kernel_test = |target: &Target| !matches!(target.build, Build::Unit(_));
    let mut run = Run { filters: vec![name.to_owned()], ..Run::default() };
    if found.iter().any(|(target, _)| is_kernel_test(target)) {
        report.prepare("set-up", steps::programs);
        if is_needed(NO_LOG_VARIABLE) {
            run.variables.extend(steps::no_log(root, Toolchain::find().ok().as_ref(), report));
        }
        if is_needed(PROMETHEUS_VARIABLE) {
            run.variables.extend(steps::prometheus(root));
        }
        if let Some(object) = object {
            let given = report.prepare("open the object", || steps::given(object));
            let Some(given) = given else { return };
            run.variables.push(given);
        }
    }
    for (target, _) in &found {
        let Some(binaries) = report.prepare("build", || build(root, target)) else { continue };
        let run = Run { is_kernel_test: is_kernel_test(target), ..run.clone() };
        steps::run_each(&binaries, &run, "", report);
    }
}

fn build(root: &Path, target: &Target) -> Result<Vec<Binary>> {
    match target.build {
        Build::Kernel(test) => binaries::build_by(&mut kernel_tests::cargo_of(root, test)),
        Build::Otlp => binaries::build_by(&mut kernel_tests::cargo_with_otlp(root)),
        Build::Unit(arguments) => binaries::build(root, arguments),
    }
}

/// Returns the tests whose names contain `name`, and the programs that contain these tests.
fn find(root: &Path, name: &str) -> Result<Vec<(&'static Target, Vec<Test>)>> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for target in TARGETS {
        let mut tests = tests_below(&root.join(target.folder))?;
        tests.retain(|test| test.name.contains(name));
        names.extend(tests.iter().map(|test| test.name.clone()));
        if !tests.is_empty() {
            found.push((target, tests));
        }
    }
    if found.is_empty() {
        bail!("no test has `{name}` in its name");
    }
    println!("{} tests: {}", names.len(), names.into_iter().collect::<Vec<_>>().join(" "));
    Ok(found)
}

fn tests_below(folder: &Path) -> Result<Vec<Test>> {
    let mut files = Vec::new();
    sources(folder, &mut files)?;
    files.sort();
    let mut tests = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let module = file.strip_prefix(folder).context("a source is in its directory")?;
        tests.extend(tests_in(&module_of(module), &text));
    }
    Ok(tests)
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let read = || format!("read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(read)? {
        let path = entry.with_context(read)?.path();
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Returns the module path of a file: `doctor::rules::` for `doctor/rules/mod.rs`. The root file of
/// a crate has an empty module path.
fn module_of(file: &Path) -> String {
    let path = file.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let parts = parts.filter(|part| !["mod", "main", "lib"].contains(&part.as_str()));
    parts.map(|part| part + "::").collect()
}

/// Returns the functions after `#[test]`. An indented test function is in a module `tests`.
fn tests_in(module: &str, text: &str) -> Vec<Test> {
    let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let mut tests = Vec::new();
    for part in text.split("#[test]\n").skip(1) {
        let Some(function) =
            part.lines().map(str::trim_start).find_map(|line| line.strip_prefix("fn "))
        else {
            continue;
        };
        let Some((function, _)) = function.split_once('(') else { continue };
        let inner = if part.starts_with(' ') { "tests::" } else { "" };
        tests.push(Test {
            name: format!("{module}{inner}{function}"),
            text: format!("{head}{part}"),
        });
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
    }

    #[test]
    fn modules_are_named_by_their_files() {
        for (file, module) in [
            ("hist.rs", "hist::"),
            ("main.rs", ""),
            ("lib.rs", ""),
            ("a/mod.rs", "a::"),
            ("a/b.rs", "a::b::"),
        ] {
            assert_eq!(module_of(Path::new(file)), module, "{file}");
        }
    }

    #[test]
    fn tests_are_functions_below_their_attribute() {
        let text = "//! head\nfn helper() {}\n#[test]\nfn one() {\n    VARIABLE\n}\n\
                    mod tests {\n    #[test]\n    #[ignore = \"slow\"]\n    fn two() {}\n}\n";
        let tests = tests_in("a::", text);
        let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["a::one", "a::tests::two"]);
        assert!(tests[0].text.contains("VARIABLE") && tests[0].text.starts_with("//! head"));
        assert!(!tests[1].text.contains("VARIABLE"));
    }

    #[test]
    fn each_target_has_tests() {
        for target in TARGETS {
            let tests = tests_below(&root().join(target.folder)).expect("the folder can be read");
            assert!(!tests.is_empty(), "{}", target.folder);
        }
    }

    #[test]
    fn needs_of_a_test_are_found() {
        let find = |name: &str| {
            let found = find(root(), name).expect("the test exists");
            let folders: Vec<&str> = found.iter().map(|(target, _)| target.folder).collect();
            let tests = found.into_iter().flat_map(|(_, tests)| tests);
            let text: String = tests.map(|test| test.text).collect();
            let needs =
                [NO_LOG_VARIABLE, PROMETHEUS_VARIABLE].map(|variable| text.contains(variable));
            (folders, needs)
        };
        let kernel = vec!["tests/tests/kernel"];
        assert_eq!(find("program_with_log_lines_off"), (kernel.clone(), [true, false]));
        assert_eq!(find("program_holds_an_atomic"), (kernel, [false, false]));
        let command = vec!["tcpstate/tests/command"];
        assert_eq!(find("serve_prometheus::"), (command, [false, true]));
        assert!(super::find(root(), "no test has this name").is_err());
    }
}
