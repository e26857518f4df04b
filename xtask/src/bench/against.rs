//! `cargo xtask bench transitions --against REV` runs a benchmark of the work tree and of an
//! earlier revision, and compares the results.
//!
//! Each revision is measured with the user half and the BPF object of this revision, so the two
//! revisions may use different kernel interfaces. The two revisions take turns in random order,
//! because the speed of the machine drifts. The medians of the turns are compared.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{build, measure, rows::Rows, sections::Benchmark, table};
use crate::process;

/// The number of runs of each revision. `TURNS` is odd, so that the median is the result of one
/// run.
const TURNS: usize = 15;
/// The name of the figure that is compared.
const FIGURE: &str = "ns";

/// For each row, the measured figures of both revisions. The first list has the figures of the
/// earlier revision, and the second list has the figures of the work tree.
type Samples = BTreeMap<(u64, String), [Vec<f64>; 2]>;

/// Runs a benchmark of the work tree and of an earlier revision, and prints the medians of both.
pub(super) fn run(root: &Path, benchmark: &Benchmark, revision: &str) -> Result<()> {
    let before = checkout(root, revision)?;
    let mut executables = Vec::new();
    for tree in [before.as_path(), root] {
        println!("building {}", tree.display());
        executables.extend(build(tree, &[benchmark])?);
    }
    let [before, now] = &executables[..] else { bail!("a benchmark is one program") };
    let section = benchmark.sections.first().context("a benchmark has a section")?;
    let mut samples = Samples::new();
    for turn in 1..=TURNS {
        let mut order = [(0, before), (1, now)];
        if RandomState::new().hash_one(turn) % 2 == 0 {
            order.reverse();
        }
        for (side, executable) in order {
            let rows = Rows::parse(&measure(executable, true)?)?;
            for row in rows.of(section.id) {
                if let Some(figure) = row.figure(FIGURE) {
                    let key = (row.at.unwrap_or_default(), row.what.clone());
                    samples.entry(key).or_default()[side].push(figure.median);
                }
            }
        }
        eprintln!("turn {turn} of {TURNS}");
    }
    println!("\n{}: {revision} and the tree, medians of {TURNS} shuffled turns\n", section.title);
    print!("{}", table::aligned(&lines(&samples)));
    Ok(())
}

/// Creates a git work tree of a revision in the directory `target`, and returns the directory of
/// the work tree.
fn checkout(root: &Path, revision: &str) -> Result<PathBuf> {
    let git = |arguments: &[&str]| {
        let mut git = process::command("git");
        git.current_dir(root).args(arguments);
        git
    };
    let commit = format!("{revision}^{{commit}}");
    let commit = process::read(&mut git(&["rev-parse", "--verify", "--quiet", &commit]))
        .with_context(|| format!("no revision {revision}"))?;
    let folder = root.join("target/bench-against").join(commit.trim());
    if !folder.join("Cargo.toml").exists() {
        let path = folder.to_string_lossy().into_owned();
        process::run(&mut git(&["worktree", "prune"]))?;
        process::run(&mut git(&["worktree", "add", "--force", "--detach", &path, commit.trim()]))?;
    }
    Ok(folder)
}

/// Returns a line for each row: the medians of both revisions, and the new median divided by the
/// old median.
fn lines(samples: &Samples) -> Vec<Vec<String>> {
    let header = ["what", "at", "before ns", "now ns", "ratio"];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    for ((at, what), sides) in samples {
        let cells = match sides.each_ref().map(|side| median(side)) {
            [Some(before), Some(now)] => {
                [format!("{before:.1}"), format!("{now:.1}"), format!("{:.3}", now / before)]
            }
            [before, now] => {
                let cell = |median: Option<f64>| median.map_or("-".into(), |ns| format!("{ns:.1}"));
                [cell(before), cell(now), "-".into()]
            }
        };
        lines.push([vec![what.clone(), at.to_string()], cells.to_vec()].concat());
    }
    lines
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_compares_the_medians_of_both_sides() {
        let mut samples = Samples::new();
        samples.insert((0, "counters".into()), [vec![90.0, 100.0, 300.0], vec![50.0, 50.0, 50.0]]);
        samples.insert((0, "new".into()), [Vec::new(), vec![7.0]]);
        let lines = lines(&samples);
        assert_eq!(lines[1], ["counters", "0", "100.0", "50.0", "0.500"]);
        assert_eq!(lines[2], ["new", "0", "-", "7.0", "-"]);
    }
}
