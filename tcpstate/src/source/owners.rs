//! Reads the links in `/proc/PID/fd` to find the process that has a socket open.
//!
//! A thread can have a file table that differs from the file table of the process. This module does
//! not search the file tables of such threads: few programs have such threads, and a search would
//! read a folder for each thread.

use std::{
    collections::HashMap, ffi::OsStr, fs, num::NonZeroU32, os::unix::ffi::OsStrExt as _, path::Path,
};

use caps::Capability;

use crate::{probe::privileges, procfs::pids::PidNamespace, report::Process, text::readable};

/// The maximum number of sockets whose owners are stored. The entry of a socket needs eight bytes,
/// and at most half of the table is empty.
const MAX_SOCKETS: usize = 1 << 22;

/// The owners of all open sockets that this process can see, including sockets of other protocols
/// than TCP.
#[derive(Debug, Default)]
pub struct Owners {
    pids: HashMap<NonZeroU32, u32>,
    has_hidden_files: bool,
    sight: Sight,
}

/// Which processes a search for the owners of sockets has looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// All processes of the host. A socket without an owner is in no file table of a process.
    #[default]
    All,
    /// All processes of an inner PID namespace. Other processes are not visible.
    PidNamespace,
    /// All processes except those that even a privileged user may not inspect.
    Guarded,
    /// The processes that this user may inspect.
    OwnUser,
}

impl Sight {
    fn of(has_hidden_files: bool) -> Self {
        let is_privileged = privileges::has(Capability::CAP_SYS_PTRACE);
        // With the mount option hidepid, a user does not even see the processes of other users.
        let has_hidden_processes = !Path::new("/proc/1").exists();
        match (has_hidden_files || has_hidden_processes, PidNamespace::of_proc()) {
            (true, _) if !is_privileged => Self::OwnUser,
            (_, PidNamespace::Inner(_) | PidNamespace::Unknown) => Self::PidNamespace,
            (true, PidNamespace::Initial) => Self::Guarded,
            (false, PidNamespace::Initial) => Self::All,
        }
    }

    /// Returns why a socket that a program uses has no visible owner.
    #[must_use]
    pub const fn why_unknown(self) -> &'static str {
        match self {
            Self::All => "they are in no process's file table",
            Self::PidNamespace => "no process of this PID namespace has them open",
            Self::Guarded => "no process that root may inspect has them open",
            Self::OwnUser => "this user may not read the open files of other users",
        }
    }

    /// Returns how to find the owner.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::All | Self::Guarded => {
                "look at the program of the listener: it may have sent the sockets to a process that has not received them (SCM_RIGHTS), or use io_uring"
            }
            Self::PidNamespace => {
                "run tcpstate in the PID namespace of the host (docker run --pid=host ...)"
            }
            Self::OwnUser => {
                "run tcpstate as root (sudo tcpstate count ...), or grant it CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
            }
        }
    }
}

impl Owners {
    /// Reads the open files of each process. If a process exits during the search, the result may
    /// lack the sockets of the process.
    #[must_use]
    pub fn now() -> Self {
        let mut owners = Self::default();
        let mut pids: Vec<u32> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        // Several processes can have one socket open. The process with the lowest id is searched
        // first, because this process most likely created the socket.
        pids.sort_unstable();
        for pid in pids {
            if let Err(error) = owners.look_into(pid)
                && error.kind() == std::io::ErrorKind::PermissionDenied
            {
                owners.has_hidden_files = true;
            }
        }
        owners.sight = Sight::of(owners.has_hidden_files);
        owners
    }

    fn look_into(&mut self, pid: u32) -> std::io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let inode = match fs::read_link(entry?.path()) {
                Ok(link) => inode(&link),
                // Without CAP_SYS_PTRACE, a user may see the files but not where they lead.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    return Err(error);
                }
                Err(_) => None,
            };
            let Some(inode) = inode else { continue };
            if self.pids.len() < MAX_SOCKETS {
                self.pids.entry(inode).or_insert(pid);
            }
        }
        Ok(())
    }

    /// Returns the id of the process that has the socket with this inode open.
    #[must_use]
    pub fn pid(&self, inode: NonZeroU32) -> Option<u32> {
        self.pids.get(&inode).copied()
    }

    /// For each open socket, returns the inode and the id of the process that has the socket open.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (NonZeroU32, u32)> + '_ {
        self.pids.iter().map(|(&inode, &pid)| (inode, pid))
    }

    /// Returns owners for tests: pairs of an inode and a process id.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(pairs: [(u32, u32); N]) -> Self {
        let inode = |inode| NonZeroU32::new(inode).expect("inodes are not 0");
        let pids = pairs.map(|(socket, pid)| (inode(socket), pid)).into_iter().collect();
        Self { pids, ..Self::default() }
    }

    /// Returns which processes were looked into.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.sight
    }

    /// Returns whether some process has open files that this user may not read.
    #[must_use]
    pub fn has_hidden_files(&self) -> bool {
        self.has_hidden_files
    }
}

/// Returns the process with this id, and reads the name of the process. The name is empty if the
/// process has already exited.
#[must_use]
pub fn process(pid: u32) -> Process {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = readable(OsStr::from_bytes(name.trim_ascii_end())).into_owned();
    Process { pid, name }
}

/// Parses a link such as `socket:[52241]`.
pub(super) fn inode(link: &Path) -> Option<NonZeroU32> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn own_socket_belongs_to_this_process() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd()));
        let inode = inode(&link.expect("it is open")).expect("it is a socket");
        let pid = Owners::now().pid(inode).expect("we may see what we have open");
        assert_eq!(pid, std::process::id());
        assert!(!process(pid).name.is_empty());
    }

    #[test]
    fn only_links_to_sockets_have_an_inode() {
        assert_eq!(inode(Path::new("socket:[7]")), NonZeroU32::new(7));
        for other in ["pipe:[7]", "socket:[0]", "socket:[x]", "/socket:[7]", "socket:[7] (deleted)"]
        {
            assert_eq!(inode(Path::new(other)), None, "{other}");
        }
    }
}
