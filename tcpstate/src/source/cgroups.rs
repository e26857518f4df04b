//! Finds the path of the cgroup that has a given id. The id of a cgroup is the inode of the
//! cgroup's folder.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    id_map::IdMap,
    process_cgroups::{ProcessCgroups, host_uses_version_1},
};
use crate::{
    report::{Cgroup, container::container},
    text::readable,
};

/// The possible mount points of cgroup version 2. Hosts with version 1 and version 2 use the first
/// path, and hosts with only version 2 use the second path.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
/// The maximum number of cgroup folders that a walk reads. A host usually has some hundreds of
/// cgroup folders.
const MAX_FOLDERS: usize = 1 << 16;

/// The paths of all cgroups that this process can see. The key of the map is the id of the cgroup.
#[derive(Debug, Default)]
pub struct Cgroups(HashMap<u64, String>);

impl Cgroups {
    /// Walks over the folders of all cgroups. The walk omits folders that cannot be read.
    #[must_use]
    pub fn now() -> Self {
        root().map(Self::below).unwrap_or_default()
    }

    /// Returns whether a cgroup of version 1 matches the text, which is as in
    /// [`matching`](Self::matching).
    #[must_use]
    pub fn is_in_version_1(path_or_id: &str) -> bool {
        // Each hierarchy of version 1 is mounted in a folder with the names of its controllers.
        let hierarchies = fs::read_dir(ROOTS[1]).into_iter().flatten().flatten();
        let mut roots = hierarchies.map(|hierarchy| hierarchy.path()).filter(|path| {
            path.join("cgroup.procs").exists() && !path.join("cgroup.controllers").exists()
        });
        roots.any(|root| !Self::below(&root).matching(path_or_id).is_empty())
    }

    fn below(root: &Path) -> Self {
        let mut paths = HashMap::new();
        if let Ok(folder) = fs::metadata(root) {
            paths.insert(folder.ino(), "/".to_owned());
        }
        let mut folders: Vec<PathBuf> = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || paths.len() >= MAX_FOLDERS
                {
                    continue;
                }
                let path = entry.path();
                let name = readable(path.strip_prefix(root).unwrap_or(&path).as_os_str());
                paths.insert(entry.ino(), format!("/{name}"));
                folders.push(path);
            }
        }
        Self(paths)
    }

    /// The text is an absolute path or the start of a container id. Returns the id of the cgroup
    /// with this path, or the ids of all cgroups of the matching containers.
    #[must_use]
    pub fn matching(&self, path_or_id: &str) -> Vec<u64> {
        let path = Path::new(path_or_id);
        let matches = |known: &str| match container(known) {
            _ if path.is_absolute() => Path::new(known) == path,
            Some(container) => container.id.starts_with(path_or_id) && known.contains(path_or_id),
            None => false,
        };
        self.0.iter().filter(|(_, known)| matches(known)).map(|(&id, _)| id).collect()
    }

    /// Returns the path of a cgroup.
    #[must_use]
    pub fn path(&self, id: u64) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }
}

/// Returns the mount point of cgroup version 2, if the host has one.
fn root() -> Option<&'static Path> {
    // Only cgroup version 2 has the file `cgroup.controllers`. The file `cgroup.controllers` is in
    // every folder of version 2.
    let is_version_2 = |root: &&Path| root.join("cgroup.controllers").exists();
    ROOTS.map(Path::new).into_iter().find(is_version_2)
}

/// Looks cgroups up by id and caches the results. The kernel never reuses the id of a cgroup.
#[derive(Debug, Default)]
pub struct Resolver {
    known: IdMap<u64, Option<Arc<Cgroup>>>,
    /// The last cgroup that was found. Many consecutive events have the same cgroup.
    last: Option<(u64, Arc<Cgroup>)>,
    /// The path of the mount point, and the open folder of the mount point. The value is `None` on
    /// a host that has only cgroup version 1.
    root: Option<(&'static Path, File)>,
    /// The time of the last walk over all cgroups. A walk finds the cgroups whose folders cannot be
    /// opened by id.
    walked: Option<Instant>,
    /// The cgroups of processes, on a host that uses cgroup version 1.
    processes: Option<ProcessCgroups>,
}

/// The minimum time between two walks over all cgroups.
const WALK_INTERVAL: Duration = Duration::from_secs(1);

impl Resolver {
    /// Returns a resolver for the cgroups of sockets.
    pub(super) fn for_sockets() -> Self {
        let processes = host_uses_version_1().then(ProcessCgroups::default);
        Self { processes, ..Self::default() }
    }

    /// Returns the cgroup of a socket. `id` is the socket's cgroup of version 2. If the host uses
    /// version 1 and version 2 names no container, the cgroup is that of the socket's process.
    /// `age` is the age of the event in which the process was seen.
    pub(super) fn of_socket(
        &mut self,
        id: u64,
        pid: Option<u32>,
        cookie: Option<u64>,
        age: Duration,
    ) -> Option<Arc<Cgroup>> {
        if self.processes.is_some()
            && !self.names_container(id)
            && let Some(processes) = &mut self.processes
            && let Some(cgroup) = processes.get(pid, cookie, age)
        {
            return Some(cgroup);
        }
        self.get(id)
    }

    fn names_container(&mut self, id: u64) -> bool {
        match &self.last {
            Some((last, cgroup)) if *last == id => cgroup.container.is_some(),
            _ => self.get(id).is_some_and(|cgroup| cgroup.container.is_some()),
        }
    }

    /// Returns the cgroup with this id. A cgroup that no longer exists is found only if an earlier
    /// look-up or walk found the cgroup.
    pub fn get(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        if id == 0 {
            return None;
        }
        match &self.last {
            Some((last, cgroup)) if *last == id => return Some(Arc::clone(cgroup)),
            _ => {}
        }
        let found = self.find(id);
        self.last = found.clone().map(|cgroup| (id, cgroup)).or(self.last.take());
        found
    }

    fn find(&mut self, id: u64) -> Option<Arc<Cgroup>> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        if self.walked.is_none() {
            self.root = root().and_then(|root| Some((root, File::open(root).ok()?)));
            self.walk();
            return self.find(id);
        }
        let (root, file) = self.root.as_ref()?;
        let found = match open_by_number(file.as_raw_fd(), id) {
            Ok(folder) => path(&folder, root),
            // The cgroup no longer exists.
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => None,
            Err(_) if self.walked.is_none_or(|last| last.elapsed() >= WALK_INTERVAL) => {
                self.walk();
                return self.known.get(&id).cloned().flatten();
            }
            Err(_) => return None,
        };
        let found = found.map(|path| Arc::new(path.into()));
        if self.known.len() < MAX_FOLDERS {
            self.known.insert(id, found.clone());
        }
        found
    }

    fn walk(&mut self) {
        self.walked = Some(Instant::now());
        let Cgroups(paths) = Cgroups::now();
        self.known.extend(paths.into_iter().map(|(id, path)| (id, Some(Arc::new(path.into())))));
    }
}

/// Opens the folder of the cgroup that has a given id. Opening a folder by id requires
/// CAP_DAC_READ_SEARCH, but does not require a search of the folders below the mount point.
fn open_by_number(root: RawFd, id: u64) -> io::Result<OwnedFd> {
    /// `struct file_handle` with a handle of 8 bytes.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: [u8; 8],
    }
    /// The type of the handle: `FILEID_KERNFS` in `include/linux/exportfs.h`.
    const KERNFS: i32 = 0xfe;
    let handle = Handle { bytes: 8, kind: KERNFS, id: id.to_ne_bytes() };
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the call only reads the handle, and the handle outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, root, &raw const handle, flags) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns the path of an open folder, relative to the mount point.
fn path(folder: &OwnedFd, root: &Path) -> Option<String> {
    let path = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
    Some(format!("/{}", readable(path.strip_prefix(root).ok()?.as_os_str())))
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
