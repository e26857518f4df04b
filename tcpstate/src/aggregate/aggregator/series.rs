//! The series of counters by owner, for exporters.

use std::time::Instant;

use super::{Aggregator, AllSeries};
use crate::{
    report::{Gauge, Key, KeySeries},
    source::OwnerReading,
};

impl Aggregator {
    /// Starts to keep a series for each value of each key, but for at most `max` values of a key.
    pub fn keep_series(&mut self, by: &[Key], max: usize) {
        self.series = Some(AllSeries::new(by, max));
    }

    /// Adds the events since the last reading to the series. `gauges` are the numbers of all
    /// sockets in each state, if they are known.
    pub fn update_series(
        &mut self,
        reading: &OwnerReading,
        gauges: Option<&[Gauge; 10]>,
        now: Instant,
    ) {
        if let Some(series) = &mut self.series {
            series.update(reading, gauges, now);
        }
    }

    /// Returns the number of audits and scans.
    #[must_use]
    pub fn checks(&self, now: Instant) -> u64 {
        self.audits.done(now).0 + self.reconciles
    }

    /// Returns the series at the last reading. The list is empty unless series are kept.
    #[must_use]
    pub fn series(&self) -> Vec<KeySeries> {
        self.series.as_ref().map(AllSeries::show).unwrap_or_default()
    }
}
