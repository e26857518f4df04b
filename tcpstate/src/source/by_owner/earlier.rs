//! Finds the owners of the sockets that existed before the programs were attached.
//!
//! `sock_diag` lists the sockets twice: before and after the programs are attached. The first list
//! gives every socket a cookie. The second list shows the states. A socket of both lists is stored
//! for its first event by its cookie, unless its first event was counted already.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
};

use tcpstate_common::{
    State,
    abi::{
        COMM_BYTES, EarlierSocket, LIVE_REFERENCES, OWNER_CGROUP, OWNER_COMM, OWNER_IS_SERVER,
        OWNER_LOCAL_PORT, OWNER_NETNS, OWNER_PROCESS, OWNER_REMOTE, OWNER_REMOTE_PORT, OWNER_USER,
        OwnerKey,
    },
};

use super::{ByOwner, NOEXIST, process_of};
use crate::{
    filter::Filter,
    probe::Error,
    procfs::{
        pids::PidNamespace,
        sysctl::{self, Range},
        time,
    },
    source::{
        owner_hints,
        owners::Owners,
        sock_diag::{self, Query, Socket},
    },
};

/// The numbers of owners that were found for the sockets that existed before the start.
type Numbers = HashMap<OwnerKey, u32>;

/// The sockets of the first list.
#[derive(Debug, Default)]
pub(in crate::source) struct Listed {
    cookies: HashSet<u64>,
}

impl Listed {
    /// Adds the sockets of the calling thread's network namespace.
    pub(in crate::source) fn add_here(&mut self, filter: &Filter) {
        self.cookies.extend(list(filter).into_iter().map(|socket| socket.cookie));
    }

    /// Returns the number of sockets.
    pub(in crate::source) fn len(&self) -> u32 {
        u32::try_from(self.cookies.len()).unwrap_or(u32::MAX)
    }
}

/// Lists the full sockets that can have a later event. Without `sock_diag`, sockets have no
/// cookies, and the list is empty.
fn list(filter: &Filter) -> Vec<Socket> {
    let query = Query { cgroups: true, ..Query::of(filter) };
    let add = |list: &mut Vec<Socket>, socket: &Socket| {
        let is_full = socket.state != State::SynRecv && !socket.detail.is_time_wait;
        if is_full && socket.cookie != 0 {
            list.push(*socket);
        }
    };
    sock_diag::collect(&query, Vec::new, add).map(|answer| answer.sum).unwrap_or_default()
}

impl ByOwner {
    /// Stores the sockets of the calling thread's network namespace for their first events, and
    /// counts them for their owners. `before` are the sockets that existed before the programs were
    /// attached.
    pub(in crate::source) fn store_earlier(
        &mut self,
        before: &Listed,
        holders: &Holders,
    ) -> Result<(), Error> {
        let sockets = list(&Filter::default());
        let finder = Finder::new(self.hook.bits, &sockets, holders);
        let mut numbers = Numbers::new();
        for socket in &sockets {
            if !before.cookies.contains(&socket.cookie) {
                continue;
            }
            let Some((key, name)) = finder.owner(socket) else { continue };
            let Some(number) = number(self, &mut numbers, key, name)? else { continue };
            let mark = if finder.is_server(socket) { OWNER_IS_SERVER } else { 0 };
            let earlier = EarlierSocket { owner: number, state: socket.state as u32 | mark };
            // An entry exists if an event of the socket was counted already.
            if self.hook.earlier.insert(socket.cookie, earlier, NOEXIST).is_ok()
                && let Some(known) = self.known.get_mut(&number)
            {
                known.base[socket.state.number()] += 1;
                known.base[LIVE_REFERENCES] += 1;
                if let Some(pid) = finder.client(socket) {
                    known.holder.add(pid);
                }
            }
        }
        Ok(())
    }

    /// Finds the processes that have sockets open, if owners are processes or destinations.
    pub(in crate::source) fn holders(&self) -> Holders {
        // The programs must name processes as `/proc` does.
        let can_name =
            PidNamespace::of_proc() != PidNamespace::Unknown && time::has_clocks_of_host();
        let wanted = OWNER_PROCESS | OWNER_COMM | OWNER_REMOTE;
        if self.hook.bits & wanted == 0 || self.hook.is_of_tree || !can_name {
            return Holders::default();
        }
        let owners = Owners::now();
        let pids: HashSet<u32> = owners.sockets().map(|(_, pid)| pid).collect();
        let processes = pids.into_iter().map(|pid| (pid, of_process(pid))).collect();
        Holders { owners, processes }
    }
}

/// The processes that have sockets open.
#[derive(Default)]
pub(in crate::source) struct Holders {
    owners: Owners,
    processes: HashMap<u32, Option<OfProcess>>,
}

/// Returns the number of an owner. Returns `None` if no number is free.
fn number(
    by_owner: &mut ByOwner,
    numbers: &mut Numbers,
    key: OwnerKey,
    name: [u8; COMM_BYTES],
) -> Result<Option<u32>, Error> {
    if let Some(&number) = numbers.get(&key) {
        return Ok(Some(number));
    }
    let Some(number) = known_number(by_owner, &key).or_else(|| new_number(by_owner, &key, name))
    else {
        return Ok(None);
    };
    if !by_owner.known.contains_key(&number) {
        by_owner.learn(key, number)?;
    }
    numbers.insert(key, number);
    Ok(Some(number))
}

fn known_number(by_owner: &ByOwner, key: &OwnerKey) -> Option<u32> {
    by_owner.hook.numbers.get(key, 0).ok()
}

/// Gives a free number to an owner.
fn new_number(by_owner: &mut ByOwner, key: &OwnerKey, name: [u8; COMM_BYTES]) -> Option<u32> {
    let hook = &mut by_owner.hook;
    let number = hook.free.pop(0).ok()?;
    let is_named = hook.names.set(number, name, 0).is_ok();
    if hook.bits & OWNER_PROCESS != 0 {
        let process = process_of(key);
        let _ = hook.processes.insert(process, 0, NOEXIST);
        if fs::metadata(format!("/proc/{}", key.pid)).is_err() {
            // The process ended before the program could see its end.
            let _ = hook.processes.insert(process, 1, 0);
        }
    }
    if is_named && hook.numbers.insert(key, number, NOEXIST).is_ok() {
        return Some(number);
    }
    // A program has numbered the owner meanwhile.
    let _ = hook.free.push(number, 0);
    known_number(by_owner, key)
}

/// Finds the owner of a listed socket.
struct Finder<'a> {
    bits: u32,
    holders: &'a Holders,
    /// The ports of all listeners.
    listening: HashSet<u16>,
    /// The range of the ports that connect() chooses.
    chosen: Option<Range>,
    /// The identity and the inode of the network namespace.
    netns: Option<(u64, u32)>,
}

/// The part of a key that describes a process.
#[derive(Clone, Copy)]
struct OfProcess {
    start: u64,
    comm: [u8; COMM_BYTES],
}

impl<'a> Finder<'a> {
    fn new(bits: u32, sockets: &[Socket], holders: &'a Holders) -> Self {
        let listeners = sockets.iter().filter(|socket| socket.state == State::Listen);
        Self {
            bits,
            holders,
            listening: listeners.map(|socket| socket.local.port()).collect(),
            chosen: sysctl::value("net.ipv4.ip_local_port_range"),
            netns: netns(),
        }
    }

    /// Returns whether a socket is a listener or a connection to a listener.
    fn is_server(&self, socket: &Socket) -> bool {
        socket.state == State::Listen || self.listening.contains(&socket.local.port())
    }

    /// Returns the process that has a connection of a client open, if owners are destinations.
    fn client(&self, socket: &Socket) -> Option<u32> {
        let is_client = self.bits & OWNER_REMOTE != 0 && !self.is_server(socket);
        is_client.then(|| self.holders.owners.pid(socket.holder?.inode)).flatten()
    }

    /// Returns the key of the owner, and the name of the owner's process. Returns `None` if a part
    /// of the key cannot be known.
    fn owner(&self, socket: &Socket) -> Option<(OwnerKey, [u8; COMM_BYTES])> {
        let has = |bit| self.bits & bit != 0;
        let (mut key, mut name) = (OwnerKey::default(), [0; COMM_BYTES]);
        if has(OWNER_PROCESS | OWNER_COMM) {
            let pid = self.holders.owners.pid(socket.holder?.inode)?;
            let OfProcess { start, comm } = self.holders.processes.get(&pid).copied()??;
            name = comm;
            if has(OWNER_PROCESS) {
                (key.pid, key.start) = (pid, start);
            }
            if has(OWNER_COMM) {
                key.comm = comm;
            }
        }
        if has(OWNER_USER) {
            key.uid = socket.holder?.uid;
        }
        if has(OWNER_CGROUP) {
            key.cgroup = socket.cgroup?;
        }
        if has(OWNER_NETNS) {
            (key.netns, key.netns_inode) = self.netns?;
        }
        if has(OWNER_LOCAL_PORT) {
            key.local_port = self.local_port(socket)?;
        }
        if has(OWNER_REMOTE) {
            key.remote = words(socket.remote);
        }
        if has(OWNER_REMOTE_PORT) && !self.is_server(socket) {
            key.remote_port = socket.remote.port();
        }
        Some((key, name))
    }

    /// Returns the port of a listener or of a connection to a listener, and 0 for a port that
    /// connect() chose. The listener of another port may have closed.
    fn local_port(&self, socket: &Socket) -> Option<u16> {
        let port = socket.local.port();
        if self.is_server(socket) {
            return Some(port);
        }
        let chosen = self.chosen.as_ref()?;
        (chosen.low..=chosen.high).contains(&port).then_some(0)
    }
}

/// Reads the start time and the name of a process. Returns `None` if the process has ended.
fn of_process(pid: u32) -> Option<OfProcess> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name can contain spaces and parentheses. The fields after the last parenthesis do not.
    let end = line.iter().rposition(|&byte| byte == b')')?;
    let fields = str::from_utf8(line.get(end + 2..)?).ok()?;
    // The start time is field 22, and the state is field 3.
    let start = fields.split(' ').nth(22 - 3)?.parse().ok()?;
    Some(OfProcess { start, comm: owner_hints::name(pid)? })
}

/// Returns the cookie and the inode of the calling thread's network namespace. Returns `None` if
/// the kernel does not tell the cookie (before 5.14).
fn netns() -> Option<(u64, u32)> {
    let inode = fs::metadata("/proc/thread-self/ns/net").ok()?.ino();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of_val(&cookie)).ok()?;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some((cookie, u32::try_from(inode).ok()?))
}

/// Returns an address in IPv6 form, as the programs store it.
fn words(address: SocketAddr) -> [u64; 2] {
    let octets = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    [0, 8].map(|at| u64::from_ne_bytes(octets[at..at + 8].try_into().expect("eight bytes")))
}
