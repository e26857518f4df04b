//! Writes a software bill of materials in CycloneDX 1.5. The bill lists the crates from which cargo
//! builds the packaged program.
//!
//! `cargo tree` lists the crates, because `cargo tree` can use only the features of the packaged
//! program. `cargo metadata` would use the features of the whole workspace. The bill contains no
//! machine name and no time, so identical sources give identical bills.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::process;

/// The package of the program.
const PROGRAM: &str = "tcpstate";
const KERNEL_HALF: &str = "tcpstate-ebpf";

/// Identifies a crate by its name and version.
type Id = (String, String);

/// An entry of the bill: the properties of one crate.
#[derive(Debug, Default)]
struct Component {
    license: String,
    repository: String,
    needs: BTreeSet<Id>,
}

type Components = BTreeMap<Id, Component>;

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Returns the bill of materials of the program for this target, as JSON.
pub(crate) fn of(root: &Path, target: &str) -> Result<String> {
    let mut components = Components::new();
    for package in [PROGRAM, KERNEL_HALF] {
        let mut cargo = process::cargo(root);
        cargo
            .args(["tree", "--quiet", "--locked", "--package", package, "--target", target])
            .args(["--edges", "normal,build", "--charset", "ascii", "--prefix", "depth"])
            .args(["--format", "{p}|{l}|{r}"]);
        read_tree(&process::read(&mut cargo)?, &mut components)?;
    }
    let find = |name: &str| components.keys().find(|(it, _)| it == name).cloned();
    let program = find(PROGRAM).context("cargo tree names the program")?;
    let half = find(KERNEL_HALF).context("cargo tree names the kernel half")?;
    if let Some(component) = components.get_mut(&program) {
        component.needs.insert(half);
    }
    let lock = root.join("Cargo.lock");
    let text = fs::read_to_string(&lock).with_context(|| format!("read {}", lock.display()))?;
    let lock: Lock = toml::from_str(&text).context("the format of Cargo.lock is unknown")?;
    let checksums = lock.package.into_iter().filter_map(|locked| {
        let Locked { name, version, checksum } = locked;
        Some(((name, version), checksum?))
    });
    let bill = bill(&components, &program, &checksums.collect());
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// Parses lines such as `2serde v1.0.1 (proc-macro)|MIT|https://… (*)`. The first number, here 2,
/// is the depth of the crate in the tree. `(*)` means that an earlier line listed the dependencies
/// of the crate in this line.
fn read_tree(tree: &str, components: &mut Components) -> Result<()> {
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let read = || {
            let begin = line.find(|c: char| !c.is_ascii_digit())?;
            let depth: usize = line[..begin].parse().ok()?;
            let mut parts = line[begin..].trim_end_matches(" (*)").splitn(3, '|');
            let mut words = parts.next()?.split(' ');
            let id = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
            Some((depth, id, parts.next()?, parts.next()?))
        };
        let (depth, id, license, repository) =
            read().with_context(|| format!("line of cargo tree: {line}"))?;
        above.truncate(depth);
        if let Some(parent) = above.last() {
            components.entry(parent.clone()).or_default().needs.insert(id.clone());
        }
        let component = components.entry(id.clone()).or_default();
        // The manifests of old crates write a slash instead of OR between alternative licenses.
        component.license = license.replace('/', " OR ");
        repository.clone_into(&mut component.repository);
        above.push(id);
    }
    Ok(())
}

fn bill(components: &Components, program: &Id, checksums: &BTreeMap<Id, String>) -> Value {
    let describe = |kind: &str, id: &Id| {
        let (name, version) = id;
        let Component { license, repository, .. } = &components[id];
        let mut component = json!({
            "type": kind,
            "bom-ref": reference(id),
            "name": name,
            "version": version,
            "purl": reference(id),
        });
        if let Some(checksum) = checksums.get(id) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        if !license.is_empty() {
            component["licenses"] = json!([{ "expression": license }]);
        }
        if !repository.is_empty() {
            component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
        }
        component
    };
    let parts = components.keys().filter(|id| *id != program);
    let dependencies = components.iter().map(|(id, component)| {
        let needs: Vec<String> = component.needs.iter().map(reference).collect();
        json!({ "ref": reference(id), "dependsOn": needs })
    });
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": describe("application", program) },
        "components": parts.map(|id| describe("library", id)).collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    })
}

/// Returns the package URL of a crate. Vulnerability scanners search for the package URL.
fn reference((name, version): &Id) -> String {
    format!("pkg:cargo/{name}@{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_becomes_a_graph_with_licenses_and_checksums() {
        let tree = "\
0tcpstate v0.1.0 (/a/b)|MIT|
1serde v1.0.1|MIT/Apache-2.0|https://s
2serde_derive v1.0.1 (proc-macro)||
1serde_derive v1.0.1 (proc-macro)|| (*)
";
        let mut components = Components::new();
        read_tree(tree, &mut components).expect("it is a tree");
        let id = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let checksums = [(id("serde", "1.0.1"), "ab12".to_owned())].into();
        let bill = bill(&components, &id("tcpstate", "0.1.0"), &checksums);
        assert_eq!(bill["metadata"]["component"]["purl"], "pkg:cargo/tcpstate@0.1.0");
        assert_eq!(
            bill["components"],
            json!([
                {
                    "type": "library",
                    "bom-ref": "pkg:cargo/serde@1.0.1",
                    "name": "serde",
                    "version": "1.0.1",
                    "purl": "pkg:cargo/serde@1.0.1",
                    "hashes": [{ "alg": "SHA-256", "content": "ab12" }],
                    "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                    "externalReferences": [{ "type": "vcs", "url": "https://s" }],
                },
                {
                    "type": "library",
                    "bom-ref": "pkg:cargo/serde_derive@1.0.1",
                    "name": "serde_derive",
                    "version": "1.0.1",
                    "purl": "pkg:cargo/serde_derive@1.0.1",
                },
            ])
        );
        let needs = |number: usize| &bill["dependencies"][number]["dependsOn"];
        let [serde, derive] = ["pkg:cargo/serde@1.0.1", "pkg:cargo/serde_derive@1.0.1"];
        assert_eq!(needs(0), &json!([derive]));
        assert_eq!(needs(1), &json!([]));
        assert_eq!(needs(2), &json!([serde, derive]));
        assert!(read_tree("no tree", &mut components).is_err());
    }
}
