//! Finds import cycles: files that import each other, directly or through other files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::graph::Edges;

/// The largest allowed number of files in an import cycle. Two files may import each other, but an
/// import cycle of three or more files is an error.
const LARGEST: usize = 2;

/// Returns the cycles that have too many files. Each returned text lists the files and the imported
/// names. Each file name in a returned text begins with `folder`.
pub(super) fn cycles(edges: &Edges, folder: &Path) -> Vec<String> {
    let files: BTreeSet<&PathBuf> = edges.keys().collect();
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        files.iter().map(|file| (*file, reachable(edges, file))).collect();
    let mut placed: BTreeSet<&PathBuf> = BTreeSet::new();
    let mut cycles = Vec::new();
    for file in files {
        if placed.contains(file) {
            continue;
        }
        let cycle: BTreeSet<&PathBuf> = reached[file]
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|reached| reached.contains(file)))
            .collect();
        placed.extend(&cycle);
        if cycle.len() > LARGEST {
            cycles.push(describe(edges, &cycle, folder));
        }
    }
    cycles
}

/// Returns every file that `start` imports, directly or through other files. The returned set
/// contains `start` itself only if `start` is part of an import cycle.
fn reachable<'a>(edges: &'a Edges, start: &PathBuf) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&PathBuf> =
        edges.get(start).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(file) = waiting.pop() {
        if reached.insert(file) {
            waiting.extend(edges.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

fn describe(edges: &Edges, cycle: &BTreeSet<&PathBuf>, folder: &Path) -> String {
    let mut text =
        format!("{}: {} files import each other in a cycle", folder.display(), cycle.len());
    for from in cycle {
        for (to, names) in &edges[*from] {
            if cycle.contains(to) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(text, "\n  {} -> {}: {}", from.display(), to.display(), names.join(", "))
                    .expect("a string accepts any text");
            }
        }
    }
    text
}
