//! Reads the list of sockets and counts the sockets. The command `count` uses this module, and
//! tests call it directly.

use std::{fs, os::unix::fs::MetadataExt as _, time::SystemTime};

use crate::{
    aggregate::census::Census,
    filter::Filter,
    procfs::users,
    report::count::{By, Cgroup, Count, Key, Name},
    source::{
        cgroups::Cgroups,
        owners::{self, Owners},
        sock_diag::{self, Error, Query, Socket},
    },
};

/// Counts the sockets of the calling thread's network namespace. Each call of `count` reads the
/// whole list again.
#[derive(Clone, Debug)]
pub struct Counter {
    /// The filter that selects the sockets to count.
    pub filter: Filter,
    /// The property by which sockets are grouped, and the maximum number of groups in the result.
    pub groups: Option<(By, usize)>,
}

/// A count, and the reasons why the count may be incomplete.
#[derive(Debug)]
pub struct Counted {
    /// The count.
    pub count: Count,
    /// The error of `sock_diag`, if the sockets were listed from another source.
    pub instead_of: Option<Error>,
    /// Whether some process has open files that this user may not read.
    pub owners_are_hidden: bool,
}

impl Counter {
    /// Counts the sockets now.
    pub fn count(&self) -> Result<Counted, Error> {
        let by = self.groups.map(|(by, _)| by);
        let query = Query { filter: &self.filter, cgroups: by == Some(By::Cgroup), silence: false };
        let owners = if by == Some(By::Process) { Owners::now() } else { Owners::default() };
        let nameless = if by == Some(By::Uid) { users::nameless() } else { None };
        let answer = sock_diag::collect(&query, Census::default, |census, socket| {
            census.add(socket, by.map(|by| key(by, socket, &owners, nameless)));
        })?;
        let time = SystemTime::now();
        let states = *answer.sum.states();
        let groups = self.groups.map(|(by, top)| {
            let paths = if by == By::Cgroup { Cgroups::now() } else { Cgroups::default() };
            answer.sum.top(by, top, |key| name(key, &paths))
        });
        let netns = fs::metadata("/proc/thread-self/ns/net").ok().map(|namespace| namespace.ino());
        Ok(Counted {
            count: Count { time, netns, states, groups },
            instead_of: answer.instead_of,
            owners_are_hidden: owners.has_hidden_files(),
        })
    }
}

/// Returns the group to which a socket belongs.
fn key(by: By, socket: &Socket, owners: &Owners, nameless: Option<u32>) -> Key {
    match by {
        By::LocalPort => Key::Port(socket.local.port()),
        By::RemotePort => Key::Port(socket.remote.port()),
        By::Remote => Key::Address(socket.remote.ip().to_canonical()),
        By::State => Key::State(socket.state),
        By::Process => match socket.holder {
            Some(holder) => owners.pid(holder.inode).map_or(Key::Unknown, Key::Process),
            None => Key::None,
        },
        By::Uid => match socket.holder {
            Some(holder) if Some(holder.uid) == nameless => Key::Unknown,
            Some(holder) => Key::Uid(holder.uid),
            None => Key::None,
        },
        By::Cgroup => match (socket.cgroup, socket.holder) {
            (Some(id), _) => Key::Cgroup(id),
            (None, Some(_)) => Key::Unknown,
            (None, None) => Key::None,
        },
    }
}

fn name(key: &Key, cgroups: &Cgroups) -> Name {
    match *key {
        Key::Port(port) => Key::Port(port),
        Key::Address(address) => Key::Address(address),
        Key::Process(pid) => Key::Process(owners::process(pid)),
        Key::Uid(uid) => Key::Uid(uid),
        Key::Cgroup(id) => Key::Cgroup(Cgroup { id, path: cgroups.path(id).map(str::to_owned) }),
        Key::State(state) => Key::State(state),
        Key::None => Key::None,
        Key::Unknown => Key::Unknown,
    }
}
