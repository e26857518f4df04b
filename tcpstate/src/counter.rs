//! Reads the list of sockets and counts the sockets. The command `count` uses this module, and
//! tests call it directly.

mod lookup;

use std::{
    collections::{HashMap, HashSet},
    fs,
    num::NonZeroU32,
    os::unix::fs::MetadataExt as _,
    thread,
    time::SystemTime,
};

use tcpstate_common::State;

use self::lookup::Lookup;
use crate::{
    aggregate::census::Census,
    filter::Filter,
    probe::{Pulse, namespaces},
    report::{
        Key, Process,
        count::{Count, Lack, Place},
    },
    source::{
        listening::Listening,
        owners::{self, Sight},
        sock_diag::{self, Answer, Error, Query, Socket},
    },
};

/// The maximum number of sockets whose process is looked for a second time.
const MAX_PENDING: usize = 1 << 16;

/// The maximum number of further searches for the processes of sockets.
const MAX_SEARCHES: u32 = 3;

/// Counts sockets. Each call of `count` reads the whole list again.
#[derive(Clone, Debug)]
pub struct Counter {
    /// The filter that selects the sockets to count.
    pub filter: Filter,
    /// Whether all network namespaces of the host are counted, instead of the network namespace of
    /// the calling thread.
    pub all_namespaces: bool,
    /// The keys by which sockets are grouped, and the maximum number of groups in the result.
    pub groups: Option<(Vec<Key>, usize)>,
}

/// A count, and the reasons why the count may be incomplete.
#[derive(Debug)]
pub struct Counted {
    /// The count.
    pub count: Count,
    /// The error of `sock_diag`, if the sockets were listed from another source.
    pub instead_of: Option<Error>,
    /// The processes among which owners were looked for, if the groups need owners.
    pub sight: Option<Sight>,
    /// The programs whose listeners accepted the connections without a visible process, and the
    /// number of these connections.
    pub listeners: Vec<(Process, u64)>,
    /// The number of namespaces that could not be entered.
    pub unentered: u64,
}

impl Counter {
    /// Counts the sockets now.
    pub fn count(&self) -> Result<Counted, Error> {
        let by: &[Key] = self.groups.as_ref().map_or(&[], |(by, _)| by);
        let mut sum = Sum { lookup: Lookup::new(by), ..Sum::default() };
        let (netns, unentered) = if self.all_namespaces {
            // The search moves its thread from namespace to namespace.
            let search = thread::scope(|scope| scope.spawn(|| self.tour(&mut sum)).join());
            (Place::All, search.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
        } else {
            self.add_here(&mut sum)?;
            (own_namespace().map_or(Place::Unknown, Place::One), 0)
        };
        let states = *sum.census.states();
        let names = &sum.lookup;
        let groups = self.groups.as_ref();
        let groups =
            groups.map(|(by, top)| sum.census.top(by, *top, |key, raw| names.name(key, raw)));
        let listeners =
            sum.listeners.into_iter().map(|(pid, number)| (owners::process(pid), number));
        let mut listeners: Vec<_> = listeners.collect();
        listeners.sort_by_key(|(process, number)| (std::cmp::Reverse(*number), process.pid));
        Ok(Counted {
            count: Count { time: SystemTime::now(), netns, states, groups },
            instead_of: sum.instead_of,
            sight: sum.lookup.needs_owners().then(|| sum.lookup.owners().sight()),
            listeners,
            unentered,
        })
    }

    /// Counts each network namespace. Returns the number of namespaces that could not be entered.
    fn tour(&self, sum: &mut Sum) -> Result<u64, Error> {
        let mut failed = None;
        let visited = namespaces::visit_each(&Pulse::default(), || {
            if failed.is_none() {
                failed = self.add_here(sum).err();
            }
            Ok(())
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(visited.map_or(0, |visited| visited.refused)),
        }
    }

    /// Adds the sockets of the network namespace of the calling thread.
    fn add_here(&self, sum: &mut Sum) -> Result<(), Error> {
        sum.lookup.enter(own_namespace());
        let lookup = &sum.lookup;
        let query = Query { cgroups: lookup.needs_cgroups(), ..Query::of(&self.filter) };
        let mut raw = Vec::new();
        let Answer { sum: (mut census, pending), instead_of, .. } = sock_diag::collect(
            &query,
            || (Census::default(), Vec::new()),
            |(census, pending), socket| {
                let values = self.groups.is_some().then(|| lookup.values(socket, &mut raw));
                match values {
                    // A process that has just opened the socket was not found by the search.
                    Some(Err(Lack::Unknown)) if lookup.may_find(socket, pending.len()) => {
                        pending.push(*socket);
                    }
                    values => census.add(socket.state, values.map(|known| known.map(|()| &*raw))),
                }
            },
        )?;
        if !pending.is_empty() {
            add_pending(pending, &mut census, sum)?;
        }
        sum.census.merge(&census);
        sum.instead_of = sum.instead_of.take().or(instead_of);
        Ok(())
    }
}

/// Adds the sockets whose process the first search did not find. A process may have opened or
/// closed a socket after the search. A further search finds the process of a new socket. A
/// socket that a later list lacks was closed.
fn add_pending(mut pending: Vec<Socket>, census: &mut Census, sum: &mut Sum) -> Result<(), Error> {
    let searches = match sum.lookup.owners().sight() {
        Sight::OwnUser => 1,
        // A task may be interrupted between the removal of a file and the end of its socket.
        _ => MAX_SEARCHES,
    };
    let mut raw = Vec::new();
    for search in 1..=searches {
        if searches > 1 {
            sum.lookup.search_again();
        }
        let (open, listening) = open_sockets()?;
        pending.retain(|socket| {
            let is_open = socket.holder.is_some_and(|holder| open.contains(&holder.inode));
            let values = match sum.lookup.values(socket, &mut raw) {
                Ok(()) => Ok(&*raw),
                Err(Lack::Unknown) if !is_open => Err(Lack::ClosedMeanwhile),
                Err(Lack::Unknown) if search < searches => return true,
                Err(lack) => Err(lack),
            };
            if values == Err(Lack::Unknown)
                && let Some(pid) = listening.pid(socket.local, sum.lookup.owners())
            {
                *sum.listeners.entry(pid).or_default() += 1;
            }
            census.add(socket.state, Some(values));
            false
        });
        if pending.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Lists the files of all open sockets, and the listeners.
fn open_sockets() -> Result<(HashSet<NonZeroU32>, Listening), Error> {
    let filter = Filter::default();
    let query = Query::of(&filter);
    let start = || (HashSet::new(), Listening::default());
    let answer = sock_diag::collect(&query, start, |(open, listening), socket| {
        let Some(holder) = socket.holder else { return };
        open.insert(holder.inode);
        if socket.state == State::Listen {
            listening.add(socket.local, holder);
        }
    });
    Ok(answer?.sum)
}

/// The sockets that were counted so far.
#[derive(Debug, Default)]
struct Sum {
    census: Census,
    lookup: Lookup,
    listeners: HashMap<u32, u64>,
    instead_of: Option<Error>,
}

/// Returns the inode of the calling thread's network namespace.
fn own_namespace() -> Option<u64> {
    fs::metadata("/proc/thread-self/ns/net").ok().map(|namespace| namespace.ino())
}
