//! The tracer on a thread of its own, and the questions that are put to it.
//!
//! A tracer stays on the thread that started it, and a reading makes that thread wait for the kernel. Who asks while it is
//! at that shares the next reading with all others who do: it is made after they asked, so it has all that came before, and
//! a thousand who ask at once cost one reading.

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

/// How often misses are looked for: one number is asked of the kernel.
const LOOK_FOR_MISSES: Duration = Duration::from_millis(500);

/// How to trace for those who scrape.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to load.
    pub options: Options,
    /// When to scan of the sockets again.
    pub reconcile: Reconcile,
    /// Give up, once everything is in place, what is not needed any more.
    pub drop_privileges: bool,
    /// Series for so many network namespaces, where they have any.
    pub max_series: Option<usize>,
    /// Show the durations that `options` have counted, and not only how many there are.
    pub durations: bool,
    /// Who sends numbers elsewhere: the first scrape shows that.
    pub delivery_stats: Arc<DeliveryStats>,
}

/// The tracer can't be asked: it ended, or the kernel refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(Arc<str>);

/// What is asked.
enum Request {
    Scrape(Format, oneshot::Sender<Result<Bytes, Broken>>),
    Metrics(oneshot::Sender<Result<Arc<[Metric]>, Broken>>),
    Scan(oneshot::Sender<Result<(), Broken>>),
    Ping(oneshot::Sender<()>),
}

/// What became of numbers that were to go elsewhere, by whoever sends them; shown with the others.
#[derive(Debug, Default)]
pub struct DeliveryStats {
    /// There is a textfile.
    pub has_textfile: bool,
    /// Texts that could not be written to it.
    pub textfile_errors: AtomicU64,
    /// They are pushed.
    pub has_push: bool,
    /// Pushes that failed, each attempt.
    pub push_errors: AtomicU64,
    /// Collections that were given up.
    pub push_dropped: AtomicU64,
}

/// A tracer that can be asked from any thread. It ends when it and all its clones are dropped.
#[derive(Clone)]
pub struct TracerHandle {
    questions: Sender<Request>,
    delivery_stats: Arc<DeliveryStats>,
}

impl TracerHandle {
    /// Starts it, and returns at once. `on_start` is run on the thread, with what is in place, before privileges are given up.
    pub fn start(
        settings: Settings,
        on_start: impl FnOnce(&Probe) + Send + 'static,
    ) -> (Self, Progress) {
        let (questions, asked) = channel();
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
        (Self { questions, delivery_stats }, Progress { started, ended })
    }

    /// All metrics as text, as of now.
    pub async fn scrape(&self, format: Format) -> Result<Bytes, Broken> {
        self.ask(|answer| Request::Scrape(format, answer)).await?
    }

    /// All metrics as of now, for who tells them in other words.
    pub async fn metrics(&self) -> Result<Arc<[Metric]>, Broken> {
        self.ask(Request::Metrics).await?
    }

    /// Has a scan be made.
    pub async fn scan(&self) -> Result<(), Broken> {
        self.ask(Request::Scan).await?
    }

    /// Returns when the thread had time for it.
    pub async fn ping(&self) -> Result<(), Broken> {
        self.ask(Request::Ping).await
    }

    /// Where those who send numbers elsewhere say what became of them.
    #[must_use]
    pub fn delivery_stats(&self) -> &Arc<DeliveryStats> {
        &self.delivery_stats
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Broken> {
        let (answer, answered) = oneshot::channel();
        let ended = || Broken("the tracer has ended".into());
        self.questions.send(question(answer)).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())
    }
}

/// How far the thread has come.
pub struct Progress {
    /// Whether everything is in place, as soon as that is known.
    pub started: oneshot::Receiver<Result<(), Error>>,
    /// Resolves, to nothing, when the thread has ended, as it should not while somebody can ask.
    pub ended: oneshot::Receiver<()>,
}

/// What runs on the thread.
struct Worker {
    tracer: Tracer,
    start: Start,
    attached: Attached,
    reconcile: Reconcile,
    series: Option<Series>,
    durations: bool,
    /// The last numbers shown of what may only grow.
    shown: TimeWait,
    delivery_stats: Arc<DeliveryStats>,
    looked: Instant,
    /// What was last said to be wrong.
    last_error: String,
}

impl Worker {
    fn start(settings: Settings, on_start: impl FnOnce(&Probe)) -> Result<Self, Error> {
        let Settings { options, reconcile, drop_privileges, max_series, durations, delivery_stats } =
            settings;
        let tracer = Tracer::start(&options)?;
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

    /// Answers until nobody can ask any more.
    fn answer(&mut self, asked: &Receiver<Request>) {
        loop {
            match asked.recv_timeout(LOOK_FOR_MISSES.saturating_sub(self.looked.elapsed())) {
                Ok(question) => {
                    let all = std::iter::once(question).chain(asked.try_iter()).collect();
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

    fn answer_all(&mut self, questions: Vec<Request>) {
        let mut texts = HashMap::new();
        let mut reading = None;
        // Who asked and went away is last_error in vain.
        for question in questions {
            match question {
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
        // What is due now would be due in a moment: gauges are right when they are shown.
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

    /// Makes the scan that is due, if one is. What goes wrong leaves gauges less than exact, which they say themselves.
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
