//! Compares the code with the allowed edges between the modules of the user half, and between the
//! crates.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{
    graph::{absolute, resolve},
    modules::{self, Modules, Segments},
    table::{DOCUMENT, Table},
};

/// The directory of the crate whose modules are listed in the table of allowed edges.
const USER_HALF: &str = "tcpstate/src";

/// Compares the edges between the top-level modules of the user half with the table. Returns the
/// differences.
pub(super) fn modules(root: &Path) -> Result<Vec<String>> {
    let table = Table::read(root, "module")?;
    Ok(of_modules(&modules::read(&root.join(USER_HALF), "lib.rs")?, &table))
}

fn of_modules(modules: &Modules, table: &Table) -> Vec<String> {
    let there: BTreeSet<String> =
        modules.keys().filter(|path| path.len() == 1).map(|path| path[0].clone()).collect();
    let mut findings = table.faults(&there);
    let mut used = BTreeSet::new();
    for (path, module) in modules {
        // The root file of the user half only declares modules, so the root needs no allowed edges.
        let Some(from) = path.first() else { continue };
        let mut seen = BTreeSet::new();
        for mention in &module.mentions {
            for to in modules_named(modules, path, &mention.path) {
                if to == *from || !seen.insert((mention.line, mention.path.clone(), to.clone())) {
                    continue;
                }
                if let Some(row) = table.row(from)
                    && !row.may_use.contains(&to)
                {
                    findings.push(format!(
                        "{USER_HALF}/{}:{}: `{}` uses `{to}`, which the row of `{from}` ({DOCUMENT}:{}) does not allow",
                        module.file.display(),
                        mention.line,
                        mention.path.join("::"),
                        row.line,
                    ));
                }
                used.insert((from.clone(), to));
            }
        }
    }
    findings.extend(table.unused(&used));
    findings
}

/// Returns the top-level modules that a path depends on: the top-level module in the path, and the
/// top-level module that contains the definition of the name. A path that begins with a local name
/// is skipped, because the import of this name is checked.
fn modules_named(modules: &Modules, from: &Segments, path: &Segments) -> BTreeSet<String> {
    let Some(written) = absolute(from, path) else { return BTreeSet::new() };
    let definer = resolve(modules, from, path);
    let definer = definer.as_ref().and_then(|target| target.module().first());
    let named = written.first().filter(|name| modules.contains_key(std::slice::from_ref(*name)));
    named.into_iter().chain(definer).cloned().collect()
}

/// Compares the dependencies between the crates of the workspace with the table. Returns the
/// differences. Dependencies that only tests use are not checked.
pub(super) fn crates(root: &Path) -> Result<Vec<String>> {
    let table = Table::read(root, "crate")?;
    let packages = packages(root)?;
    let there: BTreeSet<String> = packages.keys().cloned().collect();
    let mut findings = table.faults(&there);
    let mut used = BTreeSet::new();
    for (name, package) in &packages {
        for to in dependencies(&package.manifest).filter(|to| there.contains(*to)) {
            if let Some(row) = table.row(name)
                && !row.may_use.iter().any(|entry| entry == to)
            {
                findings.push(format!(
                    "{}/Cargo.toml: `{name}` uses `{to}`, which its row ({DOCUMENT}:{}) does not allow",
                    package.folder, row.line,
                ));
            }
            used.insert((name.clone(), to.to_owned()));
        }
    }
    findings.extend(table.unused(&used));
    Ok(findings)
}

/// A package of the workspace.
pub(super) struct Package {
    pub(super) folder: String,
    manifest: toml::Table,
}

/// Returns the packages of the workspace by name.
pub(super) fn packages(root: &Path) -> Result<BTreeMap<String, Package>> {
    let manifest = manifest(&root.join("Cargo.toml"))?;
    let members = manifest.get("workspace").and_then(|workspace| workspace.get("members"));
    let members = members.and_then(toml::Value::as_array).context("no members of the workspace")?;
    let packages = members.iter().filter_map(toml::Value::as_str).map(|folder| {
        let manifest = self::manifest(&root.join(folder).join("Cargo.toml"))?;
        let name = manifest.get("package").and_then(|package| package.get("name"));
        let name = name.and_then(toml::Value::as_str);
        let name = name.with_context(|| format!("{folder}/Cargo.toml has no name"))?.to_owned();
        Ok((name, Package { folder: folder.to_owned(), manifest }))
    });
    packages.collect()
}

fn manifest(path: &Path) -> Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.parse().with_context(|| format!("parse {}", path.display()))
}

fn dependencies(manifest: &toml::Table) -> impl Iterator<Item = &str> {
    let sections = ["dependencies", "build-dependencies"].into_iter();
    let tables = sections.filter_map(|section| manifest.get(section)?.as_table());
    tables.flat_map(|table| table.keys().map(String::as_str))
}
