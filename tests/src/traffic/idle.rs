//! Idle connections in any number.
//!
//! The limit on open files may be lower than the number of sockets in a test, and root may not
//! always raise the limit. The limit applies to a file table, and a thread can have its own table.
//! Each thread therefore holds a group of connections in its own file table.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::Socket;

use super::{Family, Listener};
use crate::files;

/// The number of connections per thread. Each connection needs two file descriptors. The
/// descriptors of a group fit into every file limit that root may have.
const GROUP: usize = 2000;

/// Established sockets on both sides of idle connections. Dropping the value resets the
/// connections, so no socket in `TIME_WAIT` is left.
#[derive(Debug)]
pub struct Idle {
    groups: Vec<Group>,
}

impl Idle {
    /// Opens this number of sockets (half the number of connections), spread over the families. The
    /// listeners are closed after the connections are made.
    ///
    /// # Panics
    /// Panics if the number is odd, or too large for the machine.
    #[must_use = "dropped, the sockets are closed"]
    pub fn open(sockets: usize, families: &[Family]) -> Self {
        assert!(sockets.is_multiple_of(2), "a connection has two ends, {sockets} is odd");
        let mut groups = Vec::new();
        for (number, &family) in families.iter().enumerate() {
            // If the number of connections is not a multiple of the number of families, the first
            // families get one connection more.
            let connections = (sockets / 2 + families.len() - 1 - number) / families.len();
            groups.extend(
                (0..connections)
                    .step_by(GROUP)
                    .map(|held| Group::open(family, GROUP.min(connections - held))),
            );
        }
        for group in &groups {
            group.ready.recv().expect("the thread opens its connections");
        }
        Self { groups }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for Group { release, thread, .. } in self.groups.drain(..) {
            drop(release);
            let result = thread.join();
            // A second panic would hide the first panic.
            assert!(result.is_ok() || thread::panicking(), "idle connections could not be held");
        }
    }
}

#[derive(Debug)]
struct Group {
    ready: Receiver<()>,
    /// Dropping the sender ends the thread.
    release: Sender<()>,
    thread: JoinHandle<()>,
}

impl Group {
    fn open(family: Family, connections: usize) -> Self {
        let (say_ready, ready) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let hold = move || {
            let _sockets = connect(family, connections);
            say_ready.send(()).expect("Idle waits");
            // The channel never carries a value. `recv` returns an error when the sender is
            // dropped.
            _ = released.recv();
        };
        Self { ready, release, thread: thread::spawn(hold) }
    }
}

fn connect(family: Family, connections: usize) -> (Vec<Socket>, Vec<Socket>) {
    files::own_table();
    let (clients, servers) = Listener::open(family).pairs(connections);
    for client in &clients {
        client.set_linger(Some(Duration::ZERO)).expect("sockets can linger");
    }
    // Clients are dropped first, with a RST.
    (clients, servers)
}
