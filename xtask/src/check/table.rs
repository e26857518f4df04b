//! Reads the tables of allowed edges between modules and between crates in `docs/ARCHITECTURE.md`.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, bail};

/// The document with the tables of allowed edges.
pub(super) const DOCUMENT: &str = "docs/ARCHITECTURE.md";
/// The heading of the section that contains the tables.
const SECTION: &str = "## Allowed edges";

/// One table of allowed edges. The lowest layer is the first row.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
}

/// A row of a table: the allowed edges of one module or crate.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) may_use: Vec<String>,
    /// The line number of the row in the document. The first line has number 1.
    pub(super) line: usize,
}

impl Table {
    /// Reads the table whose first column has this title.
    pub(super) fn read(root: &Path, title: &str) -> Result<Self> {
        let text =
            fs::read_to_string(root.join(DOCUMENT)).with_context(|| format!("read {DOCUMENT}"))?;
        Self::parse(&text, title)
    }

    pub(super) fn parse(text: &str, title: &str) -> Result<Self> {
        let section = text
            .lines()
            .enumerate()
            .skip_while(|(_, line)| *line != SECTION)
            .skip(1)
            .take_while(|(_, line)| !line.starts_with("## "));
        let header = format!("| {title} | may use |");
        let lines = section
            .skip_while(|(_, line)| *line != header)
            // Skip the table's header and the separator line.
            .skip(2)
            .take_while(|(_, line)| line.starts_with('|'));
        let mut rows: Vec<Row> = Vec::new();
        for (index, line) in lines {
            let row = Row::parse(line, index + 1)?;
            match rows.last_mut() {
                // Table lines have a limited width, so a row without a name continues the previous
                // row.
                Some(above) if row.name.is_empty() => above.may_use.extend(row.may_use),
                _ => rows.push(row),
            }
        }
        if rows.is_empty() {
            bail!("{DOCUMENT}: no table `{header}` in the section `{SECTION}`");
        }
        Ok(Self { rows })
    }

    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Returns errors in the table itself. `there` lists the existing modules or crates.
    pub(super) fn faults(&self, there: &BTreeSet<String>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut above: BTreeSet<&str> = BTreeSet::new();
        for row in &self.rows {
            let mut fault = |text: String| faults.push(format!("{DOCUMENT}:{}: {text}", row.line));
            if !there.contains(&row.name) {
                fault(format!("a row for `{}`, which does not exist", row.name));
            }
            if above.contains(row.name.as_str()) {
                fault(format!("a second row for `{}`", row.name));
            }
            for entry in row.may_use.iter().filter(|entry| !above.contains(entry.as_str())) {
                fault(format!(
                    "`{}` may use `{entry}`, which has no row above it; a row may use only rows above it",
                    row.name
                ));
            }
            above.insert(&row.name);
        }
        let missing = there.iter().filter(|name| self.row(name).is_none());
        faults.extend(missing.map(|name| format!("{DOCUMENT}: no row for `{name}`")));
        faults
    }

    /// Returns the allowed edges that do not occur in the code. `used` lists the edges that the
    /// code contains.
    pub(super) fn unused(&self, used: &BTreeSet<(String, String)>) -> Vec<String> {
        let entries = self.rows.iter().flat_map(|row| row.may_use.iter().map(move |to| (row, to)));
        entries
            .filter(|(row, to)| !used.contains(&(row.name.clone(), (*to).clone())))
            .map(|(row, to)| {
                let Row { name, line, .. } = row;
                format!("{DOCUMENT}:{line}: `{name}` may use `{to}`, but does not")
            })
            .collect()
    }
}

impl Row {
    fn parse(text: &str, line: usize) -> Result<Self> {
        let cells: Vec<&str> = text.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [first, second] = cells[..] else {
            bail!("{DOCUMENT}:{line}: a row of two cells is expected: {text}");
        };
        let may_use = quoted(second);
        if may_use.is_empty() && second != "-" {
            bail!("{DOCUMENT}:{line}: names in backticks are expected, or a dash: {second}");
        }
        let name = quoted(first).into_iter().next();
        let name = if first.is_empty() { Some(String::new()) } else { name };
        let name = name.with_context(|| format!("{DOCUMENT}:{line}: no name in backticks"))?;
        Ok(Self { name, may_use, line })
    }
}

/// Returns the texts in backticks in a table cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
