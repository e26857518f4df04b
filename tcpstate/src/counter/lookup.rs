//! Looks up the values of the keys by which sockets are grouped.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use super::MAX_PENDING;
use crate::{
    aggregate::census::Raw,
    probe::namespaces::Names,
    procfs::users,
    report::{Cgroup, Key, container, count::Lack, key::Value},
    source::{
        cgroups::Cgroups,
        owners::{self, Owners},
        process_cgroups,
        sock_diag::Socket,
    },
};

/// The data that the keys need.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    by: Vec<Key>,
    owners: Owners,
    cgroups: Cgroups,
    /// Whether the cgroup of a socket is that of its process, because the host uses version 1.
    uses_version_1: bool,
    /// The number of all users without a number in this user namespace.
    nameless: Option<u32>,
    /// The inode of the network namespace that is counted now.
    netns: Option<u64>,
    names: Names,
    /// The names of processes.
    comms: RefCell<HashMap<u32, Arc<str>>>,
    /// The cgroups of processes, by process id.
    of_processes: RefCell<HashMap<u32, Option<Arc<str>>>>,
    /// The paths of the cgroups of sockets.
    paths: RefCell<HashMap<u64, Arc<str>>>,
}

impl Lookup {
    pub(super) fn new(by: &[Key]) -> Self {
        let mut lookup = Self { by: by.to_vec(), ..Self::default() };
        lookup.uses_version_1 = lookup.needs_cgroups() && process_cgroups::host_uses_version_1();
        if lookup.needs_cgroups() {
            lookup.cgroups = Cgroups::now();
        }
        if lookup.needs_owners() {
            lookup.owners = Owners::now();
        }
        if by.contains(&Key::User) {
            lookup.nameless = users::nameless();
        }
        if by.contains(&Key::Netns) {
            lookup.names = Names::read();
        }
        lookup
    }

    /// Notes the network namespace whose sockets are looked up next.
    pub(super) fn enter(&mut self, netns: Option<u64>) {
        self.netns = netns;
    }

    pub(super) fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Searches the owners of sockets again.
    pub(super) fn search_again(&mut self) {
        self.owners = Owners::now();
    }

    /// Returns whether the list of sockets has to contain cgroups.
    pub(super) fn needs_cgroups(&self) -> bool {
        self.by.iter().any(|key| matches!(key, Key::Cgroup | Key::Container | Key::Unit))
    }

    /// Returns whether the values depend on the processes that have the sockets open.
    pub(super) fn needs_owners(&self) -> bool {
        self.uses_version_1 || self.by.iter().any(|key| key.is_of_process())
    }

    /// Returns whether a second search may find the process of a socket. `pending` is the number of
    /// sockets that wait for the second search.
    pub(super) fn may_find(&self, socket: &Socket, pending: usize) -> bool {
        let is_of_process = self.needs_owners() && self.pid(socket) == Err(Lack::Unknown);
        is_of_process && pending < MAX_PENDING
    }

    /// Stores the values of a socket in `values`, one for each key.
    pub(super) fn values(&self, socket: &Socket, values: &mut Vec<Raw>) -> Result<(), Lack> {
        values.clear();
        for &key in &self.by {
            values.push(self.value(key, socket)?);
        }
        Ok(())
    }

    fn value(&self, key: Key, socket: &Socket) -> Result<Raw, Lack> {
        let number = |number: u32| Raw::Number(number.into());
        Ok(match key {
            Key::LocalPort => number(socket.local.port().into()),
            Key::RemotePort => number(socket.remote.port().into()),
            Key::Remote => Raw::Address(socket.remote.ip().to_canonical()),
            Key::State => Raw::State(socket.state),
            Key::Netns => Raw::Number(self.netns.ok_or(Lack::Unknown)?),
            Key::Process => number(self.pid(socket)?),
            Key::Comm => Raw::Text(self.comm(self.pid(socket)?)),
            Key::User => match socket.holder.ok_or(Lack::None)?.uid {
                uid if Some(uid) == self.nameless => return Err(Lack::Unknown),
                uid => number(uid),
            },
            Key::Cgroup => Raw::Text(self.path(socket)?),
            Key::Unit => text(container::unit(&self.path(socket)?)),
            Key::Container => {
                let container = container::container(&self.path(socket)?);
                text(container.as_ref().map(|container| container.id.as_str()))
            }
        })
    }

    /// Returns the process that has the socket open. If several processes have the socket open, the
    /// process is the process with the lowest id.
    fn pid(&self, socket: &Socket) -> Result<u32, Lack> {
        self.owners.pid(socket.holder.ok_or(Lack::None)?.inode).ok_or(Lack::Unknown)
    }

    fn comm(&self, pid: u32) -> Arc<str> {
        let mut comms = self.comms.borrow_mut();
        comms.entry(pid).or_insert_with(|| owners::process(pid).name.into()).clone()
    }

    /// Returns the path of the cgroup to which a socket belongs.
    fn path(&self, socket: &Socket) -> Result<Arc<str>, Lack> {
        let of_socket = socket.cgroup.map(|id| self.path_of(id));
        match of_socket {
            Some(path) if !self.uses_version_1 || container::container(&path).is_some() => Ok(path),
            _ if self.uses_version_1 => {
                let pid = self.pid(socket)?;
                let mut paths = self.of_processes.borrow_mut();
                let path =
                    paths.entry(pid).or_insert_with(|| Some(process_cgroups::of(pid)?.into()));
                path.clone().ok_or(Lack::Unknown)
            }
            _ if socket.holder.is_some() => Err(Lack::Unknown),
            _ => Err(Lack::None),
        }
    }

    fn path_of(&self, id: u64) -> Arc<str> {
        let path =
            || self.cgroups.path(id).map_or_else(|| format!("id {id}"), str::to_owned).into();
        self.paths.borrow_mut().entry(id).or_insert_with(path).clone()
    }

    /// Returns a value in the form that output shows.
    pub(super) fn name(&self, key: Key, raw: &Raw) -> Value {
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        match (key, raw) {
            (Key::Process, &Raw::Number(pid)) => Value::Process(owners::process(narrow(pid))),
            (Key::User, &Raw::Number(uid)) => Value::User(narrow(uid)),
            (Key::Netns, &Raw::Number(inode)) => Value::Netns(inode, self.names.of(inode)),
            (_, &Raw::Number(port)) => Value::Port(u16::try_from(port).unwrap_or(u16::MAX)),
            (_, &Raw::Address(address)) => Value::Address(address),
            (_, &Raw::State(state)) => Value::State(state),
            (Key::Comm, Raw::Text(name)) => Value::Comm(name.to_string()),
            (Key::Unit, Raw::Text(unit)) => Value::Unit(unit.to_string()),
            (Key::Container, Raw::Text(id)) => Value::Container(id.to_string()),
            (_, Raw::Text(path)) => Value::Cgroup(Cgroup::from(path.to_string())),
            (_, Raw::None) => Value::None,
        }
    }
}

fn text(text: Option<&str>) -> Raw {
    text.map_or(Raw::None, |text| Raw::Text(text.into()))
}
