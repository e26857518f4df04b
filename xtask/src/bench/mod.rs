//! `cargo xtask bench` measures the cost of tcpstate and of other programs in one run.
//!
//! ```text
//! cargo xtask bench               all benchmarks, with other programs; writes docs/BENCHMARKS.md
//! cargo xtask bench transitions   one benchmark; the document keeps the last figures of the others
//! cargo xtask bench transitions --against REV   the tree and an earlier revision, alternately
//! cargo xtask bench --quick       a minute, without other programs: checks that benchmarks work
//! ```
//!
//! Each benchmark is a separate program. A benchmark contains the measured code, and prints rows.
//! `cargo xtask bench` prints the rows as tables, stores the rows in target/bench, and compares the
//! figures with the promised limits.

mod acceptance;
mod against;
mod document;
mod machine;
mod plot;
mod rows;
mod sections;
mod table;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};

use self::{
    machine::Run,
    rows::Rows,
    sections::{BENCHMARKS, Benchmark},
};
use crate::{debian, privilege::Privilege, process, test::binaries};

/// Debian packages with the programs that tcpstate is compared with. Some benchmarks also use
/// programs of these packages to measure tcpstate.
const PEERS: &[&str] = &["bpftrace", "bpfcc-tools", "iproute2", "libbpf-tools", "net-tools"];

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only this benchmark
    #[arg(value_parser = BENCHMARKS.map(|benchmark| benchmark.name))]
    benchmark: Option<String>,
    /// Run smaller benchmarks without other programs, and do not write the document
    #[arg(long)]
    quick: bool,
    /// Compare the work tree with this revision, and do not write the document
    #[arg(long, value_name = "REV", requires = "benchmark", conflicts_with = "quick")]
    against: Option<String>,
}

impl Options {
    /// The options that run a small version of every benchmark.
    pub(crate) const QUICK: Self = Self { benchmark: None, quick: true, against: None };
}

/// Builds the benchmarks and runs them as root.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let matches = |benchmark: &&Benchmark| {
        options.benchmark.as_ref().is_none_or(|name| name == benchmark.name)
    };
    let benchmarks: Vec<&Benchmark> = BENCHMARKS.iter().filter(matches).collect();
    if let Some(revision) = &options.against {
        return benchmarks.iter().try_for_each(|it| against::run(root, it, revision));
    }
    if !options.quick
        && debian::is_debian()
        && let Err(error) = debian::install(PEERS)
    {
        // In the table, the row of a missing program reports that the program is missing.
        eprintln!("xtask: without some of the programs to compare with: {error:#}");
    }
    let executables = build(root, &benchmarks)?;
    let folder = root.join("target/bench");
    for (benchmark, executable) in benchmarks.iter().zip(&executables) {
        let text = measure(executable, options.quick)
            .with_context(|| format!("benchmark {}", benchmark.name))?;
        let rows = Rows::parse(&text).with_context(|| format!("benchmark {}", benchmark.name))?;
        for section in benchmark.sections.iter().filter(|section| rows.has(section)) {
            println!("\n{}\n\n{}", section.title, table::plain(section, &rows));
        }
        if !options.quick {
            Run::now(rows)?.keep(&folder, benchmark.name)?;
        }
    }
    if !options.quick {
        document::write(root, &folder)?;
    }
    Ok(())
}

/// Builds the benchmarks with the release profile, like the program for users.
fn build(root: &Path, benchmarks: &[&Benchmark]) -> Result<Vec<PathBuf>> {
    let mut executables = Vec::new();
    for benchmark in benchmarks {
        let arguments = ["--release", "--package", benchmark.package, "--bench", benchmark.name];
        let [binary] = &binaries::build(root, &arguments)?[..] else {
            bail!("{} is one program", benchmark.name);
        };
        executables.push(binary.executable.clone());
    }
    Ok(executables)
}

/// Runs a benchmark and returns its output.
fn measure(executable: &Path, is_quick: bool) -> Result<String> {
    let mut command = Privilege::current().command(executable, &[])?;
    command.stderr(Stdio::inherit());
    if !is_quick {
        command.arg("--full");
    }
    process::read(&mut command)
}
