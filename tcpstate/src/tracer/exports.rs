//! The part of the tracer that only exporters need: series by owner, and lists of sockets.

use std::time::{Duration, Instant};

use super::Tracer;
use crate::{
    probe::Error,
    report::{FailedConnects, Key, KeySeries, ListenDrops, LocalPorts},
    source::survey::{Due, Survey},
};

/// The maximum time between two readings of the counters by owner. Owners that have gone give their
/// numbers back only at a reading.
const READING_INTERVAL: Duration = Duration::from_secs(5);

/// The state of the tracer that only exporters need.
pub(super) struct Exports {
    /// The time of the last reading of the counters by owner.
    last_owners: Instant,
    /// The numbers that only lists of sockets show, if an exporter needs them.
    survey: Option<Survey>,
    /// The failed connects before the start.
    failed_before: Option<FailedConnects>,
}

impl Exports {
    pub(super) fn new(now: Instant, failed_before: Option<FailedConnects>) -> Self {
        Self { last_owners: now, survey: None, failed_before }
    }

    pub(super) fn owners_read(&mut self, now: Instant) {
        self.last_owners = now;
    }
}

impl Tracer {
    /// Starts to keep a series for each value of each key, but for at most `max` values of a key.
    pub fn keep_series(&mut self, by: &[Key], max: usize) {
        self.aggregator.keep_series(by, max);
    }

    /// Returns the series at the last reading of the counters by owner.
    #[must_use]
    pub fn series(&self) -> Vec<KeySeries> {
        self.aggregator.series()
    }

    /// Reads the counters by owner if they were not read for five seconds, and gives the numbers of
    /// owners that have gone to new owners.
    pub fn follow_owners(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if now.saturating_duration_since(self.exports.last_owners) < READING_INTERVAL {
            return Ok(());
        }
        self.exports.owners_read(now);
        if let Some(reading) = self.live.read_owners()? {
            self.aggregator.update_series(&reading, None, now);
            self.live.recycle_owners()?;
        }
        Ok(())
    }

    /// Starts to list sockets for the numbers that no event shows. At most `max` ports of listeners
    /// have a number of their own.
    pub fn begin_survey(&mut self, max: usize) {
        self.exports.survey = Some(Survey::new(max, Instant::now()));
        self.look_at_sockets(false);
    }

    /// Makes the lists that are due. If the sockets cannot be listed, the numbers do not change.
    /// `is_asked` tells whether an answer to an exporter needs the numbers.
    pub fn look_at_sockets(&mut self, is_asked: bool) {
        let now = Instant::now();
        let audits = self.aggregator.checks(now);
        let Some(survey) = &mut self.exports.survey else { return };
        let due = survey.due(audits, now, is_asked);
        if due == (Due { drops: false, ports: false }) {
            return;
        }
        if let Ok((list, cost)) = self.live.survey(due) {
            survey.take(list, audits, cost, Instant::now());
        }
    }

    /// Returns the drops of listeners at the last list, if they are known.
    #[must_use]
    pub fn listen_drops(&self) -> Option<&ListenDrops> {
        self.exports.survey.as_ref()?.drops()
    }

    /// Returns the local ports at the last audit, if they are known.
    #[must_use]
    pub fn local_ports(&self) -> Option<LocalPorts> {
        self.exports.survey.as_ref()?.ports()
    }

    /// Returns the failed connects since the start, if they are counted.
    pub fn failed_connects(&self) -> Result<Option<FailedConnects>, Error> {
        let before = self.exports.failed_before.unwrap_or_default();
        Ok(self.live.failed_connects()?.map(|now| now.since(&before)))
    }
}
