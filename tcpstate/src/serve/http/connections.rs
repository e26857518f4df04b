//! Decides which connections stay open, so that no set of clients locks out another client.
//!
//! The server accepts every connection at once and reads its request, because only the request
//! shows whether the client asks for `/healthz`. [`RESERVE`] connections are open in addition to
//! `max_connections`, and no request waits in the reserve: at most `max_connections` requests wait
//! for a reading. So a connection without a waiting request always exists, and the server closes it
//! if it needs a slot.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::sleep,
};

use super::{BURST, PAUSE};

/// The number of connections in addition to `max_connections`.
pub(super) const RESERVE: usize = 128;
/// A new connection is not closed during this time, so that the server can read a request that the
/// client has already sent.
const GRACE: Duration = Duration::from_millis(10);

/// A connection has sent no request yet.
const NEW: u8 = 0;
/// A request of a connection waits for a reading.
const WAITING: u8 = 1;
/// A connection has got an answer.
const IDLE: u8 = 2;

/// The phase of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<AtomicU8>);

impl Phase {
    pub(super) fn set_idle(&self) {
        self.0.store(IDLE, Relaxed);
    }

    fn set_waiting(&self) {
        self.0.store(WAITING, Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// The open connections of the server.
#[derive(Clone)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
    /// The number of further requests that may wait for a reading.
    room: Arc<Semaphore>,
    max: usize,
}

#[derive(Default)]
struct Open {
    next: u64,
    by_age: BTreeMap<u64, Connection>,
}

struct Connection {
    phase: Phase,
    since: Instant,
    /// The task of the connection. A connection without a task is about to end, or about to begin.
    task: Option<AbortHandle>,
}

/// The slot of a connection. Dropping a `Slot` frees the slot of the connection.
pub(super) struct Slot {
    connections: Connections,
    number: u64,
    pub(super) phase: Phase,
}

impl Slot {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.open().by_age.remove(&self.number);
    }
}

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self { open: Arc::default(), room: Arc::new(Semaphore::new(max)), max }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when another connection fits. If necessary, closes some connections.
    pub(super) async fn make_room(&self) {
        while self.open().by_age.len() >= self.max + RESERVE {
            for _ in 0..BURST {
                if !self.close_one() {
                    break;
                }
            }
            // The slot of a closed connection is free when its task has ended.
            sleep(PAUSE).await;
        }
    }

    /// Closes the oldest connection that has got its answer. If there is none, closes the oldest
    /// connection that has sent no request during [`GRACE`]. Returns whether there was one.
    pub(super) fn close_one(&self) -> bool {
        self.open().close_one(Instant::now())
    }

    /// Adds a connection.
    pub(super) fn add(&self) -> Slot {
        let phase = Phase::default();
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        let connection = Connection { phase: phase.clone(), since: Instant::now(), task: None };
        open.by_age.insert(number, connection);
        Slot { connections: self.clone(), number, phase }
    }

    /// Sets the task of a connection.
    pub(super) fn set_task(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = self.open().by_age.get_mut(&number) {
            connection.task = Some(task);
        }
    }

    /// Returns whether more than `max_connections` connections are open.
    pub(super) fn are_crowded(&self) -> bool {
        self.open().by_age.len() > self.max
    }

    /// Lets the request of a connection wait for a reading while the returned permit exists. If too
    /// many requests wait already, the function returns `None`.
    pub(super) fn wait(&self, phase: &Phase) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        phase.set_waiting();
        Some(permit)
    }
}

impl Open {
    fn close_one(&mut self, now: Instant) -> bool {
        let is_idle = |it: &Connection| it.phase.get() == IDLE;
        let is_late =
            |it: &Connection| it.phase.get() == NEW && now.duration_since(it.since) >= GRACE;
        let task = self.take_oldest(is_idle).or_else(|| self.take_oldest(is_late));
        if let Some(task) = &task {
            task.abort();
        }
        task.is_some()
    }

    /// Returns the task of the oldest connection that fulfils a condition. The function skips
    /// connections that have no task, because they end already.
    fn take_oldest(&mut self, condition: impl Fn(&Connection) -> bool) -> Option<AbortHandle> {
        self.by_age.values_mut().filter(|it| condition(it)).find_map(|it| it.task.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that never ends by itself.
    fn task() -> tokio::task::JoinHandle<()> {
        tokio::spawn(std::future::pending())
    }

    #[tokio::test]
    async fn answered_connections_are_closed_before_new_ones_and_never_waiting_ones() {
        let connections = Connections::new(2);
        let [waiting, idle, new] = [(); 3].map(|()| (connections.add(), task()));
        for (slot, task) in [&waiting, &idle, &new] {
            connections.set_task(slot.number(), task.abort_handle());
        }
        let permit = connections.wait(&waiting.0.phase).expect("there is room");
        idle.0.phase.set_idle();
        assert!(connections.close_one());
        assert!(idle.1.await.expect_err("it was closed").is_cancelled());
        assert!(!connections.close_one(), "a new connection has time for its request");
        assert!(connections.open().close_one(Instant::now() + GRACE));
        assert!(new.1.await.expect_err("it was closed").is_cancelled());
        assert!(!connections.open().close_one(Instant::now() + GRACE), "it waits");
        assert!(!waiting.1.is_finished());
        drop(permit);
    }

    #[tokio::test]
    async fn only_a_limited_number_of_requests_waits() {
        let connections = Connections::new(2);
        let slots = [(); 3].map(|()| connections.add());
        let [first, second, third] = slots.each_ref().map(|slot| connections.wait(&slot.phase));
        assert!(first.is_some() && second.is_some() && third.is_none());
        assert!(connections.are_crowded(), "three connections are open");
        drop(first);
        assert!(connections.wait(&slots[2].phase).is_some());
    }
}
