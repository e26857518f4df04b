//! `cargo xtask fuzz` runs each parser of external data on arbitrary bytes. No input may make a
//! parser panic, hang, or use too much memory.
//!
//! ```text
//! cargo xtask fuzz                        all targets, a minute in total
//! cargo xtask fuzz TARGET --seconds 600   one target, longer; keeps useful inputs in target/fuzz
//! cargo xtask fuzz TARGET --input FILE    one input, with the whole output
//! ```
//!
//! The fuzz targets are in `tcpstate/src/fuzz.rs`. The initial inputs are in `fuzz/corpus/TARGET`.
//! An input that shows a bug is shortened and stored in `fuzz/regressions/TARGET`. A unit test runs
//! every stored input of `fuzz/regressions`.

mod engine;

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use self::engine::{Effort, Ending, Engine};
use crate::test::libtest::Outcome;

/// The default time in seconds for all fuzz targets together.
const SECONDS: u32 = 60;
/// The time in seconds for all fuzz targets in `cargo xtask test`. The build of the fuzzer does not
/// count as fuzzing time.
const GATE_SECONDS: u32 = 20;
/// The time in seconds for each fuzz target of `THOROUGH` in `cargo xtask test --all`.
const THOROUGH_SECONDS: u64 = 60;
/// Fuzz targets that `cargo xtask test --all` runs longer, because their inputs come from other
/// machines.
const THOROUGH: &[&str] = &["frames", "http"];
/// Fuzz targets with a planted fault. `cargo xtask test` checks that the fuzzer finds the planted
/// fault.
const PLANTED: &[&str] = &["planted_panic", "planted_hunger"];

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only this target [default: all directories of fuzz/corpus]
    target: Option<String>,
    /// Fuzzing time in seconds, for all targets together
    #[arg(long, default_value_t = SECONDS, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Repeat the inputs of the earlier run that had this seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seed: Option<u32>,
    /// Run only the input in this file
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with = "seed")]
    input: Option<PathBuf>,
}

/// Runs the fuzzer. Returns whether the fuzzer found no bug.
pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let mut targets = targets(root)?;
    if let Some(target) = &options.target {
        if !targets.contains(target) {
            bail!("there is no target {target}; the targets are {}", targets.join(" "));
        }
        targets = vec![target.clone()];
    }
    let engine = Engine::build(root)?;
    if let (Some(input), [target]) = (&options.input, &targets[..]) {
        return engine.replay(target, input);
    }
    let effort = Effort { time: share(options.seconds, &targets), seed: options.seed };
    let outcome = all(&engine, &targets, effort);
    println!("\n{outcome}");
    Ok(outcome.failed.is_empty())
}

/// Runs the fuzzing step of `cargo xtask test`. The fuzzer must find the planted faults. After the
/// test with planted faults, the fuzzer runs each target for a few seconds. A fixed seed makes the
/// generated inputs identical in each run. If `is_all` is set, the fuzzer also runs the targets of
/// `THOROUGH` longer.
pub(crate) fn gate(root: &Path, is_all: bool) -> Result<Outcome> {
    let engine = Engine::build(root)?;
    let mut outcome = Outcome::default();
    for &target in PLANTED {
        let effort = Effort { time: Duration::from_secs(30), seed: Some(1) };
        match engine.run(target, effort)? {
            Ending::Fault { .. } => outcome.passed += 1,
            Ending::Nothing(done) => {
                println!("{target}: fault not found; {done}");
                outcome.failed.push(target.into());
            }
        }
    }
    let targets = targets(root)?;
    let effort = Effort { time: share(GATE_SECONDS, &targets), seed: Some(1) };
    outcome.merge(all(&engine, &targets, effort));
    if is_all {
        let targets: Vec<String> = THOROUGH.iter().map(ToString::to_string).collect();
        let effort = Effort { time: Duration::from_secs(THOROUGH_SECONDS), seed: Some(1) };
        outcome.merge(all(&engine, &targets, effort));
    }
    Ok(outcome)
}

/// Returns the names of the fuzz targets. The directory `fuzz/corpus` has one directory per target.
/// A test compares the names of the directories with the targets in `tcpstate/src/fuzz.rs`.
fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("fuzz/corpus");
    let read = || format!("read {}", folder.display());
    let mut targets = Vec::new();
    for entry in fs::read_dir(&folder).with_context(read)? {
        targets.push(entry.with_context(read)?.file_name().to_string_lossy().into_owned());
    }
    targets.sort();
    Ok(targets)
}

/// Returns the time for each target. Each CPU runs one target at a time.
fn share(seconds: u32, targets: &[String]) -> Duration {
    let at_once = processors().min(targets.len()).max(1);
    let rounds = targets.len().div_ceil(at_once).max(1);
    (Duration::from_secs(seconds.into()) / u32::try_from(rounds).unwrap_or(u32::MAX))
        .max(Duration::from_secs(1))
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Runs the fuzz targets in parallel, one target per CPU.
fn all(engine: &Engine, targets: &[String], effort: Effort) -> Outcome {
    let waiting = Mutex::new(targets.iter());
    let outcome = Mutex::new(Outcome::default());
    let work = || {
        let next = || waiting.lock().expect("no thread panics with the lock").next();
        while let Some(target) = next() {
            let ending = engine.run(target, effort).and_then(|ending| engine.keep(target, ending));
            let mut outcome = outcome.lock().expect("no thread panics meanwhile");
            match ending {
                Ok(None) => outcome.passed += 1,
                Ok(Some(_)) => outcome.failed.push(target.clone()),
                Err(error) => {
                    println!("{target}: {error:#}");
                    outcome.failed.push(target.clone());
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..processors().min(targets.len()) {
            scope.spawn(work);
        }
    });
    outcome.into_inner().expect("no thread panicked")
}
