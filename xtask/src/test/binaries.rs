//! Builds test binaries with cargo, and runs them one by one, as root where they need it.

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

/// A test that is silent for longer hangs. The longest of ours take a tenth of that.
const SILENCE: Duration = Duration::from_secs(600);

/// An executable full of tests.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    /// All of the below, for people.
    pub(crate) name: String,
    /// The package's folder in the workspace.
    pub(crate) package: String,
    pub(crate) executable: PathBuf,
    /// The package's folder, where cargo too would run it.
    folder: PathBuf,
}

/// How to run tests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) filters: Vec<String>,
    /// Tests whose name contains one of these do not run.
    pub(crate) skips: Vec<String>,
    /// Filters are whole names.
    pub(crate) is_exact: bool,
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// As root, and one at a time: for what touches the kernel.
    pub(crate) is_kernel_test: bool,
    /// Show results only, not what failed tests print.
    pub(crate) is_terse: bool,
}

/// Builds the tests that `arguments` choose.
pub(crate) fn build(root: &Path, arguments: &[&str]) -> Result<Vec<Binary>> {
    let mut cargo = process::cargo(root);
    cargo.arg("test").args(arguments);
    build_by(&mut cargo)
}

/// Builds the tests that a command of cargo's would run.
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
    // Sorted, so that a run is like the one before.
    let mut binaries = BTreeMap::new();
    for line in text.lines() {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("message of cargo: {line}"))?;
        let (Some(target), Some(Profile { test: true }), Some(executable), Some(manifest)) =
            (message.target, message.profile, message.executable, message.manifest_path)
        else {
            continue;
        };
        let folder = manifest.parent().context("a manifest lies in a folder")?.to_owned();
        let package = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = target.kind.into_iter().next().unwrap_or_default();
        let name = format!("{package} {kind} {}", target.name);
        binaries.insert(name.clone(), Binary { name, package, executable, folder });
    }
    Ok(binaries.into_values().collect())
}

/// Has cargo build the tests and not run them; returns what it says of each program, an object a line.
pub(crate) fn messages(cargo: &mut Command) -> Result<String> {
    cargo
        .args(["--no-run", "--quiet", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit());
    process::read(cargo)
}

impl Binary {
    /// Runs the tests, showing their results as they come.
    pub(crate) fn run(&self, run: &Run) -> Result<Outcome> {
        // What needs no root runs as we are, as root does.
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
            // Tests that run side by side have no time of their own.
            outcome.times.clear();
        }
        Ok(outcome)
    }

    /// The tests whose names contain one of the filters, in the order in which they run.
    pub(crate) fn list(&self, filters: &[String]) -> Result<Vec<String>> {
        let mut command = process::command(&self.executable);
        command.current_dir(&self.folder).arg("--list").args(filters);
        let list = process::read(&mut command)?;
        Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Every test counts as skipped, for want of root.
    fn skip_all(&self, run: &Run) -> Result<Outcome> {
        let skip = |name: &String| format!("{name}: needs root, and there is no usable sudo");
        let skipped = self.list(&run.filters)?.iter().map(skip).collect();
        Ok(Outcome { skipped, ..Outcome::default() })
    }

    fn variables(&self, run: &Run) -> Vec<(OsString, OsString)> {
        let mut variables = run.variables.clone();
        variables.push(("CARGO_MANIFEST_DIR".into(), self.folder.clone().into()));
        variables
    }
}

/// Runs a command that prints as libtest does, and ends it when it falls silent.
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
        Some(format!("silent for {} s, killed", SILENCE.as_secs()))
    } else {
        (!status.success()).then(|| status.to_string())
    };
    let outcome = Outcome { times, ..parser.finish(problem.as_deref()) };
    if !outcome.failed.is_empty() && !is_terse {
        println!("{}: {}", problem.as_deref().unwrap_or("failed"), process::describe(command));
    }
    Ok(outcome)
}

/// A thread of its own reads, so that the other one can lose patience.
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
