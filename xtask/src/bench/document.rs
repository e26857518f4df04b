//! Writes docs/BENCHMARKS.md from the last run of each benchmark.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use super::{
    acceptance,
    machine::Run,
    plot,
    rows::Rows,
    sections::{BENCHMARKS, Benchmark},
    table,
};

const PATH: &str = "docs/BENCHMARKS.md";
/// The directory of the drawings, next to the document.
const FOLDER: &str = "benchmarks";
const HEAD: &str = "\
# Benchmarks

This page compares the cost of tcpstate with the cost of other programs. `cargo xtask bench` writes
this page.

A run of a benchmark consists of turns. Each turn measures all compared programs one after the
other, on one machine. A cell such as `64.0 ± 7.90 (1.16 ×)` has three parts:

* The first number in a cell is the median of the turns.
* The number after ± is the difference between the largest and the smallest turn.
* The number in parentheses is the ratio of the median to the reference figure of the section.

A dash means that a program was not measured. The reason is below the table. Do not compare figures
of different sections or of different machines.
";

/// Writes the document and the drawings.
pub(super) fn write(root: &Path, folder: &Path) -> Result<()> {
    let mut runs = Vec::new();
    for benchmark in &BENCHMARKS {
        if let Some(run) = Run::kept(folder, benchmark.name)? {
            runs.push((benchmark, run));
        }
    }
    let folder = root.join("docs").join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for (benchmark, run) in &runs {
        for section in benchmark.sections.iter().filter(|section| run.rows.has(section)) {
            plot::draw(&folder, section, &run.rows)?;
        }
    }
    let path = root.join(PATH);
    let mut all = Rows::default();
    for (_, run) in &runs {
        all.add(run.rows.clone());
    }
    fs::write(&path, text(&runs, &all)).with_context(|| format!("write {}", path.display()))?;
    println!("\n{}\nwrote {PATH}", acceptance::plain(&all));
    Ok(())
}

fn text(runs: &[(&Benchmark, Run)], all: &Rows) -> String {
    let mut text = HEAD.to_owned();
    for (number, (benchmark, run)) in runs.iter().enumerate() {
        if number == 0 || run.machine != runs[number - 1].1.machine {
            let machine = &run.machine;
            _ = write!(
                text,
                "\nThe runs in this list used Linux {}, {} processors ({}) and {} GiB of memory:\n",
                machine.kernel, machine.processors, machine.processor, machine.memory_gib
            );
        }
        let newline = if number == 0 { "\n" } else { "" };
        let name = benchmark.name;
        _ = writeln!(text, "{newline}* `cargo xtask bench {name}` ran on {} (UTC)", run.when);
    }
    let mut tables = String::new();
    for (benchmark, run) in runs {
        for section in benchmark.sections.iter().filter(|section| run.rows.has(section)) {
            _ = write!(tables, "\n## {}\n\n{}\n", section.title, table::wrapped(section.text));
            if !section.base.is_empty() {
                _ = write!(tables, "\nRatios are relative to {}.\n", section.base);
            }
            _ = write!(tables, "\n{}", table::markdown(section, &run.rows));
            if let Some(plot) = &section.plot {
                let name = plot::name(section);
                _ = write!(tables, "\n![{} by {}]({FOLDER}/{name})\n", plot.figure, section.at);
            }
        }
    }
    _ = write!(text, "\n## Promises\n\n{}", acceptance::markdown(all));
    text + &tables
}
