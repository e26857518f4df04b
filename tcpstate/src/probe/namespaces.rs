//! Finds every network namespace of the host and its name.
//!
//! The kernel has a list of all network namespaces but does not export the list. This module
//! searches all places in which a file refers to a network namespace: tasks, names, mounts and open
//! descriptors. The search does not find a namespace that only an open socket keeps alive.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs,
    os::{
        fd::AsFd as _,
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::MetadataExt as _,
        },
    },
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, setns};

use super::{Error, Pulse, netns};
use crate::text::readable;

/// The folders in which `ip netns` and Docker keep one file for each namespace.
const FOLDERS: [&str; 3] = [netns::NAMES[0], netns::NAMES[1], "/run/docker/netns"];

/// The maximum number of search rounds. During a round, a namespace can move from a place that is
/// not searched yet to a place that was already searched. The next round finds a namespace that
/// moved during the search.
const MAX_ROUNDS: u32 = 3;

/// The network namespaces that were found.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    /// The inodes of the namespaces. If a namespace is deleted during the search, a new namespace
    /// may get the inode of the deleted namespace. The search does not visit a new namespace if the
    /// new namespace has the inode of a deleted namespace.
    seen: HashSet<u64>,
    /// The number of namespaces that could not be entered.
    pub(crate) refused: u64,
}

impl Visited {
    /// Returns whether the namespace with this inode was found, even if the namespace could not be
    /// entered.
    pub(crate) fn found(&self, inode: u64) -> bool {
        self.seen.contains(&inode)
    }
}

/// Moves the calling thread into each network namespace of the host once, and calls `visit` there.
/// After the search, the thread stays in the last namespace that the search entered. The function
/// records each step in `pulse`.
pub(crate) fn visit_each(
    pulse: &Pulse,
    visit: impl FnMut() -> Result<(), Error>,
) -> Result<Visited, Error> {
    let mut tour = Tour { visit, visited: Visited::default(), pulse };
    for _ in 0..MAX_ROUNDS {
        let before = tour.visited.seen.len();
        tour.round()?;
        if tour.visited.seen.len() == before {
            break;
        }
    }
    Ok(tour.visited)
}

struct Tour<'a, V> {
    visit: V,
    visited: Visited,
    pulse: &'a Pulse,
}

impl<V: FnMut() -> Result<(), Error>> Tour<'_, V> {
    fn round(&mut self) -> Result<(), Error> {
        self.stop_at_link(Path::new(netns::OWN))?;
        for process in children(Path::new("/proc")).filter(|path| is_number(path)) {
            self.pulse.beat();
            for task in children(&process.join("task")) {
                self.stop_at_link(&task.join("ns/net"))?;
            }
            for descriptor in children(&process.join("fd")) {
                self.stop_at_link(&descriptor)?;
            }
        }
        for file in FOLDERS.iter().flat_map(|folder| children(Path::new(folder))) {
            self.stop_at_file(&file)?;
        }
        for mount in mounts(&fs::read("/proc/thread-self/mountinfo").unwrap_or_default()) {
            self.stop_at_file(&mount)?;
        }
        Ok(())
    }

    /// Visits the namespace to which a procfs link refers. The text of a procfs link contains the
    /// inode of the namespace.
    fn stop_at_link(&mut self, link: &Path) -> Result<(), Error> {
        let Ok(target) = fs::read_link(link) else { return Ok(()) };
        match inode(target.as_os_str().as_bytes()) {
            Some(inode) if !self.visited.found(inode) => self.stop(link),
            _ => Ok(()),
        }
    }

    fn stop_at_file(&mut self, file: &Path) -> Result<(), Error> {
        match fs::metadata(file) {
            Ok(metadata) if !self.visited.found(metadata.ino()) => self.stop(file),
            _ => Ok(()),
        }
    }

    /// Visits a namespace. If the path does not exist or is not a network namespace, the function
    /// does nothing.
    fn stop(&mut self, path: &Path) -> Result<(), Error> {
        let Ok(Some(namespace)) = netns::open(path) else { return Ok(()) };
        let Ok(metadata) = namespace.metadata() else { return Ok(()) };
        if !self.visited.seen.insert(metadata.ino()) {
            return Ok(());
        }
        if setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).is_err() {
            self.visited.refused += 1;
            return Ok(());
        }
        self.pulse.beat();
        (self.visit)()
    }
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn is_number(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().iter().all(u8::is_ascii_digit))
}

/// Parses the text of a namespace link, such as `net:[4026531840]`.
pub(super) fn inode(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    str::from_utf8(number).ok()?.parse().ok()
}

/// Returns the paths at which namespaces are mounted, from lines of `mountinfo` such as `529 26 0:4
/// net:[4026532177] /run/netns/blue rw shared:5 - nsfs nsfs rw`
pub(super) fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(3);
        inode(fields.next()?)?;
        Some(PathBuf::from(OsString::from_vec(unescape(fields.next()?))))
    })
}

/// Decodes a field such as `a\040b`. The kernel writes a separator inside a field as a backslash
/// and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(digits.unwrap_or(byte));
        rest = if digits.is_some() { &after[3..] } else { after };
    }
    bytes
}

/// The names of network namespaces.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<u64, String>);

impl Names {
    /// Reads the names of all existing network namespaces.
    pub(crate) fn read() -> Self {
        let mut names = HashMap::new();
        // If a namespace is deleted, the file with the name of the namespace may remain. The file
        // of a deleted namespace is not in the file system of namespaces (nsfs).
        let Ok(own) = fs::metadata(netns::OWN) else { return Self::default() };
        for file in netns::NAMES.iter().flat_map(|folder| children(Path::new(folder))) {
            if let (Ok(metadata), Some(name)) = (fs::metadata(&file), file.file_name())
                && metadata.dev() == own.dev()
            {
                names.entry(metadata.ino()).or_insert_with(|| readable(name).into_owned());
            }
        }
        Self(names)
    }

    /// Returns the name of the namespace that has this inode.
    pub(crate) fn of(&self, inode: u64) -> Option<String> {
        self.0.get(&inode).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_mounts_of_network_namespaces_are_recognized() {
        assert_eq!(inode(b"net:[4026531840]"), Some(4_026_531_840));
        assert_eq!(inode(b"mnt:[4026531841]"), None);
        assert_eq!(inode(b"socket:[4026531841]"), None);
        let mountinfo =
            b"529 26 0:4 net:[4026532177] /run/netns/b\\040l\\134 rw shared:5 - nsfs nsfs rw\n\
            530 26 0:4 mnt:[4026532178] /run/snapd/ns/x.mnt rw - nsfs nsfs rw\n\
            26 1 254:0 / / rw - ext4 /dev/vda rw\n";
        assert_eq!(mounts(mountinfo).collect::<Vec<_>>(), [PathBuf::from("/run/netns/b l\\")]);
    }
}
