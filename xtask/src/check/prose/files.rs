//! Lists the files whose texts are checked.

use std::path::Path;

use anyhow::Result;

use crate::files;

/// The language of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Document,
    Rust,
    /// A settings file, in which comments begin with `#`.
    Settings,
}

/// A file whose texts are checked.
#[derive(Debug)]
pub(super) struct File {
    /// The path of the file, relative to the root of the tree.
    pub(super) path: String,
    pub(super) kind: Kind,
}

/// Returns the sorted files below `root` whose texts are checked. `skip` lists the folders and
/// files that are not checked.
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
