//! Runs the tracer on a separate thread, and sends requests to this thread.
//!
//! A tracer stays on the thread that started the tracer. During a snapshot, the tracer's thread
//! waits for the kernel. All requests that arrive during a snapshot share the next snapshot. The
//! next snapshot starts after these requests, so the snapshot includes all events before the
//! requests. A thousand simultaneous requests need only one snapshot.
//!
//! A scan of many network namespaces can take a minute. During a scan, requests get the last
//! reading and its age.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::{
    LastReading,
    worker::{Request, Worker},
};
use crate::{
    aggregate::Reconcile,
    probe::{Error, Options, Probe, Pulse, relinquish::User},
    report::Key,
    view::metrics::Format,
};

/// How long a request waits for a new reading before it is answered with the last reading. A
/// reading takes about 30 ms.
const READING_TIME: Duration = Duration::from_secs(1);

/// The tracer's thread hangs if it makes no progress for this time. A walk over the sockets of one
/// network namespace is one step, and a million sockets take about a second.
const LONGEST_STEP: Duration = Duration::from_secs(60);

/// Settings of the tracer that answers scrapes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Options for loading the BPF programs.
    pub options: Options,
    /// The condition under which the tracer scans all sockets again.
    pub reconcile: Reconcile,
    /// The largest share of one CPU that audits use, as a fraction of 1.
    pub max_audit_cpu: f64,
    /// Whether to drop the privileges that are not needed after the start.
    pub drop_privileges: bool,
    /// The user to whom the tracer's thread changes after the start.
    pub user: Option<User>,
    /// The keys whose values have separate series.
    pub by: Vec<Key>,
    /// Maximum number of values of a key that have separate series.
    pub max_series: usize,
    /// Whether to export the durations that `options` enables. If durations are not exported, only
    /// the number of transitions is exported.
    pub durations: bool,
    /// Counts of failed deliveries to a file or a receiver. The counts of deliveries are exported
    /// as metrics from the first scrape.
    pub delivery_stats: Arc<DeliveryStats>,
}

/// The reason why a request failed: the tracer has ended, or the kernel refused a snapshot.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub(super) Arc<str>);

impl Broken {
    fn ended() -> Self {
        Self("the tracer has ended".into())
    }
}

/// Counts of the deliveries of metrics to a file and to a receiver. The counts of deliveries are
/// exported as metrics too.
#[derive(Debug, Default)]
pub struct DeliveryStats {
    /// Whether the metrics are also written to a text file.
    pub has_textfile: bool,
    /// Number of texts that could not be written to the text file.
    pub textfile_errors: AtomicU64,
    /// Whether the metrics are also pushed to a receiver.
    pub has_push: bool,
    /// Number of failed attempts to push a collection.
    pub push_errors: AtomicU64,
    /// Number of collections that were dropped without being pushed.
    pub push_dropped: AtomicU64,
}

/// A handle of the tracer that any thread may use. The tracer ends when all clones of the handle
/// are dropped.
#[derive(Clone)]
pub struct TracerHandle {
    requests: Sender<Request>,
    shared: Arc<Shared>,
    delivery_stats: Arc<DeliveryStats>,
}

/// The state of the tracer's thread that other threads may read.
#[derive(Default)]
pub(super) struct Shared {
    last: Mutex<Option<Arc<LastReading>>>,
    /// The pulse of the thread, after the tracer has started.
    pulse: OnceLock<Arc<Pulse>>,
    has_ended: AtomicBool,
}

impl Shared {
    pub(super) fn started(&self, pulse: &Arc<Pulse>) {
        // The thread starts only one tracer.
        let _ = self.pulse.set(Arc::clone(pulse));
    }

    pub(super) fn set_last(&self, reading: Option<Arc<LastReading>>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }

    fn last(&self) -> Option<Arc<LastReading>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Marks the tracer's thread as ended when it ends, also by a panic.
struct EndMark(Arc<Shared>);

impl Drop for EndMark {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Relaxed);
    }
}

impl TracerHandle {
    /// Starts the tracer's thread and returns immediately. After the BPF programs are loaded and
    /// before the thread drops privileges, the thread calls `on_start`.
    pub fn start(
        settings: Settings,
        on_start: impl FnOnce(&Probe) + Send + 'static,
    ) -> Result<(Self, Progress), Error> {
        let (requests, asked) = channel();
        let (end, ended) = oneshot::channel();
        let delivery_stats = Arc::clone(&settings.delivery_stats);
        let shared: Arc<Shared> = Arc::default();
        let mark = EndMark(Arc::clone(&shared));
        let (sender, started) = oneshot::channel();
        let run = move || {
            let worker = Worker::start(settings, Arc::clone(&mark.0), on_start);
            let (worker, result) = match worker {
                Ok(worker) => (Some(worker), Ok(())),
                Err(error) => (None, Err(error)),
            };
            let _ = sender.send(result);
            if let Some(mut worker) = worker {
                worker.answer(&asked);
            }
            drop((end, mark));
        };
        let thread = thread::Builder::new().name("tracer".into()).spawn(run);
        let action = "start the thread that counts";
        thread.map_err(|source| Error::System { action, source })?;
        Ok((Self { requests, shared, delivery_stats }, Progress { started, ended }))
    }

    /// Returns the handle of a tracer that has ended after this reading.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn without_tracer(last: Arc<LastReading>) -> Self {
        let shared: Arc<Shared> = Arc::default();
        shared.set_last(Some(last));
        Self { requests: channel().0, shared, delivery_stats: Arc::default() }
    }

    /// Returns a reading that starts after this call. The tracer's thread also writes the text of
    /// the reading in the given format.
    pub async fn scrape(&self, format: Option<Format>) -> Result<Arc<LastReading>, Broken> {
        self.ask(|answer| Request::Scrape(format, answer)).await?
    }

    /// Returns a reading that starts after this call. If the tracer is busy for longer than a
    /// second, the function returns the last reading. If there is none, the function returns
    /// `None`.
    pub async fn scrape_or_last(
        &self,
        format: Option<Format>,
    ) -> Option<Result<Arc<LastReading>, Broken>> {
        match timeout(READING_TIME, self.scrape(format)).await {
            Ok(fresh) => Some(fresh),
            Err(_) => self.last().map(Ok),
        }
    }

    /// Returns the last reading, if the last attempt to read the counters has succeeded.
    #[must_use]
    pub fn last(&self) -> Option<Arc<LastReading>> {
        self.shared.last()
    }

    /// Returns whether the tracer's thread makes progress. The start of the tracer counts as
    /// progress, whatever time it takes.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.shared.has_ended.load(Relaxed)
            && self.shared.pulse.get().is_none_or(|pulse| pulse.age() < LONGEST_STEP)
    }

    /// Makes the tracer scan all sockets.
    pub async fn scan(&self) -> Result<(), Broken> {
        self.ask(Request::Scan).await?
    }

    /// Returns the counts of deliveries. The file writer and the pusher update these counts.
    #[must_use]
    pub fn delivery_stats(&self) -> &Arc<DeliveryStats> {
        &self.delivery_stats
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Broken> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).map_err(|_| Broken::ended())?;
        answered.await.map_err(|_| Broken::ended())
    }
}

/// Channel receivers that report when the tracer has started and when the tracer's thread has
/// ended.
pub struct Progress {
    /// Resolves when the start of the tracer has succeeded or failed.
    pub started: oneshot::Receiver<Result<(), Error>>,
    /// Resolves to an error when the tracer's thread has ended. The thread runs while a handle
    /// exists. The thread ends earlier only if the start fails or the thread panics.
    pub ended: oneshot::Receiver<()>,
}
