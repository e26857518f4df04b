//! Tracers that a test watches while the test makes traffic, and afterwards while no socket changes
//! its state. While no socket changes, the truth is the same before and after each snapshot.
//!
//! ```text
//! Watch::start -> traffic -> Watch::rest -> Quiet: the truth, and the snapshots taken meanwhile
//! ```
//!
//! Each scope that a user can choose has its own tracers, one that scans and one that never scans.
//! Each tracer runs on its own thread and takes snapshots as `trace` does.

mod quiet;
mod scope;

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tcpstate::{
    aggregate::Reconcile,
    error::Help as _,
    probe::Options,
    report::{Limit, Minis, Provider},
    tracer::Tracer,
};

pub use self::{quiet::Quiet, scope::Scope};
use self::{
    quiet::{Seen, Sighting},
    scope::Truth,
};
use crate::{emulated::is_emulated, traced::inode, wait};

/// The interval between two snapshots.
const INTERVAL: Duration = Duration::from_millis(100);
/// The minimum number of snapshots of each tracer while no socket changes.
const MIN_SNAPSHOTS: usize = 10;
/// A share of one CPU that allows an audit every second, whatever the audit costs.
const ANY_SHARE: f64 = 1e3;

/// The watched tracers. Dropping the value ends their threads.
#[derive(Debug)]
pub struct Watch {
    watchers: Vec<Watcher>,
    time_wait: Provider,
}

#[derive(Debug)]
struct Watcher {
    scope: Scope,
    policy: Reconcile,
    sightings: Arc<Mutex<Vec<Sighting>>>,
    /// Dropping the sender ends the thread.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// An order to switch the seeded losses on or off. The thread sends an answer after the switch.
struct Order(bool, Sender<()>);

impl Watch {
    /// Starts two tracers for each scope in the calling thread's namespace. The function returns
    /// when all tracers count.
    ///
    /// # Panics
    /// Panics if a tracer does not start.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let policies = [Reconcile::Auto, Reconcile::Off];
        let pairs = Scope::chosen().iter().flat_map(|&scope| policies.map(|it| (scope, it)));
        let start = |(scope, policy)| Watcher::start(scope, policy, scope.options(options));
        let (watchers, started): (Vec<_>, Vec<_>) = pairs.map(start).unzip();
        let providers = started.iter().map(|started| started.recv().expect("the tracer starts"));
        let providers: Vec<Provider> = providers.collect();
        let time_wait = providers[0];
        Self { watchers, time_wait }
    }

    /// Returns the provider of time-wait sockets when the tracers started.
    #[must_use]
    pub fn time_wait(&self) -> Provider {
        self.time_wait
    }

    /// Switches the seeded losses of all tracers on or off.
    ///
    /// # Panics
    /// Panics if a tracer has failed.
    pub fn set_losing(&self, is_losing: bool) {
        let order = |watcher: &Watcher| {
            let (say_done, done) = mpsc::channel();
            let orders = watcher.orders.as_ref().expect("the watcher runs");
            orders.send(Order(is_losing, say_done)).expect("the watcher runs");
            done
        };
        let answers: Vec<_> = self.watchers.iter().map(order).collect();
        for done in answers {
            done.recv().expect("the watcher runs");
        }
    }

    /// Watches the tracers while no socket changes its state. The caller must have ended its
    /// traffic.
    ///
    /// The function returns when each tracer has taken some snapshots. With `exact_within`, the
    /// function also waits until each tracer that scans has taken an exact and right snapshot, but
    /// not longer than this time.
    ///
    /// # Panics
    /// Panics if a socket changes its state.
    #[must_use]
    pub fn rest(&self, exact_within: Option<Duration>) -> Quiet {
        /// This time is far longer than the snapshots of a tracer take.
        const DEADLINE: Duration = Duration::from_secs(10);
        let truth = Truth::now();
        wait::grace_period();
        let (began, time) = (Instant::now(), wait::patience(exact_within.unwrap_or(DEADLINE)));
        let must_be_exact = exact_within.is_some();
        let has_enough = |watcher: &Watcher| watcher.has_enough(began, &truth, must_be_exact);
        while began.elapsed() < time && !self.watchers.iter().all(has_enough) {
            thread::sleep(INTERVAL / 5);
        }
        let ended = Instant::now();
        assert_eq!(Truth::now(), truth, "a socket changed its state");
        let seen = |watcher: &Watcher| Seen {
            scope: watcher.scope,
            policy: watcher.policy,
            sightings: watcher.between(began, ended),
        };
        let seen = self.watchers.iter().map(seen).collect();
        Quiet { truth, namespace: inode(), began, must_be_exact, seen }
    }
}

impl Watcher {
    fn start(scope: Scope, policy: Reconcile, options: Options) -> (Self, Receiver<Provider>) {
        let (say_started, started) = mpsc::channel();
        let (orders, ordered) = mpsc::channel();
        let sightings = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&sightings);
        let thread = thread::spawn(move || watch(&options, policy, &say_started, &ordered, &seen));
        let (orders, thread) = (Some(orders), Some(thread));
        (Self { scope, policy, sightings, orders, thread }, started)
    }

    /// Returns whether the tracer has taken enough snapshots and, if it must be exact and scans, an
    /// exact and right snapshot.
    fn has_enough(&self, began: Instant, truth: &Truth, must_be_exact: bool) -> bool {
        let sightings = self.between(began, Instant::now());
        let is_right = |sighting: &Sighting| {
            let compared = self.scope.compare(&sighting.snapshot, truth);
            let is_exact = sighting.snapshot.is_exact() || sighting.is_hidden;
            is_exact && compared.iter().all(|it| it.is_right())
        };
        sightings.len() >= MIN_SNAPSHOTS
            && (!must_be_exact || self.policy == Reconcile::Off || sightings.iter().any(is_right))
    }

    fn between(&self, began: Instant, ended: Instant) -> Vec<Sighting> {
        let sightings = self.sightings.lock().expect("no thread panics while it holds the lock");
        let is_between = |it: &&Sighting| it.began >= began && it.ended <= ended;
        sightings.iter().filter(is_between).cloned().collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for watcher in &mut self.watchers {
            watcher.orders = None;
        }
        for watcher in &mut self.watchers {
            let result = watcher.thread.take().map(JoinHandle::join);
            // A second panic would hide the first panic.
            assert!(!matches!(result, Some(Err(_))) || thread::panicking(), "a tracer failed");
        }
    }
}

/// Starts a tracer, and takes snapshots until the sender of orders is dropped.
fn watch(
    options: &Options,
    policy: Reconcile,
    say_started: &Sender<Provider>,
    ordered: &Receiver<Order>,
    sightings: &Mutex<Vec<Sighting>>,
) {
    let mut tracer =
        Tracer::start(options).unwrap_or_else(|error| panic!("{error}; {}", error.help()));
    if is_emulated() {
        // An audit takes far more CPU time on an emulated machine, so it would wait for minutes.
        tracer.limit_audits(ANY_SHARE);
    }
    say_started.send(tracer.probe().provider(Minis::TimeWait)).expect("the test waits");
    loop {
        match ordered.recv_timeout(INTERVAL) {
            Ok(Order(is_losing, done)) => {
                tracer.probe_mut().set_losing(is_losing).expect("the map can be written");
                done.send(()).expect("the test waits");
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                tracer.reconcile_if_due(policy).expect("a scan can be made");
                let began = Instant::now();
                let snapshot = tracer.snapshot().expect("a snapshot can be taken");
                // Orphans of earlier tests may keep namespaces alive that cannot be entered.
                let is_hidden = |limit: &Limit| matches!(limit, Limit::Namespaces { .. });
                let is_hidden = tracer.live().limits().iter().any(is_hidden);
                let sighting = Sighting { began, ended: Instant::now(), snapshot, is_hidden };
                sightings.lock().expect("no thread panics while it holds the lock").push(sighting);
            }
        }
    }
}
