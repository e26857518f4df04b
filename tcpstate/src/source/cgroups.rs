//! Where the cgroup with a number is: the number is the inode of its folder.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// Where version 2 of the file system lies: alone, or beside version 1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
/// Folders that are looked at. A host has some hundreds.
const MOST_FOLDERS: usize = 1 << 16;

/// All cgroups that this process can see, by number.
#[derive(Debug, Default)]
pub struct Cgroups(HashMap<u64, String>);

impl Cgroups {
    /// Walks over the folders. What can't be read has no path.
    #[must_use]
    pub fn now() -> Self {
        // Only version 2 has this file, in every folder.
        let is_version_2 = |root: &&&str| Path::new(root).join("cgroup.controllers").exists();
        ROOTS.iter().find(is_version_2).map(|root| Self::below(Path::new(root))).unwrap_or_default()
    }

    fn below(root: &Path) -> Self {
        let mut paths = HashMap::new();
        if let Ok(folder) = fs::metadata(root) {
            paths.insert(folder.ino(), "/".to_owned());
        }
        let mut folders: Vec<PathBuf> = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || paths.len() >= MOST_FOLDERS
                {
                    continue;
                }
                let path = entry.path();
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
                paths.insert(entry.ino(), format!("/{name}"));
                folders.push(path);
            }
        }
        Self(paths)
    }

    /// Where this one is.
    #[must_use]
    pub fn path(&self, id: u64) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_found_by_their_inode() {
        let root = std::env::temp_dir().join(format!("tcpstate-cgroups-{}", std::process::id()));
        let inner = root.join("system.slice/nginx.service");
        fs::create_dir_all(&inner).expect("temporary folders can be made");
        fs::write(inner.join("cgroup.procs"), "").expect("files too");
        let ino = |path: &Path| fs::metadata(path).expect("it was made").ino();
        let cgroups = Cgroups::below(&root);
        assert_eq!(cgroups.path(ino(&root)), Some("/"));
        assert_eq!(cgroups.path(ino(&inner)), Some("/system.slice/nginx.service"));
        assert_eq!(cgroups.path(ino(&inner.join("cgroup.procs"))), None);
        fs::remove_dir_all(&root).expect("they are ours");
    }
}
