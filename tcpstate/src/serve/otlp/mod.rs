//! Pushes the metrics to an OpenTelemetry receiver. The module uses the OpenTelemetry crates. The
//! names of the metrics follow OpenTelemetry's semantic conventions.
//!
//! The queue holds at most [`QUEUE`] collections. If the collections are large, the queue holds
//! fewer collections. While the receiver is down, the oldest collections in the queue are dropped,
//! so that memory does not grow. When the receiver is up again, the queued collections are sent in
//! order.
//!
//! Counters contain totals since tcpstate started, so later collections include the counts of a
//! dropped collection. Histograms are not sent, because the OpenTelemetry crates accept only single
//! durations. The kernel half counts durations by bucket and does not keep single durations.

mod collector;
mod queue;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use opentelemetry_otlp::{ExporterBuildError, MetricExporter, WithExportConfig as _};
use opentelemetry_sdk::metrics::{data::ResourceMetrics, exporter::PushMetricExporter as _};
use tokio::time::{MissedTickBehavior, interval, sleep};

pub use self::queue::QUEUE;
use self::{
    collector::{Collector, shown},
    queue::Queue,
};
use super::{DeliveryStats, TracerHandle};
use crate::text::escaped;

/// Maximum time for a request to the receiver, including the exporter's own retries.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Pause before the first retry. Each further retry doubles the pause, up to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The protocol of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC. For gRPC, receivers usually listen on port 4317.
    Grpc,
    /// HTTP with protobuf. For HTTP, receivers usually listen on port 4318.
    Http,
}

/// The receiver to which the metrics are pushed.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The URL of the receiver, for example `http://127.0.0.1:4317`. For HTTP, the exporter appends
    /// `/v1/metrics`.
    pub url: String,
    /// The protocol that the receiver expects.
    pub protocol: Protocol,
    /// The time between two collections.
    pub interval: Duration,
}

/// Collects metrics and sends the collections to a receiver.
pub struct Push {
    receiver: Receiver,
    exporter: MetricExporter,
    tracer_handle: TracerHandle,
}

impl Push {
    /// Prepares the connection to the receiver without connecting. The caller must be inside a
    /// tokio runtime.
    pub fn new(
        receiver: Receiver,
        tracer_handle: &TracerHandle,
    ) -> Result<Self, ExporterBuildError> {
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
        Ok(Self { receiver, exporter, tracer_handle: tracer_handle.clone() })
    }

    /// Collects and sends metrics until the future is dropped.
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
            let collected = match self.tracer_handle.scrape_or_last(None).await {
                None => Err("cannot read the counters yet: a scan is running".to_owned()),
                Some(Ok(reading)) => {
                    let metrics = reading.metrics();
                    let points = shown(&metrics).map(|metric| metric.samples.len()).sum();
                    let collection = collector.collect(&metrics);
                    collection.map(|it| (it, points)).map_err(|error| error.to_string())
                }
                Some(Err(error)) => Err(error.to_string()),
            };
            match collected {
                Ok((collection, points)) => {
                    let dropped = queue.push(collection, points);
                    self.tracer_handle.delivery_stats().push_dropped.fetch_add(dropped, Relaxed);
                }
                Err(error) => eprintln!("tcpstate: {}", escaped(error)),
            }
        }
    }

    async fn send(&self, queue: &Queue<ResourceMetrics>) {
        let delivery_stats: &DeliveryStats = self.tracer_handle.delivery_stats();
        let mut pause = FIRST_PAUSE;
        loop {
            let (collection, points) = queue.pop().await;
            loop {
                let Err(error) = self.exporter.export(&collection).await else {
                    pause = FIRST_PAUSE;
                    break;
                };
                delivery_stats.push_errors.fetch_add(1, Relaxed);
                if pause == FIRST_PAUSE {
                    let url = escaped(&self.receiver.url);
                    eprintln!("tcpstate: cannot push to {url}: {}", escaped(error.to_string()));
                    eprintln!(
                        "help: check that a receiver listens there and uses the --otlp-protocol; the push is retried"
                    );
                }
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
                if !queue.has_room_beside(points) {
                    delivery_stats.push_dropped.fetch_add(1, Relaxed);
                    break;
                }
            }
        }
    }
}
