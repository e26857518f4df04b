//! Converts metrics into collections of OpenTelemetry instruments. The names of the instruments
//! follow OpenTelemetry's semantic conventions.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter, MeterProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
        data::ResourceMetrics, reader::MetricReader,
    },
};

use crate::view::metrics::{Kind, Label, Metric, Value};

/// Maximum number of attribute sets of a metric. The maximum is higher than every valid value of
/// `--max-series`. If a metric has more attribute sets than the maximum, the OpenTelemetry crates
/// merge the excess sets into one set. The default maximum of the OpenTelemetry crates is lower
/// than `MAX_SERIES`.
const MAX_SERIES: usize = 1 << 20;

/// Returns the metrics that are sent: all metrics except histograms.
pub(super) fn shown(metrics: &[Metric]) -> impl Iterator<Item = &Metric> {
    metrics.iter().filter(|metric| metric.kind != Kind::Histogram)
}

/// Converts metrics into collections. The instruments of the collector report the latest samples.
pub(super) struct Collector {
    reader: Reader,
    /// The meter provider is kept, because the meter provider owns the state of the instruments.
    _provider: SdkMeterProvider,
    meter: Meter,
    latest: Latest,
    instruments: HashSet<&'static str>,
}

/// Maps the name of each metric to the latest samples, which are pairs of attributes and a number.
type Latest = Arc<Mutex<HashMap<&'static str, Vec<(Vec<KeyValue>, Value)>>>>;

impl Collector {
    pub(super) fn new() -> Self {
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
        let roomy = |_: &_| Stream::builder().with_cardinality_limit(MAX_SERIES).build().ok();
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

    pub(super) fn collect(
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

    /// Adds an instrument for a metric. A gauge is exported as an up-down counter. If the latest
    /// samples do not contain a series of an up-down counter, the OpenTelemetry crates do not send
    /// the series.
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

/// A metric reader that the meter provider and the [`Collector`] share.
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

/// Returns the OpenTelemetry name and the unit of a metric. In OpenTelemetry, the unit is not part
/// of the name.
fn instrument(metric: &Metric) -> (String, &'static str) {
    match metric.name {
        "tcpstate_connections" => ("system.network.connection.count".to_owned(), "{connection}"),
        "tcpstate_process_cpu_seconds" => ("process.cpu.time".to_owned(), "s"),
        name => {
            let name = name.strip_prefix("tcpstate_").unwrap_or(name);
            let (name, unit) = match metric.unit() {
                Some("seconds") => (name.trim_end_matches("_seconds"), "s"),
                Some("ratio") | None => (name, "1"),
                Some(_) => (name.trim_end_matches("_bytes"), "By"),
            };
            (format!("tcpstate.{name}"), unit)
        }
    }
}

/// Converts labels to OpenTelemetry attributes. The spelling of states follows OpenTelemetry's
/// conventions.
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

/// Returns the spelling of a state in OpenTelemetry's conventions.
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
