//! Finds the process that has a socket open, by the links in `/proc/PID/fd` that this user may
//! read.
//!
//! A thread can have file descriptors that its process does not share. This module does not search
//! such file descriptors. Few programs unshare their file table, and a search of all threads would
//! read a folder for each thread.

use std::{collections::HashMap, fs, num::NonZeroU32, path::Path};

use crate::report::Process;

/// The maximum number of sockets whose owners are stored. Each socket needs eight bytes, in a table
/// that is at most half empty.
const MAX_SOCKETS: usize = 1 << 22;

/// All open sockets that this process can see. The sockets include sockets of protocols other than
/// TCP.
#[derive(Debug, Default)]
pub struct Owners {
    pids: HashMap<NonZeroU32, u32>,
    has_hidden_files: bool,
}

impl Owners {
    /// Reads the open files of each process. A process that exits during the search has no sockets
    /// in the result.
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
        owners
    }

    fn look_into(&mut self, pid: u32) -> std::io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let Some(inode) = fs::read_link(entry?.path()).ok().as_deref().and_then(inode) else {
                continue;
            };
            if self.pids.len() < MAX_SOCKETS {
                self.pids.entry(inode).or_insert(pid);
            }
        }
        Ok(())
    }

    /// Returns the process that has this socket open.
    #[must_use]
    pub fn pid(&self, inode: NonZeroU32) -> Option<u32> {
        self.pids.get(&inode).copied()
    }

    /// Returns the inode of each open socket and the process that has it open.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (NonZeroU32, u32)> + '_ {
        self.pids.iter().map(|(&inode, &pid)| (inode, pid))
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
    let name = String::from_utf8_lossy(name.trim_ascii_end()).into_owned();
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
