//! Hashes the sources of the BPF object. Copies the sources of the BPF object, so that the copy can
//! be changed and built.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{files, lock::hexadecimal, object, process};

/// The packages from which the BPF object is built.
const PACKAGES: [&str; 2] = ["tcpstate-common", "tcpstate-ebpf"];

/// Returns the SHA-256 over the sources and manifests of both BPF packages, the versions and
/// features of the dependencies of the BPF object, and the build options.
///
/// The dependencies are read from `cargo tree` and not from `Cargo.lock`. `Cargo.lock` also
/// contains the dependencies of the user half. If the hash covered `Cargo.lock`, an update of a
/// user-half dependency would wrongly mark the object as outdated.
pub(crate) fn hash(root: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        digest.update(format!("{name}\n{}\n", bytes.len()));
        digest.update(bytes);
    };
    for file in files(root)? {
        let bytes =
            fs::read(root.join(&file)).with_context(|| format!("read {}", file.display()))?;
        add(&file.to_string_lossy(), &bytes);
    }
    add("dependencies", dependencies(root)?.as_bytes());
    add("options", object::OPTIONS.join(" ").as_bytes());
    Ok(hexadecimal(digest))
}

/// Returns the sorted files of the packages [`PACKAGES`] below `root`.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut sources = BTreeSet::new();
    for package in PACKAGES {
        sources.insert(Path::new(package).join("Cargo.toml"));
        sources.extend(files::below(root, &Path::new(package).join("src"), &["rs"], &|_| false)?);
    }
    Ok(sources)
}

/// Returns one line for each external package in the object: name, version, features.
fn dependencies(root: &Path) -> Result<String> {
    let mut tree = process::cargo(root);
    tree.args(["tree", "--quiet", "--package", "tcpstate-ebpf", "--target", "bpfel-unknown-none"]);
    tree.args([
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p} {f}",
    ]);
    let text = process::read(&mut tree)?;
    // Omit the packages of this workspace, because the hash covers the files of these packages.
    // `cargo tree` prints the directory of a package only for the packages of this workspace.
    let lines: BTreeSet<&str> =
        text.lines().map(str::trim).filter(|line| !line.contains(" (/")).collect();
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Copies the sources of the object into `folder`. The copy is a workspace without the user half.
pub(crate) fn copy(root: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    for file in files(root)? {
        let target = folder.join(&file);
        let parent = target.parent().context("a copied file has a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        fs::copy(root.join(&file), &target).with_context(|| format!("copy {}", file.display()))?;
    }
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).context("copy Cargo.lock")?;
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("read Cargo.toml")?;
    fs::write(folder.join("Cargo.toml"), reduced(&manifest)?).context("write the copy's Cargo.toml")
}

/// Returns the workspace's manifest, reduced to the members that the object needs.
fn reduced(manifest: &str) -> Result<String> {
    let mut manifest: toml::Table = manifest.parse().context("parse Cargo.toml")?;
    let workspace = manifest
        .get_mut("workspace")
        .and_then(toml::Value::as_table_mut)
        .context("no [workspace]")?;
    workspace.insert("members".into(), PACKAGES.to_vec().into());
    workspace.remove("default-members");
    toml::to_string(&manifest).context("write the copy's Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduced_manifest_keeps_everything_except_the_members() {
        let manifest = "[workspace]\nmembers = [\"a\"]\ndefault-members = [\"a\"]\n[workspace.package]\nversion = \"1\"\n";
        let reduced: toml::Table = reduced(manifest).expect("reduces").parse().expect("is TOML");
        let workspace = reduced["workspace"].as_table().expect("a table");
        assert_eq!(workspace["members"].as_array().map(Vec::len), Some(PACKAGES.len()));
        assert!(!workspace.contains_key("default-members"));
        assert_eq!(workspace["package"]["version"].as_str(), Some("1"));
    }
}
