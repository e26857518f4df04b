//! The metrics pushed to an OpenTelemetry receiver, by OpenTelemetry's own crates, under names that follow its conventions.
//!
//! What is to be sent waits in a queue of [`QUEUE`] collections, or fewer large ones: while the receiver is down the oldest
//! give way, so nothing grows; when it is back they go out in order. Numbers are totals since the start, so that what was given up costs moments
//! and no counts. Histograms are not sent: the crates take single durations, and the kernel half has sums of them.

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

/// For a request, the exporter's own attempts at it included.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Before a request is made again; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
    tracer_handle: TracerHandle,
}

impl Push {
    /// Connects to nothing yet. To be called within a runtime.
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
            let collected = match self.tracer_handle.metrics().await {
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
                    eprintln!("tcpstate: push to {url}: {}", escaped(error.to_string()));
                    eprintln!(
                        "help: see that a receiver listens there, and speaks what --otlp-protocol says; it is tried again"
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
