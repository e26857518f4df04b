//! Runs the tracer on a separate thread, and sends requests to this thread.
//!
//! A tracer stays on the thread that started the tracer. During a snapshot, the tracer's thread
//! waits for the kernel. All requests that arrive during a snapshot share the next snapshot. The
//! next snapshot starts after these requests, so the snapshot includes all events before the
//! requests. A thousand simultaneous requests need only one snapshot.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use tokio::sync::oneshot;

use crate::{
    aggregate::Reconcile,
    probe::{Error, Options, Probe, relinquish},
    report::{Attached, Start, TimeWait},
    tracer::Tracer,
    view::metrics::{
        Durations, Exporter, Format, Metric, Pushed, Series, metrics, text, unix_seconds,
    },
};

/// The interval at which the tracer's thread checks for missed events. A check for missed events
/// reads one number from the kernel.
const LOOK_FOR_MISSES: Duration = Duration::from_millis(500);

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
    /// Maximum number of network namespaces that have separate series. `None` disables the series
    /// of namespaces.
    pub max_series: Option<usize>,
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
pub struct Broken(Arc<str>);

/// A request to the tracer's thread, and the channel on which the thread sends the answer.
enum Request {
    Scrape(Format, oneshot::Sender<Result<Bytes, Broken>>),
    Metrics(oneshot::Sender<Result<Arc<[Metric]>, Broken>>),
    Scan(oneshot::Sender<Result<(), Broken>>),
    Ping(oneshot::Sender<()>),
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
    delivery_stats: Arc<DeliveryStats>,
}

impl TracerHandle {
    /// Starts the tracer's thread and returns immediately. After the BPF programs are loaded and
    /// before the thread drops privileges, the thread calls `on_start`.
    pub fn start(
        settings: Settings,
        on_start: impl FnOnce(&Probe) + Send + 'static,
    ) -> (Self, Progress) {
        let (requests, asked) = channel();
        let (end, ended) = oneshot::channel();
        let delivery_stats = Arc::clone(&settings.delivery_stats);
        let (sender, started) = oneshot::channel();
        let run = move || {
            let worker = Worker::start(settings, on_start);
            let (worker, result) = match worker {
                Ok(worker) => (Some(worker), Ok(())),
                Err(error) => (None, Err(error)),
            };
            let _ = sender.send(result);
            if let Some(mut worker) = worker {
                worker.answer(&asked);
            }
            drop(end);
        };
        let thread = thread::Builder::new().name("tracer".into()).spawn(run);
        thread.expect("a process may have a second thread");
        (Self { requests, delivery_stats }, Progress { started, ended })
    }

    /// Returns all current metrics as text.
    pub async fn scrape(&self, format: Format) -> Result<Bytes, Broken> {
        self.ask(|answer| Request::Scrape(format, answer)).await?
    }

    /// Returns all current metrics, for exports that do not use a text format.
    pub async fn metrics(&self) -> Result<Arc<[Metric]>, Broken> {
        self.ask(Request::Metrics).await?
    }

    /// Makes the tracer scan all sockets.
    pub async fn scan(&self) -> Result<(), Broken> {
        self.ask(Request::Scan).await?
    }

    /// Returns when the tracer's thread has handled this request.
    pub async fn ping(&self) -> Result<(), Broken> {
        self.ask(Request::Ping).await
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
        let ended = || Broken("the tracer has ended".into());
        self.requests.send(request(answer)).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())
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

/// The state of the tracer's thread.
struct Worker {
    tracer: Tracer,
    start: Start,
    attached: Attached,
    reconcile: Reconcile,
    series: Option<Series>,
    durations: bool,
    /// The highest values of the time-wait counters that were exported so far. An exported counter
    /// must not decrease.
    shown: TimeWait,
    delivery_stats: Arc<DeliveryStats>,
    looked: Instant,
    /// The error message that was printed last.
    last_error: String,
}

impl Worker {
    fn start(settings: Settings, on_start: impl FnOnce(&Probe)) -> Result<Self, Error> {
        let Settings {
            options,
            reconcile,
            max_audit_cpu,
            drop_privileges,
            max_series,
            durations,
            delivery_stats,
        } = settings;
        let mut tracer = Tracer::start(&options)?;
        tracer.limit_audits(max_audit_cpu);
        on_start(tracer.probe());
        if drop_privileges {
            relinquish::keep_only(&relinquish::of_scans(tracer.probe()))?;
        }
        let start = tracer.start_report();
        Ok(Self {
            attached: start.attached.clone(),
            start,
            tracer,
            reconcile,
            series: max_series.map(Series::new),
            durations,
            shown: TimeWait::default(),
            delivery_stats,
            looked: Instant::now(),
            last_error: String::new(),
        })
    }

    /// Answers requests until all handles of the tracer are dropped.
    fn answer(&mut self, asked: &Receiver<Request>) {
        loop {
            match asked.recv_timeout(LOOK_FOR_MISSES.saturating_sub(self.looked.elapsed())) {
                Ok(request) => {
                    let all = std::iter::once(request).chain(asked.try_iter()).collect();
                    self.answer_all(all);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.looked.elapsed() >= LOOK_FOR_MISSES {
                self.look_for_misses();
            }
        }
    }

    fn answer_all(&mut self, requests: Vec<Request>) {
        let mut texts = HashMap::new();
        let mut reading = None;
        // Ignore send errors, because the client may have disconnected.
        for request in requests {
            match request {
                Request::Scrape(_, answer) if answer.is_closed() => {}
                Request::Scrape(format, answer) => {
                    let reading = reading.get_or_insert_with(|| self.read());
                    let text = reading.as_ref().map_err(Broken::clone).map(|metrics| {
                        texts.entry(format).or_insert_with(|| text(metrics, format).into())
                    });
                    let _ = answer.send(text.map(|text: &mut Bytes| text.clone()));
                }
                Request::Metrics(answer) => {
                    let reading = reading.get_or_insert_with(|| self.read());
                    let _ = answer.send(reading.as_ref().map(Arc::clone).map_err(Broken::clone));
                }
                Request::Scan(answer) => {
                    let _ = answer.send(self.tracer.reconcile().map_err(|error| broken(&error)));
                }
                Request::Ping(answer) => {
                    let _ = answer.send(());
                }
            }
        }
    }

    fn read(&mut self) -> Result<Arc<[Metric]>, Broken> {
        // Make a scan first if a scan is due, so that the exported gauges are correct.
        self.look_for_misses();
        let read = self.tracer.snapshot().and_then(|it| Ok((it, self.tracer.map_entries()?)));
        let (mut snapshot, map_entries) = read.map_err(|error| broken(&error))?;
        snapshot.time_wait.keep_growing(&self.shown);
        self.shown = snapshot.time_wait;
        if let Some(attached) = &snapshot.attached {
            self.attached = attached.clone();
        }
        if let (Some(series), Some(rows)) = (&mut self.series, &snapshot.namespaces) {
            series.update(rows);
        }
        let delivery_stats = &self.delivery_stats;
        let pushed = || Pushed {
            errors: delivery_stats.push_errors.load(Relaxed),
            dropped: delivery_stats.push_dropped.load(Relaxed),
        };
        let exporter = Exporter {
            kernel: self.start.kernel.clone(),
            netns: self.start.netns.to_string(),
            started: unix_seconds(self.start.time),
            hooks: self.attached.hooks,
            is_degraded: !self.attached.limits.is_empty(),
            map_entries,
            textfile_errors: delivery_stats
                .has_textfile
                .then(|| delivery_stats.textfile_errors.load(Relaxed)),
            pushed: delivery_stats.has_push.then(pushed),
        };
        let durations = self
            .tracer
            .durations()
            .map(|histograms| Durations { histograms, with_buckets: self.durations });
        Ok(metrics(&snapshot, &exporter, self.series.as_ref(), durations.as_ref()).into())
    }

    /// Makes a scan if a scan is due. If the scan fails, the gauges stay inexact, and a metric
    /// reports that the gauges are inexact.
    fn look_for_misses(&mut self) {
        self.looked = Instant::now();
        let error = match self.tracer.reconcile_if_due(self.reconcile) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        if !error.is_empty() && error != self.last_error {
            eprintln!("tcpstate: {}", crate::text::escaped(&error));
        }
        self.last_error = error;
    }
}

fn broken(error: &Error) -> Broken {
    Broken(error.to_string().into())
}
