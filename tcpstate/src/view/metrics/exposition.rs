//! Writes metrics in the two text formats that Prometheus reads: the Prometheus text format (0.0.4)
//! and OpenMetrics 1.0.
//!
//! No existing Rust library is suitable. Each library writes only one of the two formats, and
//! stores each metric in a registry until the process ends. The functions of this module write one
//! snapshot in the requested format.

use std::fmt::{Arguments, Display, Write as _};

use super::metric::{Distribution, Kind, Label, Metric, Value};

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The Prometheus text format 0.0.4. The text files for node_exporter also use the Prometheus
    /// text format.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The two text formats that Prometheus reads.
    pub const ALL: [Self; 2] = [Self::Prometheus, Self::OpenMetrics];

    /// Returns the media type of the format.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Kind {
    /// Returns the suffix of the sample names of this kind.
    fn suffix(self) -> &'static str {
        match self {
            Self::Gauge | Self::Histogram => "",
            Self::Counter => "_total",
            Self::Info => "_info",
        }
    }

    /// Returns the name that a text format gives to this kind of metric. The Prometheus text format
    /// has no type `info`.
    fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Gauge, _) | (Self::Info, Format::Prometheus) => "gauge",
            (Self::Counter, _) => "counter",
            (Self::Histogram, _) => "histogram",
            (Self::Info, Format::OpenMetrics) => "info",
        }
    }
}

/// Returns metrics as one text, without the end of the text. [`end`] returns the end.
#[must_use]
pub fn text(metrics: &[Metric], format: Format) -> String {
    let mut text = Text { format, text: String::new() };
    for metric in metrics {
        text.metric(metric);
    }
    text.text
}

/// Returns the line that marks the end of a text. Only OpenMetrics has such a line.
#[must_use]
pub fn end(format: Format) -> &'static str {
    match format {
        Format::Prometheus => "",
        Format::OpenMetrics => "# EOF\n",
    }
}

/// The text that has been written so far.
struct Text {
    format: Format,
    text: String,
}

impl Text {
    fn metric(&mut self, metric: &Metric) {
        let Metric { kind, name, help, samples } = metric;
        // In the Prometheus text format, the name after `# TYPE` includes the suffix of the
        // samples.
        let of_all = if self.format == Format::Prometheus { kind.suffix() } else { "" };
        let kind_name = kind.name(self.format);
        let help = Escaped(help, self.format == Format::OpenMetrics);
        self.push(format_args!("# HELP {name}{of_all} {help}\n"));
        self.push(format_args!("# TYPE {name}{of_all} {kind_name}\n"));
        if self.format == Format::OpenMetrics
            && let Some(unit) = metric.unit()
        {
            self.push(format_args!("# UNIT {name} {unit}\n"));
        }
        for (labels, value) in samples {
            match value {
                Value::Distribution(distribution) => self.distribution(name, labels, distribution),
                number => self.sample(name, kind.suffix(), labels, None, number),
            }
        }
    }

    fn distribution(&mut self, name: &str, labels: &[Label], distribution: &Distribution) {
        let Distribution { buckets, count, sum } = distribution;
        for (end, count) in buckets {
            self.sample(name, "_bucket", labels, Some(&end.to_string()), count);
        }
        self.sample(name, "_bucket", labels, Some("+Inf"), count);
        self.sample(name, "_sum", labels, None, sum);
        self.sample(name, "_count", labels, None, count);
    }

    /// Writes one sample. If the sample is a bucket, `end` is the upper bound of the bucket and
    /// becomes the label `le`.
    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[Label],
        end: Option<&str>,
        value: impl Display,
    ) {
        self.push(format_args!("{name}{suffix}"));
        let labels = labels.iter().map(|(label, text)| (*label, &**text));
        let labels = labels.chain(end.map(|end| ("le", end)));
        let mut is_first = true;
        for (label, text) in labels {
            let before = if is_first { '{' } else { ',' };
            self.push(format_args!("{before}{label}=\"{}\"", Escaped(text, true)));
            is_first = false;
        }
        let end = if is_first { "" } else { "}" };
        self.push(format_args!("{end} {value}\n"));
    }

    fn push(&mut self, text: Arguments<'_>) {
        self.text.write_fmt(text).expect("a string accepts any text");
    }
}

/// Displays a text and adds the escapes that the text format needs. The flag says whether to escape
/// quotes. The Prometheus text format escapes quotes only in label values. OpenMetrics escapes
/// quotes in all texts.
struct Escaped<'a>(&'a str, bool);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str(r"\\")?,
                '\n' => f.write_str(r"\n")?,
                '"' if self.1 => f.write_str("\\\"")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::metric::Metrics, *};

    fn written(format: Format) -> String {
        let mut all = Metrics::default();
        all.metric(Kind::Counter, "t_run_seconds", "Says \"how\\long\".")
            .sample(&[("program", "a\"b\\c\nd"), ("cpu", "0")], 1.5)
            .known(&[("program", "unknown")], None::<u64>);
        all.metric(Kind::Info, "t_build", "What.").sample(&[("version", "1")], 1_u64);
        all.metric(Kind::Gauge, "t_sockets", "How many.").sample(&[], -3_i64);
        let distribution = Distribution { buckets: vec![(0.5, 1), (4e-6, 3)], count: 4, sum: 2.25 };
        all.metric(Kind::Histogram, "t_life_seconds", "How long.")
            .sample(&[("side", "client")], distribution.clone())
            .sample(&[], distribution);
        text(&all.all(), format) + end(format)
    }

    #[test]
    fn unknown_values_are_not_numbers() {
        let mut all = Metrics::default();
        let gauge = all.metric(Kind::Gauge, "t_bound", "How many at most.");
        gauge.or_nan(&[("of", "a")], Some(3_u64)).or_nan(&[("of", "b")], None::<u64>);
        let text = text(&all.all(), Format::Prometheus);
        assert!(text.ends_with("t_bound{of=\"a\"} 3\nt_bound{of=\"b\"} NaN\n"), "{text}");
    }

    const LIFE: &str = "\
t_life_seconds_bucket{side=\"client\",le=\"0.5\"} 1
t_life_seconds_bucket{side=\"client\",le=\"0.000004\"} 3
t_life_seconds_bucket{side=\"client\",le=\"+Inf\"} 4
t_life_seconds_sum{side=\"client\"} 2.25
t_life_seconds_count{side=\"client\"} 4
t_life_seconds_bucket{le=\"0.5\"} 1
t_life_seconds_bucket{le=\"0.000004\"} 3
t_life_seconds_bucket{le=\"+Inf\"} 4
t_life_seconds_sum 2.25
t_life_seconds_count 4
";

    #[test]
    fn prometheus_text_has_the_samples_names_and_only_its_own_types() {
        assert_eq!(
            written(Format::Prometheus),
            [
                "# HELP t_run_seconds_total Says \"how\\\\long\".\n",
                "# TYPE t_run_seconds_total counter\n",
                "t_run_seconds_total{program=\"a\\\"b\\\\c\\nd\",cpu=\"0\"} 1.5\n",
                "# HELP t_build_info What.\n# TYPE t_build_info gauge\nt_build_info{version=\"1\"} 1\n",
                "# HELP t_sockets How many.\n# TYPE t_sockets gauge\nt_sockets -3\n",
                "# HELP t_life_seconds How long.\n# TYPE t_life_seconds histogram\n",
                LIFE,
            ]
            .concat()
        );
    }

    #[test]
    fn openmetrics_has_the_families_names_units_and_an_end() {
        assert_eq!(
            written(Format::OpenMetrics),
            [
                "# HELP t_run_seconds Says \\\"how\\\\long\\\".\n",
                "# TYPE t_run_seconds counter\n# UNIT t_run_seconds seconds\n",
                "t_run_seconds_total{program=\"a\\\"b\\\\c\\nd\",cpu=\"0\"} 1.5\n",
                "# HELP t_build What.\n# TYPE t_build info\nt_build_info{version=\"1\"} 1\n",
                "# HELP t_sockets How many.\n# TYPE t_sockets gauge\nt_sockets -3\n",
                "# HELP t_life_seconds How long.\n# TYPE t_life_seconds histogram\n",
                "# UNIT t_life_seconds seconds\n",
                LIFE,
                "# EOF\n",
            ]
            .concat()
        );
    }
}
