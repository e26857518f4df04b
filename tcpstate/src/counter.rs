//! The list of sockets and its sums, brought together: what `count` runs, and what tests drive by hand.

use std::{fs, os::unix::fs::MetadataExt as _, time::SystemTime};

use crate::{
    aggregate::census::Census,
    filter::Filter,
    report::count::{By, Cgroup, Count, Key, Name},
    source::{
        cgroups::Cgroups,
        owners::{self, Owners},
        sock_diag::{self, Error, Query, Socket},
    },
};

/// Counts the sockets of the calling thread's network namespace, each time anew.
#[derive(Clone, Debug)]
pub struct Counter {
    /// Which sockets.
    pub filter: Filter,
    /// In which groups, if any, and how many of those are told apart in the end.
    pub groups: Option<(By, usize)>,
}

/// A count, and what it could not see.
#[derive(Debug)]
pub struct Counted {
    /// The count.
    pub count: Count,
    /// Why it was not asked over `sock_diag`, if it was not.
    pub instead_of: Option<Error>,
    /// Whether a process did not let this one see what it has open.
    pub owners_are_hidden: bool,
}

impl Counter {
    /// Counts now.
    pub fn count(&self) -> Result<Counted, Error> {
        let by = self.groups.map(|(by, _)| by);
        let query = Query { filter: &self.filter, cgroups: by == Some(By::Cgroup), silence: false };
        let owners = if by == Some(By::Process) { Owners::now() } else { Owners::default() };
        let answer = sock_diag::collect(&query, Census::default, |census, socket| {
            census.add(socket, by.map(|by| key(by, socket, &owners)));
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
            owners_are_hidden: owners.are_hidden(),
        })
    }
}

/// The group of a socket.
fn key(by: By, socket: &Socket, owners: &Owners) -> Key {
    match by {
        By::LocalPort => Key::Port(socket.local.port()),
        By::RemotePort => Key::Port(socket.remote.port()),
        By::Remote => Key::Address(socket.remote.ip().to_canonical()),
        By::State => Key::State(socket.state),
        By::Process => match socket.holder {
            Some(holder) => owners.pid(holder.inode).map_or(Key::Unknown, Key::Process),
            None => Key::None,
        },
        By::Uid => socket.holder.map_or(Key::None, |holder| Key::Uid(holder.uid)),
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
