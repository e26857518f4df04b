//! Defines metrics, independent of any format.

use std::fmt::Display;

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that may increase and decrease.
    Gauge,
    /// A number that only increases. The samples of a counter have the suffix `_total`, but the
    /// name in [`Metric`] lacks this suffix.
    Counter,
    /// A histogram of durations. The numbers of a histogram never decrease.
    Histogram,
    /// A sample with the value 1, whose labels describe tcpstate. The sample has the suffix
    /// `_info`, but the name in [`Metric`] lacks this suffix.
    Info,
}

/// The name and the value of a label.
pub type Label = (&'static str, String);

/// A metric. All samples of a metric have one kind, one name and different labels.
#[derive(Clone, Debug)]
pub struct Metric {
    /// The kind of the metric.
    pub kind: Kind,
    /// The name of the metric, including the unit.
    pub name: &'static str,
    /// The description of the metric for readers.
    pub help: &'static str,
    /// The samples of the metric. No two samples have equal labels.
    pub samples: Vec<(Vec<Label>, Value)>,
}

/// The value of a sample of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer that is never negative.
    Count(u64),
    /// An integer that may be negative.
    Balance(i64),
    /// A number that may be negative or have a fraction.
    Float(f64),
    /// The buckets, the count and the sum of a histogram.
    Distribution(Distribution),
}

/// The number of durations in each bucket of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Each element contains the upper bound of a bucket in seconds, and the number of durations up
    /// to this bound.
    pub buckets: Vec<(f64, u64)>,
    /// The number of durations in all buckets.
    pub count: u64,
    /// The sum of all durations in seconds.
    pub sum: f64,
}

impl Value {
    /// Returns the number of the sample, if the number is an integer.
    #[must_use]
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Count(count) => i64::try_from(*count).ok(),
            Self::Balance(balance) => Some(*balance),
            Self::Float(_) | Self::Distribution(_) => None,
        }
    }

    /// Returns the number of the sample, if the sample is not a histogram.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Float(float) => Some(*float),
            other => other.whole().map(|whole| whole as f64),
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Balance(balance) => balance.fmt(f),
            Self::Float(float) => float.fmt(f),
            Self::Distribution(distribution) => distribution.count.fmt(f),
        }
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Count(is_so.into())
    }
}

impl From<i64> for Value {
    fn from(balance: i64) -> Self {
        Self::Balance(balance)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

impl From<Distribution> for Value {
    fn from(distribution: Distribution) -> Self {
        Self::Distribution(distribution)
    }
}

impl Metric {
    /// Returns the unit in the suffix of the metric's name. Returns `None` if the name has no unit.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes", "ratio"].into_iter().find(|unit| self.name.ends_with(unit))
    }

    /// Adds a sample to the metric. The caller must not add two samples with equal labels.
    pub(super) fn sample(
        &mut self,
        labels: &[(&'static str, &str)],
        value: impl Into<Value>,
    ) -> &mut Self {
        let labels = labels.iter().map(|&(label, text)| (label, text.to_owned())).collect();
        self.samples.push((labels, value.into()));
        self
    }

    /// Adds a sample if the value of the sample is known. An omitted sample is better than a sample
    /// with a wrong value.
    pub(super) fn known(
        &mut self,
        labels: &[(&'static str, &str)],
        value: Option<impl Into<Value>>,
    ) -> &mut Self {
        if let Some(value) = value {
            self.sample(labels, value);
        }
        self
    }

    /// Adds a sample that always exists; its value is NaN if the value is unknown.
    pub(super) fn or_nan(
        &mut self,
        labels: &[(&'static str, &str)],
        value: Option<impl Into<Value>>,
    ) -> &mut Self {
        self.sample(labels, value.map_or(Value::Float(f64::NAN), Into::into))
    }
}

/// The metrics of an export while they are being collected.
#[derive(Debug, Default)]
pub(super) struct Metrics(Vec<Metric>);

impl Metrics {
    /// Adds a metric without samples. The caller adds the samples to the returned metric.
    pub(super) fn metric(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
    ) -> &mut Metric {
        self.0.push(Metric { kind, name, help, samples: Vec::new() });
        self.0.last_mut().expect("it was put there")
    }

    /// Returns all metrics in the order in which they were added.
    pub(super) fn all(self) -> Vec<Metric> {
        self.0
    }
}
