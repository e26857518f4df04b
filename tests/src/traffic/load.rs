//! Test traffic: threads that open and close connections as fast as possible.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::Socket;

use super::{Family, Listener, reset, shutdown};

/// The number of listeners that a worker has for each kind of connection. The kernel's highest
/// default is 262,144 time-wait sockets. If 16 listeners share 262,144 time-wait sockets, each
/// listener uses 16,384 of the 28,000 client ports.
pub const LISTENERS: usize = 16;

/// The way in which the connections of a [`Load`] close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The client sends a RST, so no socket in `TIME_WAIT` is left. The connections use IPv4.
    Rst,
    /// The client closes, then the server closes. The connection leaves a time-wait mini socket.
    /// The connections use IPv4.
    Close,
    /// The connections alternate between `Rst` and `Close`, and between IPv4 and IPv6.
    Mixed,
}

/// Threads that connect, accept and close over loopback until they are stopped.
///
/// Each thread has one connection at a time, which consists of two sockets. For a short time there
/// may be a third socket: the server of the previous connection, until its FIN is acknowledged. The
/// listeners of a thread are open until the thread stops.
#[derive(Debug)]
pub struct Load {
    workers: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    completed: AtomicU64,
}

impl Load {
    /// Starts the threads in the namespace of the calling thread.
    #[must_use = "dropped, it stops"]
    pub fn start(threads: usize, style: Style) -> Self {
        Self::paced(threads, style, None)
    }

    /// Starts the threads with a limited rate of connections. All threads together make `rate`
    /// connections per second, if the machine is fast enough.
    #[must_use = "dropped, it stops"]
    pub fn paced(threads: usize, style: Style, rate: Option<u32>) -> Self {
        let shared = Arc::new(Shared::default());
        let interval = rate.map(|rate| {
            let threads = u32::try_from(threads).expect("threads are few");
            Duration::from_secs(1) * threads / rate
        });
        let worker = |_| {
            let (turns, shared) = (turns(style), Arc::clone(&shared));
            thread::spawn(move || shared.work(&turns, interval))
        };
        Self { workers: (0..threads).map(worker).collect(), shared }
    }

    /// The number of connections that the threads have opened and closed until now.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.shared.completed.load(Ordering::Relaxed)
    }

    /// Stops the threads, closes their listeners, and returns the number of connections.
    ///
    /// # Panics
    /// Panics if a thread panicked.
    #[must_use]
    pub fn stop(mut self) -> u64 {
        self.join();
        self.completed()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            let result = worker.join();
            // A second panic would hide the first panic.
            assert!(result.is_ok() || thread::panicking(), "a worker found loopback not working");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

impl Shared {
    fn work(&self, turns: &[(Listener, End)], interval: Option<Duration>) {
        let mut due = Instant::now();
        for (listener, end) in turns.iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            end((listener.connect(), listener.accept()));
            self.completed.fetch_add(1, Ordering::Relaxed);
            if let Some(interval) = interval {
                // A thread that is late makes its next connections without a pause.
                due += interval;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
    }
}

/// A function that closes a connection, given the client socket and the server socket.
type End = fn((Socket, Socket));

/// Returns the listeners of a worker thread, in the order in which the worker uses them. With each
/// listener, the function returns how the worker closes the listener's connections.
fn turns(style: Style) -> Vec<(Listener, End)> {
    let kinds: &[(Family, End)] = match style {
        Style::Rst => &[(Family::V4, rst)],
        Style::Close => &[(Family::V4, close)],
        Style::Mixed => {
            &[(Family::V4, rst), (Family::V6, close), (Family::V4, close), (Family::V6, rst)]
        }
    };
    let all = kinds.iter().cycle().take(kinds.len() * LISTENERS);
    all.map(|&(family, end)| (Listener::open(family), end)).collect()
}

// The functions `rst` and `close` wait for the peer's packet, so that the number of closing
// connections does not grow.

fn rst((client, server): (Socket, Socket)) {
    reset(client);
    let error = read(&server).expect_err("the client resets");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

pub(super) fn close((client, server): (Socket, Socket)) {
    shutdown([&client]);
    assert_eq!(read(&server).expect("the client closes"), 0);
    drop(server);
    assert_eq!(read(&client).expect("the server closes"), 0);
}

fn read(mut socket: &Socket) -> io::Result<usize> {
    socket.read(&mut [0])
}
