//! Checks the rules for the whole source tree: allowed edges, import cycles, and the length of
//! files and functions.

use std::path::Path;

use anyhow::{Result, bail};

use super::{cycles, graph, layers, links, modules, prose, sizes};
use crate::test::report::Report;

/// The crates that are checked for import cycles: the source directory and the name of the root
/// file.
const CRATES: [(&str, &str); 5] = [
    ("tcpstate-common/src", "lib.rs"),
    ("tcpstate-ebpf/src", "main.rs"),
    ("tcpstate/src", "lib.rs"),
    ("tests/src", "lib.rs"),
    ("xtask/src", "main.rs"),
];

/// Runs one step of the report for each rule.
pub(super) fn check(root: &Path, report: &mut Report) {
    report.check("allowed edges between modules", || expect_none(&layers::modules(root)?));
    report.check("allowed edges between crates", || expect_none(&layers::crates(root)?));
    report.check("import cycles", || expect_none(&cycles(root, &CRATES)?));
    report.check("long files and functions", || {
        let packages = layers::packages(root)?;
        let folders: Vec<&str> = packages.values().map(|package| package.folder.as_str()).collect();
        expect_none(&sizes::unexplained(root, &folders)?)
    });
    report.check("prose", || expect_none(&prose::check(root)?));
    report.check("links between documents", || expect_none(&links::broken(root)?));
    report.check("paths that documents name", || expect_none(&links::missing(root)?));
}

/// Returns each import cycle in these crates that consists of three or more files.
fn cycles(root: &Path, crates: &[(&str, &str)]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (folder, file) in crates {
        let modules = modules::read(&root.join(folder), file)?;
        found.extend(cycles::cycles(&graph::edges(&modules), Path::new(folder)));
    }
    Ok(found)
}

fn expect_none(findings: &[String]) -> Result<()> {
    if !findings.is_empty() {
        bail!("{}\n{} violations", findings.join("\n"), findings.len());
    }
    Ok(())
}
