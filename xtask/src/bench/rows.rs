//! Parses the rows that benchmarks print: one JSON object per line. `tests/src/rows.rs` prints the
//! rows.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::sections::Section;

/// All rows that one or several benchmarks printed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Rows(Vec<Row>);

/// A row: the measured figures of one tool or one operation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Row {
    pub(super) section: String,
    /// The value that the section of the benchmark varies, for example the number of sockets.
    pub(super) at: Option<u64>,
    pub(super) what: String,
    #[serde(default)]
    pub(super) figures: Vec<Figure>,
    /// The reason if the row has no figures, for example a missing program.
    pub(super) absent: Option<String>,
}

/// One measured figure of a row, for example a time in nanoseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Figure {
    /// The name of the figure, including its unit.
    pub(super) name: String,
    pub(super) median: f64,
    /// The largest measured value minus the smallest.
    pub(super) spread: f64,
    /// The median divided by the median of the section's base row.
    pub(super) ratio: Option<f64>,
}

impl Rows {
    /// Parses lines that each contain one row as JSON.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let row = |line| serde_json::from_str(line).with_context(|| format!("row {line}"));
        text.lines().map(row).collect::<Result<_>>().map(Self)
    }

    /// Appends the rows that another benchmark printed.
    pub(super) fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether any row belongs to this section.
    pub(super) fn has(&self, section: &Section) -> bool {
        self.of(section.id).next().is_some()
    }

    /// Returns the rows of a section, in the order in which they were printed.
    pub(super) fn of<'a>(&'a self, section: &str) -> impl Iterator<Item = &'a Row> {
        self.0.iter().filter(move |row| row.section == section)
    }

    /// For each matching row, returns the value that the section varies and the named figure.
    pub(super) fn all<'a>(
        &'a self,
        [section, what, figure]: [&str; 3],
    ) -> impl Iterator<Item = (u64, &'a Figure)> {
        let rows = self.of(section).filter(move |row| row.what == what);
        rows.filter_map(move |row| Some((row.at.unwrap_or_default(), row.figure(figure)?)))
    }

    /// Returns the figure that was measured when the varied value was `at`.
    pub(super) fn at(&self, at: u64, path: [&str; 3]) -> Option<&Figure> {
        self.all(path).find(|(here, _)| *here == at).map(|(_, figure)| figure)
    }
}

impl Row {
    /// Returns the row's figure with this name.
    pub(super) fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}
