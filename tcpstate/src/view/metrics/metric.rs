//! Metrics, independent of any format.

use std::fmt::Display;

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that goes up and down.
    Gauge,
    /// A number that only grows. The name of the metric is written without the suffix `_total` of
    /// its samples.
    Counter,
    /// Durations by bucket. All its numbers only grow.
    Histogram,
    /// The number 1 with labels that describe the program. The name of the metric is written
    /// without the suffix `_info` of its sample.
    Info,
}

/// A label: its name and its value.
pub type Label = (&'static str, String);

/// Samples of one kind and one name, which differ by their labels.
#[derive(Clone, Debug)]
pub struct Metric {
    /// The kind of the metric.
    pub kind: Kind,
    /// The name, including the unit.
    pub name: &'static str,
    /// The description for people.
    pub help: &'static str,
    /// The samples. Each set of labels occurs once.
    pub samples: Vec<(Vec<Label>, Value)>,
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A non-negative integer.
    Count(u64),
    /// An integer that may be negative.
    Balance(i64),
    /// Any other number.
    Float(f64),
    /// The buckets, the count and the sum of a histogram.
    Distribution(Distribution),
}

/// Durations by bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The end of each bucket in seconds, and the number of durations up to that end.
    pub buckets: Vec<(f64, u64)>,
    /// The number of durations.
    pub count: u64,
    /// The sum of the durations in seconds.
    pub sum: f64,
}

impl Value {
    /// The value, if it is an integer.
    #[must_use]
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Count(count) => i64::try_from(*count).ok(),
            Self::Balance(balance) => Some(*balance),
            Self::Float(_) | Self::Distribution(_) => None,
        }
    }

    /// The value, if it is a single number.
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
    /// The unit in the suffix of the name, if there is one.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.ends_with(unit))
    }

    /// Adds a sample. Each set of labels may be added once.
    pub(super) fn sample(
        &mut self,
        labels: &[(&'static str, &str)],
        value: impl Into<Value>,
    ) -> &mut Self {
        let labels = labels.iter().map(|&(label, text)| (label, text.to_owned())).collect();
        self.samples.push((labels, value.into()));
        self
    }

    /// Adds a sample if its number is known. A missing sample is better than a wrong number.
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
}

/// Metrics that are being collected.
#[derive(Debug, Default)]
pub(super) struct Metrics(Vec<Metric>);

impl Metrics {
    /// Starts a metric. Its samples are added next.
    pub(super) fn metric(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
    ) -> &mut Metric {
        self.0.push(Metric { kind, name, help, samples: Vec::new() });
        self.0.last_mut().expect("it was put there")
    }

    /// All metrics in the order in which they were added.
    pub(super) fn all(self) -> Vec<Metric> {
        self.0
    }
}
