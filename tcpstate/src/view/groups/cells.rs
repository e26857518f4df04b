//! The columns of a table that name a group.

use unicode_width::UnicodeWidthStr as _;

use super::{Row, values};
use crate::{
    report::{Key, Process, key::Value},
    text::escaped,
    view::{
        line::{end_of, shortened},
        number::{UNKNOWN, counted},
        values::short_text,
    },
};

/// The number of columns of text that are free for numbers in each table: two columns of numbers.
const LEAST_FOR_NUMBERS: usize = 18;
/// The maximum width of a column. The names in a recording can have any length.
const WIDEST: usize = 512;
/// The number of digits of a container id that `docker ps` shows.
const CONTAINER_DIGITS: usize = 12;

/// The names of all rows of a table.
pub(super) struct Names {
    columns: Vec<Column>,
    /// The cells of each group, or the label of a row that is no group.
    rows: Vec<Result<Vec<String>, String>>,
}

/// A column with values of a key.
#[derive(Clone, Copy)]
struct Column {
    heading: &'static str,
    /// The width of the widest cell.
    width: usize,
    /// The width at the beginning. Short names in a wide column keep the other columns in their
    /// places from one frame to the next.
    usual: usize,
    /// The width to which long values are shortened if the numbers need the space, or `None` if a
    /// part of a value is useless.
    least: Option<usize>,
    /// Whether the end of a long value is shown, as for paths, and not its beginning.
    shows_end: bool,
}

impl Column {
    const fn new(heading: &'static str, usual: usize, least: Option<usize>) -> Self {
        Self { heading, width: 0, usual, least, shows_end: false }
    }
}

/// Returns the columns of a key.
fn columns(key: Key) -> Vec<Column> {
    let one = |heading, usual, least| vec![Column::new(heading, usual, least)];
    match key {
        Key::Process => {
            vec![Column::new("PROCESS", 12, Some(12)), Column::new("PID", 6, None)]
        }
        Key::Comm => one("COMM", 12, Some(12)),
        Key::User => one("USER", 6, None),
        Key::Cgroup => {
            vec![Column { shows_end: true, ..Column::new("CGROUP", 12, Some(36)) }]
        }
        Key::Unit => one("UNIT", 12, Some(20)),
        Key::Container => one("CONTAINER", CONTAINER_DIGITS, Some(20)),
        Key::Netns => one("NETNS", 10, Some(20)),
        Key::LocalPort => one("LOCAL-PORT", 0, None),
        Key::Remote => one("REMOTE", 15, None),
        Key::RemotePort => one("REMOTE-PORT", 0, None),
        Key::State => one("STATE", 0, None),
    }
}

/// The column of likely owners.
const LIKELY_OWNER: Column = Column::new("LIKELY OWNER", 0, Some(12));

/// Appends the cells of a value.
fn push_cells(key: Key, value: &Value, cells: &mut Vec<String>) {
    let end = cells.len() + columns(key).len();
    match value {
        Value::Process(process) => {
            cells.extend([escaped(&process.name), process.pid.to_string()]);
        }
        value => cells.push(short_text(value)),
    }
    // A recording can have a value of another kind than its key.
    cells.resize(end, UNKNOWN.to_owned());
}

/// Returns the name of a row that is no group.
fn label(row: &Row<'_>) -> String {
    let label = row.kind.label();
    match row.hidden as u64 {
        0 => label.to_owned(),
        hidden => format!("{label} ({})", counted(hidden, "group")),
    }
}

fn owner(process: &Process) -> String {
    escaped(format!("{}[{}]", process.name, process.pid))
}

impl Names {
    pub(super) fn of(by: &[Key], rows: &[Row<'_>]) -> Self {
        let mut columns: Vec<Column> = by.iter().flat_map(|&key| columns(key)).collect();
        if by.contains(&Key::Remote) {
            // A short heading leaves space for an IPv6 address.
            let ports = columns.iter_mut().filter(|column| column.heading == "REMOTE-PORT");
            ports.for_each(|column| column.heading = "PORT");
        }
        let has_owners = rows.iter().any(|row| row.likely_owner.is_some());
        if has_owners {
            columns.push(LIKELY_OWNER);
        }
        let cells = |row: &Row<'_>| {
            let values = values(row.kind).ok_or_else(|| label(row))?;
            let mut cells = Vec::new();
            for (&key, value) in by.iter().zip(values) {
                push_cells(key, value, &mut cells);
            }
            if has_owners {
                cells.push(row.likely_owner.map_or_else(|| UNKNOWN.to_owned(), owner));
            }
            cells.resize(columns.len(), UNKNOWN.to_owned());
            Ok(cells)
        };
        let rows: Vec<Result<Vec<String>, String>> = rows.iter().map(cells).collect();
        for (at, column) in columns.iter_mut().enumerate() {
            let cells = rows.iter().filter_map(|row| row.as_ref().ok()?.get(at));
            let widths = cells.map(|cell| cell.width());
            let widths = widths.chain([column.heading.width(), column.usual]);
            column.width = widths.max().unwrap_or(0).min(WIDEST);
        }
        Self { columns, rows }
    }

    /// Returns the widths of the columns in a table of `width` columns of text. Long names become
    /// shorter until `for_numbers` columns of text are free. Other values become shorter only if
    /// they do not fit into the table at all.
    pub(super) fn fit(&self, width: usize, for_numbers: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.width).collect();
        // The rows that are no groups need space too.
        if let Some(first) = widths.first_mut() {
            let labels = self.rows.iter().filter_map(|row| row.as_ref().err());
            let label = labels.map(|label| label.width()).max().unwrap_or(0);
            let rest: usize = self.columns.iter().skip(1).map(|column| column.width + 1).sum();
            *first = (*first).max(label.saturating_sub(rest));
        }
        let least = |at: usize| self.columns[at].least.unwrap_or(usize::MAX);
        shrink(&mut widths, width.saturating_sub(for_numbers), least);
        shrink(&mut widths, width.saturating_sub(LEAST_FOR_NUMBERS), |_| 1);
        widths
    }

    pub(super) fn heading(&self, widths: &[usize]) -> String {
        let headings = self.columns.iter().map(|column| column.heading.to_owned());
        self.joined(&headings.collect::<Vec<_>>(), widths)
    }

    /// Returns the name of a row, in the sum of the widths and of the gaps between the columns.
    pub(super) fn row(&self, at: usize, widths: &[usize]) -> String {
        match &self.rows[at] {
            Ok(cells) => self.joined(cells, widths),
            Err(label) => {
                let width = widths.iter().sum::<usize>() + widths.len().saturating_sub(1);
                padded(shortened(label, width), width)
            }
        }
    }

    fn joined(&self, cells: &[String], widths: &[usize]) -> String {
        let columns = self.columns.iter().zip(cells).zip(widths);
        let cells = columns.map(|((column, cell), &width)| {
            let cut = if column.shows_end { end_of } else { shortened };
            padded(cut(cell, width), width)
        });
        cells.collect::<Vec<_>>().join(" ")
    }
}

fn padded(text: String, width: usize) -> String {
    let fill = width.saturating_sub(text.width());
    text + &" ".repeat(fill)
}

/// Makes the widest columns narrower until all columns and their gaps fit into `room`. A column
/// does not become narrower than `least` of its index.
fn shrink(widths: &mut [usize], room: usize, least: impl Fn(usize) -> usize) {
    while widths.iter().map(|width| width + 1).sum::<usize>() > room {
        let candidates = (0..widths.len()).filter(|&at| widths[at] > least(at));
        let Some(widest) = candidates.max_by_key(|&at| widths[at]) else { return };
        widths[widest] -= 1;
    }
}
