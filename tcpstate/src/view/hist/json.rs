//! Histograms for programs: one JSON line for each histogram, before the lines of `trace`.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Labels, Section, by_label, chosen, group_text, is_mostly_unknown};
use crate::{
    report::{Bucket, Group, Histogram, Histograms, Report, Snapshot},
    view::{
        Json, View,
        json::times,
        json_lines::VERSION,
        json_lines::{MAX_LINE, length, write_line},
    },
};

/// Writes JSON lines.
#[derive(Clone, Debug)]
pub struct HistJson {
    sections: Vec<Section>,
}

impl HistJson {
    /// Creates a view that shows the given sections.
    #[must_use]
    pub fn new(sections: Vec<Section>) -> Self {
        Self { sections }
    }
}

impl View for HistJson {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        if let Report::Snapshot(snapshot) | Report::End(snapshot) = report
            && let Some(histograms) = &snapshot.histograms
        {
            let window = if matches!(report, Report::End(_)) { "total" } else { "interval" };
            for histogram in chosen(&histograms.all, &self.sections) {
                let mut line = line(histogram, histograms, window, snapshot);
                shorten(&mut line)?;
                write_line(&line, out)?;
            }
        }
        // The JSON line of `trace` contains the counts of transitions.
        Json::default().show(report, out)
    }
}

/// Leaves out every second bucket until the line is short enough. The counts are cumulative, so the
/// other counts stay right.
fn shorten(line: &mut Value) -> io::Result<()> {
    while length(line)? > MAX_LINE {
        let Some(buckets) = line["buckets"].as_array_mut().filter(|buckets| buckets.len() > 1)
        else {
            return Ok(());
        };
        // The last bucket has all durations, so it stays.
        let last = buckets.len() - 1;
        let mut at = 0..=last;
        buckets.retain(|_| at.next().is_some_and(|at| (last - at).is_multiple_of(2)));
    }
    Ok(())
}

fn line(
    histogram: &Histogram,
    Histograms { by, is_filtered, .. }: &Histograms,
    window: &str,
    snapshot: &Snapshot,
) -> Value {
    let labels = Labels::of(histogram.of);
    let (time, time_unix) = times(snapshot.time);
    let mut line = json!({
        "type": "histogram",
        "version": VERSION,
        "time": time,
        "time_unix": time_unix,
        "elapsed_seconds": snapshot.elapsed.as_secs_f64(),
        "interval_seconds": snapshot.interval.as_secs_f64(),
        "window": window,
        "filtered": is_filtered,
        "of": labels.of,
    });
    for (key, value) in [
        ("state", labels.state),
        ("from", labels.from),
        ("to", labels.to),
        ("sockets", labels.sockets),
        ("side", labels.side),
    ] {
        if let Some(value) = value {
            line[key] = json!(value);
        }
    }
    if let (Some(by), Some(group)) = (by, &histogram.group) {
        let group = match group {
            Group::Port(port) => json!(port),
            other => json!(group_text(other)),
        };
        line["by"] = json!({ by_label(*by): group });
    }
    let tally = &histogram.tally;
    let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64());
    line["unit"] = json!("seconds");
    line["buckets"] = buckets(histogram);
    line["count"] = json!(tally.count());
    line["unknown"] = json!(tally.unknown);
    line["sum"] = json!(tally.sum.as_secs_f64());
    line["mean"] = json!(seconds(histogram.mean()));
    line["min"] = json!(seconds(tally.shortest));
    for (key, percent) in [("p50", 50), ("p90", 90), ("p99", 99)] {
        let percentile = histogram.percentile(percent).filter(|_| !is_mostly_unknown(tally));
        line[key] = json!(seconds(percentile));
    }
    line["max"] = json!(seconds(tally.longest));
    line
}

/// Returns the buckets with cumulative counts. Empty buckets are left out, because the cumulative
/// count of an empty bucket equals the count of the bucket before.
fn buckets(histogram: &Histogram) -> Value {
    let mut sum = 0;
    let mut buckets: Vec<Value> = Vec::new();
    for Bucket { up_to, count, .. } in histogram.buckets() {
        sum += count;
        if let Some(end) = up_to {
            buckets.push(json!({ "le": end.as_secs_f64(), "count": sum }));
        }
    }
    buckets.push(json!({ "le": "+Inf", "count": sum }));
    Value::Array(buckets)
}
