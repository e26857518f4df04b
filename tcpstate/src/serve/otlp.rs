//! The metrics pushed to an OpenTelemetry receiver, by OpenTelemetry's own crates, under names that follow its conventions.
//!
//! What is to be sent waits in a queue of [`QUEUE`] collections, or fewer large ones: while the receiver is down the oldest
//! give way, so nothing grows; when it is back they go out in order. Numbers are totals since the start, so that what was given up costs moments
//! and no counts. Histograms are not sent: the crates take single durations, and the kernel half has sums of them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter, MeterProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
        data::ResourceMetrics, exporter::PushMetricExporter as _, reader::MetricReader,
    },
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Outlets, Scraper};
use crate::{
    text::escaped,
    view::metrics::{Kind, Label, Metric, Value},
};

/// Collections that wait at most: a quarter of an hour at the usual pace.
pub const QUEUE: usize = 64;
/// Points that wait at most, which is some 100 MiB: each has attributes, and takes some 400 bytes. A full queue with the usual
/// `--most-series` has half as many; with 10,000 namespaces it is two collections.
const MOST_POINTS: usize = 1 << 18;
/// For a request, the exporter's own attempts at it included.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Before a request is made again; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Sets of attributes of one metric, beyond all that `--most-series` allows. By default the rest would be one.
const MOST_SERIES: usize = 1 << 20;

/// How to talk to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, port 4317 by convention.
    Grpc,
    /// HTTP with protobuf, port 4318 by convention.
    Http,
}

/// Where the metrics go.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// As `http://127.0.0.1:4317`; with HTTP without the `/v1/metrics` that is added.
    pub url: String,
    /// How.
    pub protocol: Protocol,
    /// Time between two collections.
    pub interval: Duration,
}

/// What collects and sends.
pub struct Push {
    receiver: Receiver,
    exporter: MetricExporter,
    scraper: Scraper,
}

impl Push {
    /// Connects to nothing yet. To be called within a runtime.
    pub fn new(receiver: Receiver, scraper: &Scraper) -> Result<Self, ExporterBuildError> {
        let url = receiver.url.trim_end_matches('/');
        let exporter = match receiver.protocol {
            Protocol::Grpc => MetricExporter::builder()
                .with_tonic()
                .with_endpoint(url)
                .with_timeout(REQUEST_TIME)
                .build(),
            Protocol::Http => MetricExporter::builder()
                .with_http()
                .with_endpoint(format!("{url}/v1/metrics"))
                .with_timeout(REQUEST_TIME)
                .build(),
        }?;
        Ok(Self { receiver, exporter, scraper: scraper.clone() })
    }

    /// Collects and sends until it is dropped.
    pub async fn run(self) {
        let queue = Queue::default();
        tokio::join!(self.collect(&queue), self.send(&queue));
    }

    async fn collect(&self, queue: &Queue<ResourceMetrics>) {
        let mut collector = Collector::new();
        let mut ticks = interval(self.receiver.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let collected = match self.scraper.metrics().await {
                Ok(metrics) => {
                    let points = shown(&metrics).map(|metric| metric.samples.len()).sum();
                    let collection = collector.collect(&metrics);
                    collection.map(|it| (it, points)).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match collected {
                Ok((collection, points)) => {
                    let dropped = queue.push(collection, points);
                    self.scraper.outlets().push_dropped.fetch_add(dropped, Relaxed);
                }
                Err(error) => eprintln!("tcpstate: {}", escaped(error)),
            }
        }
    }

    async fn send(&self, queue: &Queue<ResourceMetrics>) {
        let outlets: &Outlets = self.scraper.outlets();
        let mut pause = FIRST_PAUSE;
        loop {
            let (collection, points) = queue.pop().await;
            loop {
                let Err(error) = self.exporter.export(&collection).await else {
                    pause = FIRST_PAUSE;
                    break;
                };
                outlets.push_errors.fetch_add(1, Relaxed);
                if pause == FIRST_PAUSE {
                    let url = escaped(&self.receiver.url);
                    eprintln!("tcpstate: push to {url}: {}", escaped(error.to_string()));
                    eprintln!(
                        "remedy: see that a receiver listens there, and speaks what --otlp-protocol says; it is tried again"
                    );
                }
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
                if !queue.has_room_beside(points) {
                    outlets.push_dropped.fetch_add(1, Relaxed);
                    break;
                }
            }
        }
    }
}

/// What waits, the oldest first, and how many points each has.
struct Queue<T> {
    waiting: Mutex<VecDeque<(T, usize)>>,
    pushed: Notify,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), pushed: Notify::new() }
    }
}

impl<T> Queue<T> {
    /// Returns how many older ones gave way; the new one stays, however large.
    fn push(&self, new: T, points: usize) -> u64 {
        let mut waiting = self.waiting();
        let mut dropped = 0;
        while !waiting.is_empty() && !has_room(&waiting, points) {
            waiting.pop_front();
            dropped += 1;
        }
        waiting.push_back((new, points));
        self.pushed.notify_one();
        dropped
    }

    /// Waits for one, if there is none.
    async fn pop(&self) -> (T, usize) {
        loop {
            if let Some(oldest) = self.waiting().pop_front() {
                return oldest;
            }
            self.pushed.notified().await;
        }
    }

    /// Whether one that was taken out may be kept, too: where nothing waits, however large it is.
    fn has_room_beside(&self, points: usize) -> bool {
        let waiting = self.waiting();
        waiting.is_empty() || has_room(&waiting, points)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(T, usize)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one with so many points fits in.
fn has_room<T>(waiting: &VecDeque<(T, usize)>, points: usize) -> bool {
    let all = waiting.iter().fold(points, |sum, (_, points)| sum + points);
    waiting.len() < QUEUE && all <= MOST_POINTS
}

/// What is sent.
fn shown(metrics: &[Metric]) -> impl Iterator<Item = &Metric> {
    metrics.iter().filter(|metric| metric.kind != Kind::Histogram)
}

/// Turns metrics into what is sent: by instruments whose numbers are what was collected last.
struct Collector {
    reader: Reader,
    /// Keeps what the instruments count.
    _provider: SdkMeterProvider,
    meter: Meter,
    latest: Latest,
    instruments: HashSet<&'static str>,
}

/// The samples of each metric by its name, as attributes and numbers.
type Latest = Arc<Mutex<HashMap<&'static str, Vec<(Vec<KeyValue>, Value)>>>>;

impl Collector {
    fn new() -> Self {
        let host = nix::sys::utsname::uname()
            .map(|names| names.nodename().to_string_lossy().into_owned())
            .unwrap_or_default();
        let resource = Resource::builder_empty()
            .with_service_name("tcpstate")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("host.name", host),
                KeyValue::new("os.type", "linux"),
            ])
            .build();
        let reader = Reader::default();
        let roomy = |_: &_| Stream::builder().with_cardinality_limit(MOST_SERIES).build().ok();
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(reader.clone())
            .with_view(roomy)
            .build();
        Self {
            reader,
            meter: provider.meter("tcpstate"),
            _provider: provider,
            latest: Latest::default(),
            instruments: HashSet::new(),
        }
    }

    fn collect(
        &mut self,
        metrics: &[Metric],
    ) -> Result<ResourceMetrics, impl fmt::Display + use<>> {
        let samples = |metric: &Metric| {
            let sample = |(labels, value): &(Vec<Label>, Value)| {
                (attributes(metric.name, labels), value.clone())
            };
            metric.samples.iter().map(sample).collect()
        };
        let latest = shown(metrics).map(|metric| (metric.name, samples(metric))).collect();
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = latest;
        for metric in shown(metrics) {
            if self.instruments.insert(metric.name) {
                self.add_instrument(metric);
            }
        }
        let mut collection = ResourceMetrics::default();
        self.reader.collect(&mut collection).map(|()| collection)
    }

    /// Sums that may fall, too, are of the kind of which series that are no more are not sent any longer.
    fn add_instrument(&self, metric: &Metric) {
        let (name, unit) = instrument(metric);
        let (latest, key) = (Arc::clone(&self.latest), metric.name);
        let each = move |observe: &mut dyn FnMut(&Value, &[KeyValue])| {
            let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            for (attributes, value) in latest.get(key).into_iter().flatten() {
                observe(value, attributes);
            }
        };
        let meter = &self.meter;
        macro_rules! add {
            ($build:ident, $number:expr) => {{
                let callback = move |instrument: &dyn AsyncInstrument<_>| {
                    each(&mut |value, attributes| {
                        if let Some(number) = $number(value) {
                            instrument.observe(number, attributes);
                        }
                    });
                };
                meter
                    .$build(name)
                    .with_description(metric.help)
                    .with_unit(unit)
                    .with_callback(callback)
                    .build();
            }};
        }
        match (metric.kind, metric.unit()) {
            (Kind::Counter, None) => add!(u64_observable_counter, count),
            (Kind::Counter, Some(_)) => add!(f64_observable_counter, Value::float),
            (_, None) => add!(i64_observable_up_down_counter, Value::whole),
            (_, Some(_)) => add!(f64_observable_up_down_counter, Value::float),
        }
    }
}

/// A reader that both the provider and the collector have.
#[derive(Clone, Debug, Default)]
struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, collection: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(collection)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

fn count(value: &Value) -> Option<u64> {
    value.whole()?.try_into().ok()
}

/// What a metric is called there, and its unit. Units are no part of names.
fn instrument(metric: &Metric) -> (String, &'static str) {
    match metric.name {
        "tcpstate_connections" => ("system.network.connection.count".to_owned(), "{connection}"),
        "tcpstate_process_cpu_seconds" => ("process.cpu.time".to_owned(), "s"),
        name => {
            let name = name.strip_prefix("tcpstate_").unwrap_or(name);
            let (name, unit) = match metric.unit() {
                Some("seconds") => (name.trim_end_matches("_seconds"), "s"),
                Some(_) => (name.trim_end_matches("_bytes"), "By"),
                None => (name, "1"),
            };
            (format!("tcpstate.{name}"), unit)
        }
    }
}

/// What labels are called there, and how states are spelled.
fn attributes(metric: &str, labels: &[Label]) -> Vec<KeyValue> {
    let attribute = |(label, text): &Label| match *label {
        "state" => KeyValue::new("network.connection.state", state(text)),
        "from" | "to" => KeyValue::new(format!("tcpstate.{label}"), state(text)),
        "family" => KeyValue::new("network.type", text.clone()),
        other => KeyValue::new(format!("tcpstate.{other}"), text.clone()),
    };
    let transport = KeyValue::new("network.transport", "tcp");
    let transport = (metric == "tcpstate_connections").then_some(transport);
    labels.iter().map(attribute).chain(transport).collect()
}

/// A state as OpenTelemetry's conventions spell it.
fn state(label: &str) -> String {
    match label {
        "close" => "closed",
        "fin_wait1" => "fin_wait_1",
        "fin_wait2" => "fin_wait_2",
        "syn_recv" => "syn_received",
        same => same,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_give_way_where_too_many_wait_or_too_large_ones_but_never_the_newest() {
        let many = Queue::default();
        let dropped: u64 = (0..QUEUE + 3).map(|number| many.push(number, 1)).sum();
        assert_eq!((dropped, many.pop().await.0), (3, 3));
        assert!(many.has_room_beside(1));
        many.push(0, 1);
        assert!(!many.has_room_beside(1));

        let large = Queue::default();
        let dropped = ["a", "b", "c"].map(|name| large.push(name, MOST_POINTS / 2));
        assert_eq!(dropped, [0, 0, 1]);
        assert_eq!(large.push("d", MOST_POINTS + 1), 2);
        assert!(!large.has_room_beside(1));
        assert_eq!(large.pop().await, ("d", MOST_POINTS + 1));
        assert!(large.has_room_beside(MOST_POINTS + 1));
    }
}
