//! Metrics as such, whatever they are told in.

use std::fmt::Display;

/// What the numbers of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows; its name is written without the `_total` that its samples have.
    Counter,
    /// Durations by bucket; all its numbers only grow.
    Histogram,
    /// 1, with labels that say something; its name is written without the `_info` that its sample has.
    Info,
}

/// A label: its name, and what it says.
pub type Label = (&'static str, String);

/// Samples of one kind and one name, which differ by their labels.
#[derive(Clone, Debug)]
pub struct Metric {
    /// What the numbers are.
    pub kind: Kind,
    /// What they are called, unit included.
    pub name: &'static str,
    /// What they are, for people.
    pub help: &'static str,
    /// The numbers. Each set of labels comes once.
    pub samples: Vec<(Vec<Label>, Value)>,
}

/// A sample's number.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole one.
    Count(u64),
    /// A whole one that may be negative.
    Balance(i64),
    /// Any other.
    Float(f64),
    /// As many as a histogram has.
    Distribution(Distribution),
}

/// Durations by bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The end of each bucket in seconds, and how many durations there are up to it.
    pub buckets: Vec<(f64, u64)>,
    /// How many there are.
    pub count: u64,
    /// All of them together, in seconds.
    pub sum: f64,
}

impl Value {
    /// The number, if it is a whole one.
    #[must_use]
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Count(count) => i64::try_from(*count).ok(),
            Self::Balance(balance) => Some(*balance),
            Self::Float(_) | Self::Distribution(_) => None,
        }
    }

    /// The number, if it is one.
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
    /// The unit that its name ends in, if it has one.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.ends_with(unit))
    }

    /// One sample. Each set of labels may come once.
    pub(super) fn sample(
        &mut self,
        labels: &[(&'static str, &str)],
        value: impl Into<Value>,
    ) -> &mut Self {
        let labels = labels.iter().map(|&(label, text)| (label, text.to_owned())).collect();
        self.samples.push((labels, value.into()));
        self
    }

    /// One sample, or none where the number can't be known here: no number is better than a wrong one.
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

/// Metrics in the making.
#[derive(Debug, Default)]
pub(super) struct Metrics(Vec<Metric>);

impl Metrics {
    /// Begins one; its samples follow.
    pub(super) fn metric(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
    ) -> &mut Metric {
        self.0.push(Metric { kind, name, help, samples: Vec::new() });
        self.0.last_mut().expect("it was put there")
    }

    /// All of them, in their order.
    pub(super) fn all(self) -> Vec<Metric> {
        self.0
    }
}
