//! `cargo xtask bench`: what tcpstate costs, against something else in the same run.
//!
//! ```text
//! cargo xtask bench               everything, beside what people use today; writes docs/BENCHMARKS.md
//! cargo xtask bench transitions   of that one benchmark alone; the document keeps what the others measured last
//! cargo xtask bench transitions --against REV   of the tree and of an earlier revision, alternately in one run
//! cargo xtask bench --quick       in a minute, smaller, without the others' programs: does measuring work?
//! ```
//!
//! Benchmarks are programs of their own, with the code that they measure. They print rows, which are printed here as
//! tables, kept in target/bench, and held against what was promised.

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

/// Packages with the programs to compare with, which measuring ours needs too.
const PEERS: &[&str] = &["bpftrace", "bpfcc-tools", "iproute2", "libbpf-tools", "net-tools"];

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this benchmark.
    #[arg(value_parser = BENCHMARKS.map(|benchmark| benchmark.name))]
    benchmark: Option<String>,
    /// Smaller, and without other people's programs; writes no document.
    #[arg(long)]
    quick: bool,
    /// Measure the benchmark of this revision too, alternately, and compare the medians; writes no document.
    #[arg(long, value_name = "REV", requires = "benchmark", conflicts_with = "quick")]
    against: Option<String>,
}

impl Options {
    /// Every benchmark in small.
    pub(crate) const QUICK: Self = Self { benchmark: None, quick: true, against: None };
}

/// Builds and runs the benchmarks, as root.
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
        // Their rows say so.
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

/// Built like tests, but they measure; optimised, like what users run.
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

/// Runs one to its end, and returns what it printed.
fn measure(executable: &Path, is_quick: bool) -> Result<String> {
    let mut command = Privilege::current().command(executable, &[])?;
    command.stderr(Stdio::inherit());
    if !is_quick {
        command.arg("--full");
    }
    process::read(&mut command)
}
