//! Builds and runs the fuzzer in `fuzz/`, and parses its output.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{debian, kernel_tests, process};

/// The maximum length of a fuzzing input in bytes. Inputs that are longer than `LONGEST` do not
/// reach more code.
const LONGEST: u32 = 65_536;
/// The maximum time in seconds that the target may need for one input. If the target needs more
/// time for an input, the fuzzer reports that the target hangs. On an idle machine, the slowest
/// known input takes 0.1 s.
const SLOWEST: u32 = 10;
/// The maximum time in seconds to shorten an input that shows a bug.
const SHRINKING: u32 = 10;

/// The path of the fuzzer program, and the path of the workspace.
pub(super) struct Engine {
    root: PathBuf,
    program: PathBuf,
}

/// The duration and the seed of a fuzzing run.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    pub(super) time: Duration,
    /// The seed of the random inputs. If two runs have the same seed and the same corpus, the
    /// fuzzer generates identical inputs. With a seed, the fuzzer does not use the inputs that
    /// earlier runs stored.
    pub(super) seed: Option<u32>,
}

/// The result of a run of the fuzzer.
pub(super) enum Ending {
    Nothing(Done),
    Fault {
        input: PathBuf,
        /// The output of the fuzzer.
        log: String,
    },
}

/// The statistics of a fuzzing run that found no bug.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    runs: u64,
    /// The number of control-flow edges that the inputs reached.
    edges: u64,
    /// The number of inputs that reached new code.
    inputs: u64,
}

impl Engine {
    /// Builds the fuzzer, which needs a C++ compiler for libFuzzer. The script `fuzz/instrument`
    /// makes rustc add coverage to the tested code.
    pub(super) fn build(root: &Path) -> Result<Self> {
        if process::find_in_path("c++").is_none() && debian::is_debian() {
            debian::install(&["g++"])?;
        }
        let mut cargo = process::cargo(root);
        cargo.env("RUSTC_WORKSPACE_WRAPPER", root.join("fuzz/instrument"));
        // Use the build options of the kernel tests, because the dependencies are already built
        // with these options.
        cargo.args(["build", "--quiet", "--package", "tcpstate-fuzz", "--features", "engine"]);
        kernel_tests::build_alike(&mut cargo);
        cargo.arg("--message-format=json-render-diagnostics");
        cargo.stderr(Stdio::inherit());
        let messages = process::read(&mut cargo)?;
        Ok(Self { root: root.to_owned(), program: executable(&messages)? })
    }

    /// Runs the fuzzer on a target until the fuzzer finds a bug or the time has passed.
    pub(super) fn run(&self, target: &str, effort: Effort) -> Result<Ending> {
        let folder = self.root.join("target/fuzz").join(target);
        let faults = folder.join("faults");
        emptied(&faults)?;
        let corpus = folder.join(if effort.seed.is_some() { "seeded" } else { "corpus" });
        if effort.seed.is_some() {
            emptied(&corpus)?;
        }
        fs::create_dir_all(&corpus).with_context(|| format!("create {}", corpus.display()))?;

        let mut command = self.command(target);
        command.arg(format!("-max_total_time={}", effort.time.as_secs()));
        command.args(effort.seed.map(|seed| format!("-seed={seed}")));
        command.args([format!("-max_len={LONGEST}"), "-reload=0".into()]);
        command.arg(format!("-artifact_prefix={}/", faults.display())).arg(&corpus);
        // The fuzzer reads inputs from these directories, but writes no inputs to these
        // directories.
        let kept =
            ["corpus", "regressions"].map(|kind| self.root.join("fuzz").join(kind).join(target));
        command.args(kept.iter().filter(|folder| folder.exists()));
        let begin = Instant::now();
        let output = command.output().with_context(|| process::describe(&command))?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            let done = Done::of(&log);
            println!("{target}: {done} in {:.0} s", begin.elapsed().as_secs_f64());
            return Ok(Ending::Nothing(done));
        }
        let input = fs::read_dir(&faults)
            .into_iter()
            .flatten()
            .find_map(|entry| Some(entry.ok()?.path()))
            .with_context(|| {
                format!("{}: {}\n{log}", output.status, process::describe(&command))
            })?;
        Ok(Ending::Fault { input, log })
    }

    /// Reports the bug that an input shows, and shortens this input. Stores the shortened input in
    /// `fuzz/regressions`, where a unit test runs the input. Returns the path of the stored input.
    pub(super) fn keep(&self, target: &str, ending: Ending) -> Result<Option<PathBuf>> {
        let Ending::Fault { input, log } = ending else { return Ok(None) };
        let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (kind, hash) = name.split_once('-').unwrap_or(("fault", &name));
        let folder = Path::new("fuzz/regressions").join(target);
        let kept = folder.join(hash.get(..12).unwrap_or(hash));
        fs::create_dir_all(self.root.join(&folder))?;
        let small = input.with_extension("small");
        let mut shrink = self.command(target);
        shrink.args(["-minimize_crash=1".into(), format!("-max_total_time={SHRINKING}")]);
        shrink.arg(format!("-exact_artifact_path={}", small.display())).arg(&input);
        // Shorten an input only if the target crashes. If the target hangs, each attempt to shorten
        // the input would take too long.
        if kind == "crash" {
            let _ = shrink.output();
        }
        let input = if small.exists() { small } else { input };
        let length = fs::copy(&input, self.root.join(&kept))
            .with_context(|| format!("copy {} to {}", input.display(), kept.display()))?;
        println!("{target}: {kind}, by the {length} bytes of {}", kept.display());
        for line in said(&log) {
            println!("    {line}");
        }
        Ok(Some(kept))
    }

    /// Runs one input and shows the output. Returns whether the fuzzing run found no bug.
    pub(super) fn replay(&self, target: &str, input: &Path) -> Result<bool> {
        fs::metadata(input).with_context(|| format!("read {}", input.display()))?;
        let mut command = self.command(target);
        command.env("RUST_BACKTRACE", "1").arg(input);
        let status = command.status().with_context(|| process::describe(&command))?;
        Ok(status.success())
    }

    fn command(&self, target: &str) -> Command {
        let mut command = process::command(&self.program);
        command.current_dir(&self.root);
        command.env("TCPSTATE_FUZZ_TARGET", target).env("RUST_BACKTRACE", "0");
        command.arg(format!("-timeout={SLOWEST}")).arg("-rss_limit_mb=1024");
        command.stdin(Stdio::null());
        command
    }
}

fn executable(messages: &str) -> Result<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let executable = messages.lines().rev().find_map(|line| {
        let message: Message = serde_json::from_str(line).ok()?;
        message.executable
    });
    executable.context("cargo built no program")
}

fn emptied(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}

impl Done {
    /// Parses the last line of the fuzzer's output, for example `#41 DONE cov: 13 ft: 16 corp:
    /// 6/16b lim: 4096 exec/s: 0 rss: 28Mb`.
    fn of(log: &str) -> Self {
        let last = log.lines().rfind(|line| line.starts_with('#') && line.contains(" cov: "));
        let mut words = last.unwrap_or_default().split_ascii_whitespace();
        let runs = words.next().and_then(|word| word.strip_prefix('#'));
        let words: Vec<&str> = words.collect();
        let after = |name: &str| {
            let at = words.iter().position(|&word| word == name)?;
            words.get(at + 1)?.split('/').next()?.parse().ok()
        };
        Self {
            runs: runs.and_then(|runs| runs.parse().ok()).unwrap_or(0),
            edges: after("cov:").unwrap_or(0),
            inputs: after("corp:").unwrap_or(0),
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} runs, {} edges, {} inputs kept", self.runs, self.edges, self.inputs)
    }
}

/// Returns the lines that are not the fuzzer's own log: the output of the target, and the input as
/// text.
fn said(log: &str) -> impl Iterator<Item = &str> {
    const MOST: usize = 12;
    const DIARY: &[&str] = &[
        "#",
        "\tNEW_FUNC",
        "INFO:",
        "NOTE:",
        "WARNING:",
        "SUMMARY:",
        "=",
        "      Combine",
        "MS:",
        "0x",
        "artifact",
        "note:",
    ];
    let is_diary =
        |line: &str| line.is_empty() || DIARY.iter().any(|start| line.starts_with(start));
    log.lines().filter(move |line| !is_diary(line)).take(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_line_of_the_log_has_the_statistics() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 8 ft: 8 corp: 1/1b exec/s: 0 rss: 28Mb\n\
            #541805\tDONE   cov: 340 ft: 1552 corp: 334/185Kb lim: 4601 exec/s: 49255 rss: 30Mb\nDone 541805 runs in 11 second(s)\n";
        assert_eq!(Done::of(log), Done { runs: 541_805, edges: 340, inputs: 334 });
        assert_eq!(Done::of("killed\n"), Done::default());
    }

    #[test]
    fn fault_shows_the_output_of_the_target() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 8\n\nthread '<unnamed>' (7) panicked at a.rs:1:2:\nwrong\n==7== ERROR: libFuzzer: deadly signal\n0x61,\na\n";
        let said: Vec<_> = said(log).collect();
        assert_eq!(said, ["thread '<unnamed>' (7) panicked at a.rs:1:2:", "wrong", "a"]);
    }
}
