//! Families of metrics as text, in either of the two formats that Prometheus reads: its own (0.0.4) and OpenMetrics 1.0.
//!
//! Not by a library: those for Rust write one of the formats, from registers that live as long as the process. Here each
//! text is made of one snapshot, and the same one in both formats.

use std::fmt::{Display, Write as _};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' own, 0.0.4: what node_exporter's textfiles are in.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Prometheus, Self::OpenMetrics];

    /// The media type of such a text.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What the numbers of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows; its name is written without the `_total` that its samples have.
    Counter,
    /// 1, with labels that say something; its name is written without the `_info` that its sample has.
    Info,
}

impl Kind {
    /// What the names of samples end in.
    fn suffix(self) -> &'static str {
        match self {
            Self::Gauge => "",
            Self::Counter => "_total",
            Self::Info => "_info",
        }
    }

    /// Prometheus' own format knows fewer.
    fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Gauge, _) | (Self::Info, Format::Prometheus) => "gauge",
            (Self::Counter, _) => "counter",
            (Self::Info, Format::OpenMetrics) => "info",
        }
    }
}

/// A text in the making.
#[derive(Debug)]
pub(super) struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, kind: Kind, name: &'static str, help: &str) -> Family<'_> {
        // In Prometheus' own format what follows TYPE is the samples' name.
        let of_family = if self.format == Format::Prometheus { kind.suffix() } else { "" };
        let kind_name = kind.name(self.format);
        self.push(format_args!(
            "# HELP {name}{of_family} {}\n",
            Escaped(help, self.format == Format::OpenMetrics)
        ));
        self.push(format_args!("# TYPE {name}{of_family} {kind_name}\n"));
        if self.format == Format::OpenMetrics
            && let Some(unit) = ["seconds", "bytes"].iter().find(|unit| name.ends_with(*unit))
        {
            self.push(format_args!("# UNIT {name} {unit}\n"));
        }
        Family { name, suffix: kind.suffix(), exposition: self }
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a string takes everything");
    }
}

/// A family whose samples are being written.
pub(super) struct Family<'a> {
    name: &'static str,
    suffix: &'static str,
    exposition: &'a mut Exposition,
}

impl Family<'_> {
    /// One sample. Each set of labels may come once.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let Self { name, suffix, .. } = *self;
        self.exposition.push(format_args!("{name}{suffix}"));
        for (number, (label, text)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            self.exposition.push(format_args!("{before}{label}=\"{}\"", Escaped(text, true)));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.exposition.push(format_args!("{end} {value}\n"));
        self
    }

    /// One sample, or none where the number can't be known here: no number is better than a wrong one.
    pub(super) fn known(
        &mut self,
        labels: &[(&str, &str)],
        value: Option<impl Display>,
    ) -> &mut Self {
        if let Some(value) = value {
            self.sample(labels, value);
        }
        self
    }
}

/// Text as both formats want it; in label values, and in all of OpenMetrics, quotes are escaped too.
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
    use super::*;

    fn text(format: Format) -> String {
        let mut exposition = Exposition::new(format);
        exposition
            .family(Kind::Counter, "t_run_seconds", "Says \"how\\long\".")
            .sample(&[("program", "a\"b\\c\nd"), ("cpu", "0")], 1.5)
            .known(&[("program", "unknown")], None::<u64>);
        exposition.family(Kind::Info, "t_build", "What.").sample(&[("version", "1")], 1);
        exposition.family(Kind::Gauge, "t_sockets", "How many.").sample(&[], -3);
        exposition.finish()
    }

    #[test]
    fn prometheus_text_has_the_samples_names_and_only_its_own_types() {
        assert_eq!(
            text(Format::Prometheus),
            concat!(
                "# HELP t_run_seconds_total Says \"how\\\\long\".\n",
                "# TYPE t_run_seconds_total counter\n",
                "t_run_seconds_total{program=\"a\\\"b\\\\c\\nd\",cpu=\"0\"} 1.5\n",
                "# HELP t_build_info What.\n# TYPE t_build_info gauge\nt_build_info{version=\"1\"} 1\n",
                "# HELP t_sockets How many.\n# TYPE t_sockets gauge\nt_sockets -3\n",
            )
        );
    }

    #[test]
    fn openmetrics_has_the_families_names_units_and_an_end() {
        assert_eq!(
            text(Format::OpenMetrics),
            concat!(
                "# HELP t_run_seconds Says \\\"how\\\\long\\\".\n",
                "# TYPE t_run_seconds counter\n# UNIT t_run_seconds seconds\n",
                "t_run_seconds_total{program=\"a\\\"b\\\\c\\nd\",cpu=\"0\"} 1.5\n",
                "# HELP t_build What.\n# TYPE t_build info\nt_build_info{version=\"1\"} 1\n",
                "# HELP t_sockets How many.\n# TYPE t_sockets gauge\nt_sockets -3\n",
                "# EOF\n",
            )
        );
    }
}
