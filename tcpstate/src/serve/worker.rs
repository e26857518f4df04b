//! The thread that owns the tracer: makes readings on request, and scans when they are due.

use std::{
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Broken, DeliveryStats, LastReading, Settings, tracer_handle::Shared};
use crate::{
    aggregate::Reconcile,
    probe::{Error, Probe, relinquish},
    report::{Attached, Key, Start, TimeWait},
    tracer::Tracer,
    view::metrics::{Durations, Exporter, Format, Pushed, Series, metrics, unix_seconds},
};

/// The interval at which the tracer's thread checks for missed events. A check for missed events
/// reads one number from the kernel.
const LOOK_FOR_MISSES: Duration = Duration::from_millis(500);

/// The channel on which the tracer's thread sends the answer to a request.
type Answer<T> = oneshot::Sender<Result<T, Broken>>;

/// A request to the tracer's thread.
pub(super) enum Request {
    /// Asks for a reading, and for its text in a format.
    Scrape(Option<Format>, Answer<Arc<LastReading>>),
    Scan(Answer<()>),
}

/// The state of the tracer's thread.
pub(super) struct Worker {
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
    shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn start(
        settings: Settings,
        shared: Arc<Shared>,
        on_start: impl FnOnce(&Probe),
    ) -> Result<Self, Error> {
        let Settings {
            options,
            reconcile,
            max_audit_cpu,
            drop_privileges,
            user,
            by,
            max_series,
            durations,
            delivery_stats,
        } = settings;
        let mut tracer = Tracer::start(&options)?;
        tracer.limit_audits(max_audit_cpu);
        on_start(tracer.probe());
        if let Some(user) = user {
            let action = "change the user of the thread that counts";
            relinquish::change_user(user).map_err(|source| Error::System { action, source })?;
        }
        if drop_privileges {
            let makes_scans = reconcile != Reconcile::Off || max_audit_cpu > 0.0;
            relinquish::keep_only(&relinquish::of_scans(tracer.probe(), makes_scans))?;
        }
        if user.is_some() && tracer.probe().kernel.guards_each_bpf_call() {
            relinquish::show_own_files();
        }
        tracer.keep_series(&by, max_series);
        tracer.begin_survey(max_series);
        let start = tracer.start_report();
        let mut worker = Self {
            attached: start.attached.clone(),
            start,
            tracer,
            reconcile,
            series: by.contains(&Key::Netns).then(|| Series::new(max_series)),
            durations,
            shown: TimeWait::default(),
            delivery_stats,
            looked: Instant::now(),
            last_error: String::new(),
            shared,
        };
        // This reading answers the requests that arrive during the next scan.
        let _ = worker.read();
        worker.beat();
        worker.shared.started(worker.tracer.pulse());
        Ok(worker)
    }

    fn beat(&self) {
        self.tracer.pulse().beat();
    }

    /// Answers requests until all handles of the tracer are dropped.
    pub(super) fn answer(&mut self, asked: &Receiver<Request>) {
        loop {
            self.beat();
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

    /// Answers all requests for a reading with one reading, and then all requests for a scan with
    /// one scan.
    fn answer_all(&mut self, requests: Vec<Request>) {
        let (mut scrapes, mut scans) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                Request::Scrape(_, answer) if answer.is_closed() => {}
                Request::Scrape(format, answer) => scrapes.push((format, answer)),
                Request::Scan(answer) => scans.push(answer),
            }
        }
        if !scrapes.is_empty() {
            let reading = self.read();
            // Ignore send errors, because the client may have disconnected.
            for (format, answer) in scrapes {
                if let (Ok(reading), Some(format)) = (&reading, format) {
                    reading.prepare(format);
                }
                let _ = answer.send(reading.clone());
            }
        }
        if !scans.is_empty() {
            let scan = self.tracer.reconcile().map_err(|error| broken(&error));
            for answer in scans {
                let _ = answer.send(scan.clone());
            }
        }
    }

    /// Makes a reading, which becomes the last reading.
    fn read(&mut self) -> Result<Arc<LastReading>, Broken> {
        // Make a scan first if a scan is due, so that the exported gauges are correct.
        self.look_for_misses();
        let reading = self.try_to_read().map(Arc::new);
        self.shared.set_last(reading.as_ref().ok().map(Arc::clone));
        reading.map_err(|error| broken(&error))
    }

    fn try_to_read(&mut self) -> Result<LastReading, Error> {
        let mut snapshot = self.tracer.snapshot()?;
        self.tracer.look_at_sockets(true);
        let at = Instant::now();
        let map_entries = self.tracer.map_entries()?;
        let failed_connects = self.tracer.failed_connects()?;
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
            owners: self.tracer.series(),
            failed_connects,
            listen_drops: self.tracer.listen_drops().cloned(),
            local_ports: self.tracer.local_ports(),
            textfile_errors: delivery_stats
                .has_textfile
                .then(|| delivery_stats.textfile_errors.load(Relaxed)),
            pushed: delivery_stats.has_push.then(pushed),
        };
        let durations = self
            .tracer
            .durations()
            .map(|histograms| Durations { histograms, with_buckets: self.durations });
        let all = metrics(&snapshot, &exporter, self.series.as_ref(), durations.as_ref());
        Ok(LastReading::new(all, at))
    }

    /// Makes a scan if a scan is due. If the scan fails, the gauges stay inexact, and a metric
    /// reports that the gauges are inexact.
    fn look_for_misses(&mut self) {
        self.looked = Instant::now();
        let followed = self.tracer.follow_owners();
        self.tracer.look_at_sockets(false);
        let done = followed.and_then(|()| self.tracer.reconcile_if_due(self.reconcile));
        let error = done.err().or_else(|| self.tracer.take_failed_scan());
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        if !error.is_empty() && error != self.last_error {
            eprintln!("tcpstate: {}", crate::text::escaped(&error));
        }
        self.last_error = error;
    }
}

fn broken(error: &Error) -> Broken {
    Broken(error.to_string().into())
}
