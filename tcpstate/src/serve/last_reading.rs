//! A reading of all metrics, and its text in each format. Answers share the text, so that many
//! clients that read slowly do not need much memory.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use hyper::body::Bytes;

use crate::view::metrics::{Format, Metric, end, reading_age, text};

/// All metrics of one reading, and the time of the reading.
#[derive(Debug)]
pub struct LastReading {
    metrics: Vec<Metric>,
    at: Instant,
    texts: [OnceLock<Bytes>; Format::ALL.len()],
}

impl LastReading {
    pub(super) fn new(metrics: Vec<Metric>, at: Instant) -> Self {
        Self { metrics, at, texts: Default::default() }
    }

    /// Returns the time since the reading.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }

    /// Returns the part of the text that is the same in every answer. The first call for a format
    /// writes the text.
    pub(super) fn prepare(&self, format: Format) -> &Bytes {
        let index = match format {
            Format::Prometheus => 0,
            Format::OpenMetrics => 1,
        };
        self.texts[index].get_or_init(|| text(&self.metrics, format).into())
    }

    /// Returns the text of the reading as two parts. The first part is the same in every answer.
    /// The second part contains the age of the reading now.
    #[must_use]
    pub fn text(&self, format: Format) -> [Bytes; 2] {
        let shared = self.prepare(format);
        let age = text(&[reading_age(self.age())], format) + end(format);
        [shared.clone(), age.into()]
    }

    /// Returns all metrics, including the age of the reading now.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let mut all = self.metrics.clone();
        all.push(reading_age(self.age()));
        all
    }
}
