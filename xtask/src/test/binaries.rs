//! Builds test binaries with cargo and runs them one by one. Binaries that need root run as root.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::libtest::{Outcome, Parser};
use crate::{privilege::Privilege, process};

/// The maximum time for which a test binary may print nothing. If a test prints nothing for ten
/// minutes, the test counts as hanging. The longest tests take a minute.
const SILENCE: Duration = Duration::from_secs(600);

/// An executable that contains tests.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    /// The name of the binary in reports.
    pub(crate) name: String,
    /// The package's directory, relative to the workspace.
    pub(crate) package: String,
    pub(crate) executable: PathBuf,
    /// The absolute path of the package's directory. The tests run in the directory of their
    /// package, as with `cargo test`.
    folder: PathBuf,
}

/// Options for a run of test binaries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) filters: Vec<String>,
    /// A test does not run if its name contains one of these texts.
    pub(crate) skips: Vec<String>,
    /// If true, a filter selects only the test with exactly this name. If false, a filter selects
    /// each test whose name contains the filter.
    pub(crate) is_exact: bool,
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Whether the tests change the kernel's state. Kernel tests run as root and one at a time.
    pub(crate) is_kernel_test: bool,
    /// Whether to show only the results of tests, and not the output of failed tests.
    pub(crate) is_terse: bool,
}

/// Builds the tests that these arguments of `cargo test` select.
pub(crate) fn build(root: &Path, arguments: &[&str]) -> Result<Vec<Binary>> {
    let mut cargo = process::cargo(root);
    cargo.arg("test").args(arguments);
    build_by(&mut cargo)
}

/// Builds the tests that a `cargo test` command would run.
pub(crate) fn build_by(cargo: &mut Command) -> Result<Vec<Binary>> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Target>,
        profile: Option<Profile>,
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }

    let text = messages(cargo)?;
    // The map sorts the binaries, so that all runs have the same order.
    let mut binaries = BTreeMap::new();
    for line in text.lines() {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("message of cargo: {line}"))?;
        let (Some(target), Some(Profile { test: true }), Some(executable), Some(manifest)) =
            (message.target, message.profile, message.executable, message.manifest_path)
        else {
            continue;
        };
        let folder = manifest.parent().context("a manifest has a directory")?.to_owned();
        let package = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = target.kind.into_iter().next().unwrap_or_default();
        let name = format!("{package} {kind} {}", target.name);
        binaries.insert(name.clone(), Binary { name, package, executable, folder });
    }
    Ok(binaries.into_values().collect())
}

/// Makes cargo build the tests without running them. Returns cargo's messages: one JSON object per
/// line.
pub(crate) fn messages(cargo: &mut Command) -> Result<String> {
    cargo
        .args(["--no-run", "--quiet", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit());
    process::read(cargo)
}

impl Binary {
    /// Runs the tests of this binary, and shows each result when the test ends.
    pub(crate) fn run(&self, run: &Run) -> Result<Outcome> {
        // Tests that need no root run without `sudo`, as if this process were root.
        let privilege = if run.is_kernel_test { Privilege::current() } else { Privilege::Root };
        if privilege == Privilege::None {
            return self.skip_all(run);
        }
        let mut command = privilege.command(&self.executable, &self.variables(run))?;
        command.current_dir(&self.folder).arg("--show-output").args(&run.filters);
        if run.is_kernel_test {
            command.arg("--test-threads=1");
        }
        if run.is_exact {
            command.arg("--exact");
        }
        for name in &run.skips {
            command.args(["--skip", name]);
        }
        let mut outcome = follow(&mut command, run.is_terse, |child| privilege.kill(child))?;
        if !run.is_kernel_test {
            // Remove the times. The output of parallel tests does not show how long a single test
            // took.
            outcome.times.clear();
        }
        Ok(outcome)
    }

    /// Returns the tests whose names contain one of the filters, in the order of the run.
    pub(crate) fn list(&self, filters: &[String]) -> Result<Vec<String>> {
        let mut command = process::command(&self.executable);
        command.current_dir(&self.folder).arg("--list").args(filters);
        let list = process::read(&mut command)?;
        Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Reports every test as skipped, because this process cannot run commands as root.
    fn skip_all(&self, run: &Run) -> Result<Outcome> {
        let skip = |name: &String| format!("{name}: needs root, and sudo is not usable");
        let skipped = self.list(&run.filters)?.iter().map(skip).collect();
        Ok(Outcome { skipped, ..Outcome::default() })
    }

    fn variables(&self, run: &Run) -> Vec<(OsString, OsString)> {
        let mut variables = run.variables.clone();
        variables.push(("CARGO_MANIFEST_DIR".into(), self.folder.clone().into()));
        variables
    }
}

/// Runs a command that prints results in the format of libtest. Kills the command if the command
/// prints nothing for too long.
pub(crate) fn follow(
    command: &mut Command,
    is_terse: bool,
    kill: impl FnOnce(&mut Child),
) -> Result<Outcome> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", process::describe(command)))?;
    let pieces = read_in_pieces(child.stdout.take().context("stdout is piped")?);

    let mut parser = Parser::default();
    let (mut times, mut begin) = (Vec::new(), Instant::now());
    let is_silent = loop {
        match pieces.recv_timeout(SILENCE) {
            Ok(piece) => {
                let lines = parser.feed(&piece);
                for name in parser.take_ended() {
                    times.push((name, begin.elapsed()));
                    begin = Instant::now();
                }
                let shown = lines.iter().filter(|line| !is_terse || line.starts_with("test "));
                shown.for_each(|line| println!("{line}"));
            }
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if is_silent {
        kill(&mut child);
    }
    let status =
        child.wait().with_context(|| format!("wait for {}", process::describe(command)))?;
    let problem = if is_silent {
        Some(format!("no output for {} s, killed", SILENCE.as_secs()))
    } else {
        (!status.success()).then(|| status.to_string())
    };
    let outcome = Outcome { times, ..parser.finish(problem.as_deref()) };
    if !outcome.failed.is_empty() && !is_terse {
        println!("{}: {}", problem.as_deref().unwrap_or("failed"), process::describe(command));
    }
    Ok(outcome)
}

/// Reads the output of a child process in a separate thread, so that the caller can wait for output
/// with a timeout.
fn read_in_pieces(mut output: ChildStdout) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}
