//! The programs that hold sockets, and each program's limit of open files.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use tcpstate_common::State;

use super::ages::Ages;
use crate::{
    report::Process,
    source::{
        listening::Listening,
        owners::{self, Owners, Sight},
        sock_diag::{self, Socket},
    },
};

/// The maximum number of sockets per state that are grouped by program.
const MAX_SOCKETS: usize = 1 << 16;

/// A socket that a program holds. Only the data that the rules need are stored.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    holder: sock_diag::SocketFile,
    local: SocketAddr,
    remote: SocketAddr,
    silence: Option<Duration>,
    unread: u32,
}

impl Held {
    /// Copies from a socket the data that the rules need.
    #[must_use]
    pub fn of(holder: sock_diag::SocketFile, socket: &Socket) -> Self {
        Self {
            holder,
            local: socket.local,
            remote: socket.remote,
            silence: socket.detail.silence,
            // The kernel counts the peer's FIN as one byte of unread data.
            unread: socket
                .detail
                .receive_queue
                .saturating_sub(u32::from(socket.state == State::CloseWait)),
        }
    }
}

/// The sockets in one state that programs hold, grouped by program.
#[derive(Clone, Debug, Default)]
pub struct Holding {
    /// The programs, in descending order of their number of sockets. [`ask`] fills this list.
    pub holders: Vec<Holder>,
    /// The number of sockets above the limit `MAX_SOCKETS`, which are not grouped by program.
    pub beyond: u64,
    held: Vec<Held>,
}

/// A program, or all programs of a user that this process cannot see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process that holds the sockets, if the process is visible.
    pub process: Option<Process>,
    /// The user of the sockets.
    pub uid: u32,
    /// The processes among which the program was looked for.
    pub sight: Sight,
    /// The process of the listener that accepted the connections, if the program is not visible.
    pub listener: Option<Process>,
    /// The number of sockets for each duration of the peer's silence.
    pub ages: Ages,
    /// The number of received bytes that the program has not read.
    pub unread: u64,
    /// The remote address that most of these sockets are connected to.
    pub peer: Option<IpAddr>,
    /// The number of files that the process has open, if this number is visible.
    pub open_files: Option<u64>,
    /// The limit of open files (`RLIMIT_NOFILE`), if there is a limit.
    pub max_files: Option<u64>,
}

impl Holding {
    /// Adds a socket.
    pub fn add(&mut self, held: Held) {
        if self.held.len() < MAX_SOCKETS {
            self.held.push(held);
        } else {
            self.beyond += 1;
        }
    }

    /// The number of all sockets.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        self.held.len() as u64 + self.beyond
    }

    fn group_by_process(&mut self, owners: &Owners, listening: &Listening) {
        /// The process, the user, and the process of the listener.
        type Key = (Option<u32>, u32, Option<u32>);
        let mut groups: BTreeMap<Key, Vec<&Held>> = BTreeMap::new();
        for held in &self.held {
            let pid = owners.pid(held.holder.inode);
            // A visible process may hold sockets of several users, so the key of its group does not
            // contain the user. A socket without a visible process is grouped by its listener.
            let (uid, listener) = match pid {
                Some(_) => (0, None),
                None => (held.holder.uid, listening.pid(held.local, owners)),
            };
            groups.entry((pid, uid, listener)).or_default().push(held);
        }
        let holder = |((pid, _, listener), held): (Key, Vec<&Held>)| Holder {
            sight: owners.sight(),
            listener: listener.map(owners::process),
            ..Holder::of(pid, &held)
        };
        self.holders = groups.into_iter().map(holder).collect();
        self.holders.sort_by_key(|holder| std::cmp::Reverse(holder.ages.total()));
    }
}

impl Holder {
    fn of(pid: Option<u32>, held: &[&Held]) -> Self {
        let mut ages = Ages::default();
        let mut peers: HashMap<IpAddr, u64> = HashMap::new();
        for held in held {
            ages.add(held.silence);
            *peers.entry(held.remote.ip().to_canonical()).or_default() += 1;
        }
        let peer = peers.into_iter().max_by_key(|&(peer, sockets)| (sockets, peer));
        Self {
            process: pid.map(owners::process),
            uid: held.first().map_or(0, |held| held.holder.uid),
            sight: Sight::All,
            listener: None,
            ages,
            unread: held.iter().map(|held| u64::from(held.unread)).sum(),
            peer: peer.map(|(peer, _)| peer),
            open_files: pid.and_then(open_files),
            max_files: pid.and_then(max_files),
        }
    }

    /// Returns the name of the program, for text output.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(process) = &self.process {
            return format!("{}[{}]", process.name, process.pid);
        }
        let uid = self.uid;
        let program = match self.sight {
            Sight::OwnUser => format!("a program of uid {uid} that this user cannot see"),
            Sight::PidNamespace => format!("a program of uid {uid} outside this PID namespace"),
            Sight::All | Sight::Guarded => format!("an unknown program of uid {uid}"),
        };
        match self.listener_name() {
            Some(listener) => format!("{program} (listener: {listener})"),
            None => program,
        }
    }

    /// Returns the name of the program whose listener accepted the connections.
    #[must_use]
    pub fn listener_name(&self) -> Option<String> {
        let process = self.listener.as_ref()?;
        Some(format!("{}[{}]", process.name, process.pid))
    }
}

fn open_files(pid: u32) -> Option<u64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

fn max_files(pid: u32) -> Option<u64> {
    limit(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
}

/// `Max open files            1024                 524288               files`
pub(super) fn limit(limits: &str) -> Option<u64> {
    let row = limits.lines().find_map(|row| row.strip_prefix("Max open files"))?;
    row.split_ascii_whitespace().next()?.parse().ok()
}

/// Searches all processes once for the programs that hold the sockets.
///
/// The programs that hold the sockets in `many` are stored in `many`. For the sockets in `single`,
/// the function returns a map from the inode of the socket to the program.
#[must_use]
pub fn ask(
    single: Vec<sock_diag::SocketFile>,
    many: [&mut Holding; 2],
    listening: &Listening,
) -> HashMap<NonZeroU32, Process> {
    if single.is_empty() && many.iter().all(|holding| holding.held.is_empty()) {
        return HashMap::new();
    }
    let owners = Owners::now();
    for holding in many {
        holding.group_by_process(&owners, listening);
    }
    let named = single
        .into_iter()
        .filter_map(|holder| Some((holder.inode, owners::process(owners.pid(holder.inode)?))));
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_limit_is_the_soft_limit() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(limit(limits), Some(1024));
        assert_eq!(limit("Max open files            unlimited  unlimited  files\n"), None);
        assert_eq!(limit(""), None);
    }

    #[test]
    fn this_process_has_open_files_and_a_limit() {
        let pid = std::process::id();
        assert!(open_files(pid) > Some(2));
        assert!(max_files(pid) > Some(2));
    }
}
