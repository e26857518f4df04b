//! The files that hold texts.

use std::path::Path;

use anyhow::Result;

use crate::files;

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Document,
    Rust,
    /// Comments begin with `#`.
    Settings,
}

/// A file with texts.
#[derive(Debug)]
pub(super) struct File {
    /// The path from the root of the tree.
    pub(super) path: String,
    pub(super) kind: Kind,
}

/// The files with texts below `root`, sorted. `skip` has the folders and files that are left out.
pub(super) fn with_texts(root: &Path, skip: &[String]) -> Result<Vec<File>> {
    let is_skipped = |path: &Path| skip.iter().any(|skipped| path == Path::new(skipped));
    let mut found = Vec::new();
    for (extensions, kind) in [
        (&["md"][..], Kind::Document),
        (&["rs"], Kind::Rust),
        (&["toml", "yml", "service"], Kind::Settings),
    ] {
        let paths = files::below(root, Path::new(""), extensions, &is_skipped)?;
        let named = paths.iter().map(|path| path.to_string_lossy().into_owned());
        found.extend(named.map(|path| File { path, kind }));
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}
