//! Histograms for spreadsheets and scripts: one row for each histogram. An empty field means that
//! the value is unknown or that the column does not apply.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::{Labels, Section, by_label, chosen, group_text, is_mostly_unknown};
use crate::{
    report::{Histogram, Report},
    text::cell,
    view::{View, number::rfc3339},
};

/// Writes comma-separated values.
#[derive(Clone, Debug)]
pub struct HistCsv {
    sections: Vec<Section>,
}

/// A row of the CSV output. The names of the fields are the column names.
#[derive(Serialize)]
struct Row<'a> {
    time: &'a str,
    elapsed_seconds: f64,
    interval_seconds: f64,
    window: &'a str,
    of: &'a str,
    state: Option<&'a str>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    sockets: Option<&'a str>,
    side: Option<&'a str>,
    by: Option<&'a str>,
    group: Option<String>,
    count: u64,
    unknown: u64,
    sum: f64,
    mean: Option<f64>,
    min: Option<f64>,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

const HEADER: [&str; 21] = [
    "time",
    "elapsed_seconds",
    "interval_seconds",
    "window",
    "of",
    "state",
    "from",
    "to",
    "sockets",
    "side",
    "by",
    "group",
    "count",
    "unknown",
    "sum",
    "mean",
    "min",
    "p50",
    "p90",
    "p99",
    "max",
];

impl HistCsv {
    /// Creates a view that shows the given sections.
    #[must_use]
    pub fn new(sections: Vec<Section>) -> Self {
        Self { sections }
    }
}

impl View for HistCsv {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        let (snapshot, window) = match report {
            Report::Start(_) => {
                writer.write_record(HEADER)?;
                return writer.flush();
            }
            Report::Snapshot(snapshot) => (snapshot, "interval"),
            Report::End(end) => (end, "total"),
        };
        let Some(histograms) = &snapshot.histograms else { return Ok(()) };
        let time = rfc3339(snapshot.time);
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        for histogram in chosen(&histograms.all, &self.sections) {
            let Histogram { of, group, tally } = histogram;
            let Labels { of, state, from, to, sockets, side } = Labels::of(*of);
            let percentile = |percent| {
                seconds(histogram.percentile(percent).filter(|_| !is_mostly_unknown(tally)))
            };
            writer.serialize(Row {
                time: &time,
                elapsed_seconds: snapshot.elapsed.as_secs_f64(),
                interval_seconds: snapshot.interval.as_secs_f64(),
                window,
                of,
                state,
                from,
                to,
                sockets,
                side,
                by: histograms.by.map(by_label),
                group: group.as_ref().and_then(group_text).map(cell),
                count: tally.count(),
                unknown: tally.unknown,
                sum: tally.sum.as_secs_f64(),
                mean: seconds(histogram.mean()),
                min: seconds(tally.shortest),
                p50: percentile(50),
                p90: percentile(90),
                p99: percentile(99),
                max: seconds(tally.longest),
            })?;
        }
        writer.flush()
    }
}
