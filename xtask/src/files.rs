//! Lists the files of the source tree.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Returns the files below a folder, as paths relative to `root`.
///
/// `is_skipped` returns whether a folder or a file is skipped. Only files with one of the
/// extensions are listed. The folders `target` and `.git` are always skipped.
pub(crate) fn below(
    root: &Path,
    folder: &Path,
    extensions: &[&str],
    is_skipped: &dyn Fn(&Path) -> bool,
) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let read = || format!("read {}", root.join(folder).display());
    for entry in fs::read_dir(root.join(folder)).with_context(read)? {
        let entry = entry.with_context(read)?;
        let path = folder.join(entry.file_name());
        if is_skipped(&path) {
            continue;
        }
        if entry.file_type().with_context(read)?.is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                files.extend(below(root, &path, extensions, is_skipped)?);
            }
        } else if path
            .extension()
            .is_some_and(|extension| extensions.iter().any(|it| extension == *it))
        {
            files.insert(path);
        }
    }
    Ok(files)
}
