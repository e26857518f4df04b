//! Checks the links between documents, and the file paths that documents name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::files;

/// The documents whose file paths are checked. The checked documents tell developers which files to
/// read or change.
const WITH_PATHS: [&str; 4] =
    ["CONTRIBUTING.md", "docs/ARCHITECTURE.md", "docs/GLOSSARY.md", "docs/PRINCIPLES.md"];
/// File name extensions. A word without a slash is a path if the word ends with one of these
/// extensions.
const EXTENSIONS: [&str; 3] = [".rs", ".toml", ".md"];

/// Returns the broken links of all documents: links to a file or a heading that does not exist.
pub(super) fn broken(root: &Path) -> Result<Vec<String>> {
    let mut documents = BTreeMap::new();
    for path in files::below(root, Path::new(""), &["md"], &|_| false)? {
        let text = fs::read_to_string(root.join(&path))
            .with_context(|| format!("read {}", path.display()))?;
        documents.insert(path, text);
    }
    let mut findings = Vec::new();
    for (document, text) in &documents {
        for (line, target) in links(text) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let target_file = if path.is_empty() {
                document.clone()
            } else {
                normal(&document.parent().unwrap_or(Path::new("")).join(path))
            };
            let place = format!("{}:{line}", document.display());
            if !root.join(&target_file).exists() {
                findings.push(format!("{place}: no {}", target_file.display()));
            } else if !heading.is_empty()
                && let Some(text) = documents.get(&target_file)
                && !anchors(text).any(|anchor| anchor == heading)
            {
                findings.push(format!("{place}: no heading #{heading} in {path}"));
            }
        }
    }
    Ok(findings)
}

/// Returns the file paths in developer documents that lead to no existing file.
pub(super) fn missing(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for document in WITH_PATHS {
        let text =
            fs::read_to_string(root.join(document)).with_context(|| format!("read {document}"))?;
        for (line, path) in paths(&text) {
            if !root.join(without_placeholder(path)).exists() {
                findings.push(format!("{document}:{line}: no {path}"));
            }
        }
    }
    Ok(findings)
}

/// Returns the number and the text of each line outside code blocks. The first line of the document
/// has number 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Returns the targets of links inside the project, with line numbers. A target is a file or a
/// heading.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(number, line)| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let targets = targets.map(|(target, _)| target);
        targets.filter(|target| !target.contains(':')).map(move |target| (number, target))
    })
}

/// Returns the paths in backticks, with line numbers. The paths are relative to the root of the
/// tree.
fn paths(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_path = |word: &&str| {
        let is_file = EXTENSIONS.iter().any(|end| word.ends_with(end));
        let is_plain = !word.contains(|c: char| c.is_whitespace() || "\"<>()[]:=".contains(c));
        is_plain && !word.starts_with('/') && (word.contains('/') || is_file)
    };
    prose(text).flat_map(move |(number, line)| {
        line.split('`').skip(1).step_by(2).filter(is_path).map(move |path| (number, path))
    })
}

/// Returns the part of a path before a placeholder, which is a word in capitals that readers
/// replace with a name.
fn without_placeholder(path: &str) -> PathBuf {
    let is_placeholder = |part: &&str| {
        let stem = part.split('.').next().unwrap_or(part);
        !matches!(*part, "README.md" | "CHANGELOG.md" | "CONTRIBUTING.md")
            && !path.starts_with("docs/")
            && stem.chars().all(|c| c.is_ascii_uppercase())
    };
    path.split('/').take_while(|part| !is_placeholder(part)).collect()
}

/// Returns the anchors that GitHub creates for the headings.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = prose(text).filter_map(|(_, line)| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| heading.trim().to_lowercase())
    });
    headings.map(|heading| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// Returns the path with each `..` resolved.
fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.iter().filter_map(|part| part.to_str()) {
        match part {
            ".." => _ = parts.pop(),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a temporary directory with these files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a file lies in a folder"))
                .expect("the test owns it");
            fs::write(path, text).expect("the test owns the folder");
        }
        folder
    }

    #[test]
    fn links_to_missing_files_and_headings_are_found() {
        let tree = tree(&[
            ("README.md", "[a](docs/A.md) [b](docs/B.md)\n[c](docs/A.md#how-to---go)\n"),
            ("docs/A.md", "## How to - go!\n[r](../README.md#none) [w](https://x.y/z)\n"),
            ("target/T.md", "[x](gone.md)"),
            ("docs/C.md", "```text\n[x](gone.md)\n```\n[self](#self)\n# Self\n"),
        ]);
        let expected = [
            "README.md:1: no docs/B.md".to_owned(),
            "docs/A.md:2: no heading #none in ../README.md".to_owned(),
        ];
        assert_eq!(broken(tree.path()).expect("it can be read"), expected);
    }

    #[test]
    fn paths_in_backticks_have_to_exist() {
        let text = "`src/a.rs`, `src/NAME.rs` and `src/FAMILY/`\n`gone/NAME.rs`: `b.rs`, `/proc/1`\n`cargo x/y z` `a::b`\n";
        let found: Vec<_> = paths(text).collect();
        let expected = [
            (1, "src/a.rs"),
            (1, "src/NAME.rs"),
            (1, "src/FAMILY/"),
            (2, "gone/NAME.rs"),
            (2, "b.rs"),
        ];
        assert_eq!(found, expected);
        assert_eq!(without_placeholder("src/NAME.rs"), Path::new("src"));
        assert_eq!(without_placeholder("docs/GUIDE.md"), Path::new("docs/GUIDE.md"));
        let files = WITH_PATHS.map(|path| (path, "`src/gone.rs`\n"));
        let findings = missing(tree(&files).path()).expect("it can be read");
        assert_eq!(findings.len(), WITH_PATHS.len(), "{findings:?}");
        assert_eq!(findings[0], "CONTRIBUTING.md:1: no src/gone.rs");
    }

    #[test]
    fn links_and_paths_of_the_tree_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(broken(&root).expect("it can be read"), [""; 0]);
        assert_eq!(missing(&root).expect("it can be read"), [""; 0]);
    }
}
