//! Rows that benchmarks print, an object a line (`tests/src/rows.rs`).

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::sections::Section;

/// All that was measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Rows(Vec<Row>);

/// Of one thing.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Row {
    pub(super) section: String,
    /// What the section varies.
    pub(super) at: Option<u64>,
    pub(super) what: String,
    #[serde(default)]
    pub(super) figures: Vec<Figure>,
    /// Why there are no figures.
    pub(super) absent: Option<String>,
}

/// One number of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Figure {
    /// With its unit.
    pub(super) name: String,
    pub(super) median: f64,
    /// How far apart the least and the most are.
    pub(super) spread: f64,
    /// How many times the same figure of the section's base.
    pub(super) ratio: Option<f64>,
}

impl Rows {
    /// Of lines of JSON.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let row = |line| serde_json::from_str(line).with_context(|| format!("row {line}"));
        text.lines().map(row).collect::<Result<_>>().map(Self)
    }

    /// With those of another benchmark.
    pub(super) fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether anything of it was measured.
    pub(super) fn has(&self, section: &Section) -> bool {
        self.of(section.id).next().is_some()
    }

    /// Of a section, in order.
    pub(super) fn of<'a>(&'a self, section: &str) -> impl Iterator<Item = &'a Row> {
        self.0.iter().filter(move |row| row.section == section)
    }

    /// Every `figure` of a thing, with what the section varies.
    pub(super) fn all<'a>(
        &'a self,
        [section, what, figure]: [&str; 3],
    ) -> impl Iterator<Item = (u64, &'a Figure)> {
        let rows = self.of(section).filter(move |row| row.what == what);
        rows.filter_map(move |row| Some((row.at.unwrap_or_default(), row.figure(figure)?)))
    }

    /// The one where the section's number is this.
    pub(super) fn at(&self, at: u64, path: [&str; 3]) -> Option<&Figure> {
        self.all(path).find(|(here, _)| *here == at).map(|(_, figure)| figure)
    }
}

impl Row {
    /// One of its figures.
    pub(super) fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}
