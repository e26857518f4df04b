//! Groups for people: aligned columns. The columns that fit into the width are chosen by their
//! importance.

use std::fmt::Write as _;

use tcpstate_common::State;

use super::{GroupOrder, Row, SortBy, Span, cells, rows, values};
use crate::{
    report::{Column, OwnerKind, Owners},
    view::{
        line::{Line, Tone, shortened},
        number::{counted, decimal, grouped, or_unknown, rate},
    },
};

/// The space for a table.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) struct Space {
    /// The number of columns of text.
    pub(in crate::view) width: usize,
    /// The maximum number of lines, or `None` if there is no limit.
    pub(in crate::view) height: Option<usize>,
}

/// A column of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Sockets(State),
    Count(Column),
}

/// All columns of numbers, in the order in which they are shown.
const NUMBERS: [Number; 18] = [
    Number::Sockets(State::TimeWait),
    Number::Sockets(State::Established),
    Number::Sockets(State::CloseWait),
    Number::Count(Column::TimeWaitEntries),
    Number::Count(Column::Opened),
    Number::Count(Column::Accepted),
    Number::Count(Column::ClosedFirst),
    Number::Count(Column::ClosedSecond),
    Number::Count(Column::Failed),
    Number::Count(Column::Reset),
    Number::Count(Column::Connected),
    Number::Sockets(State::Listen),
    Number::Sockets(State::SynSent),
    Number::Sockets(State::SynRecv),
    Number::Sockets(State::FinWait1),
    Number::Sockets(State::FinWait2),
    Number::Sockets(State::Closing),
    Number::Sockets(State::LastAck),
];

/// The most important columns, most important first. The other columns follow in the order of
/// [`NUMBERS`].
const IMPORTANT: [Number; 8] = [
    Number::Count(Column::TimeWaitEntries),
    Number::Sockets(State::TimeWait),
    Number::Count(Column::Opened),
    Number::Count(Column::Accepted),
    Number::Sockets(State::Established),
    Number::Count(Column::Failed),
    Number::Count(Column::ClosedFirst),
    Number::Sockets(State::CloseWait),
];

/// The number of columns of text that long names leave free for numbers: the columns of `IMPORTANT`
/// without the last column.
const FOR_NUMBERS: usize = 60;

impl Number {
    const fn of(sort: SortBy) -> Self {
        match sort {
            SortBy::Rate(column) => Self::Count(column),
            SortBy::Sockets(state) => Self::Sockets(state),
        }
    }

    const fn heading(self, span: Span) -> &'static str {
        match (self, span) {
            (Self::Sockets(State::Established), _) => "ESTAB",
            (Self::Sockets(state), _) => state.name(),
            (Self::Count(column), Span::Interval) => match column {
                Column::Opened => "OPENED/s",
                Column::Connected => "CONNECT/s",
                Column::Accepted => "ACCEPT/s",
                Column::ClosedFirst => "CLOSE1/s",
                Column::ClosedSecond => "CLOSE2/s",
                Column::TimeWaitEntries => "TW/s",
                Column::Failed => "FAIL/s",
                Column::Reset => "RESET/s",
            },
            (Self::Count(column), Span::Run) => match column {
                Column::Opened => "OPENED",
                Column::Connected => "CONNECTED",
                Column::Accepted => "ACCEPTED",
                Column::ClosedFirst => "CLOSED1",
                Column::ClosedSecond => "CLOSED2",
                Column::TimeWaitEntries => "NEW TW",
                Column::Failed => "FAILED",
                Column::Reset => "RESET",
            },
        }
    }

    /// Returns the number of a row, and whether the number is 0.
    fn cell(self, row: &Row<'_>, span: Span, seconds: f64) -> (String, bool) {
        match (self, span) {
            (Self::Sockets(state), _) => {
                let sockets = row.sockets_in(state);
                (or_unknown(sockets, grouped), sockets.unwrap_or(0) == 0)
            }
            (Self::Count(column), Span::Interval) => {
                let count = row.recent.get(column);
                (or_unknown(rate(count, seconds), decimal), count == 0)
            }
            (Self::Count(column), Span::Run) => {
                let count = row.total.get(column);
                (grouped(count), count == 0)
            }
        }
    }
}

/// A column of numbers with the text of each row.
struct Cells {
    number: Number,
    width: usize,
    /// The text of each row, and whether the number is 0.
    rows: Vec<(String, bool)>,
}

/// Returns a heading, a line for each row, and lines about sockets that are in no row or in the
/// wrong row. `seconds` is the time that the recent counts cover.
///
/// If the lines do not fit into the height, fewer groups are shown. The groups that are not shown
/// are added to `other`.
pub(in crate::view) fn lines(
    owners: &Owners,
    seconds: f64,
    span: Span,
    order: GroupOrder,
    space: Space,
) -> Vec<Line> {
    let notes = notes(owners, space.width);
    let height = space.height.map(|height| height.saturating_sub(notes.len()));
    let rows = fitting_rows(owners, span, order, height);
    let names = cells::Names::of(&owners.by, &rows);
    let numbers = numbers(&rows, span, seconds);
    let widths = names.fit(space.width, FOR_NUMBERS);
    let used: usize = widths.iter().map(|width| width + 1).sum();
    let numbers = chosen(numbers, order.sort, (space.width + 1).saturating_sub(used));
    let mut heading = names.heading(&widths);
    for column in &numbers {
        write!(heading, " {:>1$}", column.number.heading(span), column.width)
            .expect("a string takes everything");
    }
    let mut lines = vec![Line::of(Tone::Strong, heading)];
    for (at, row) in rows.iter().enumerate() {
        let tone = if values(row.kind).is_some() { Tone::Plain } else { Tone::Faint };
        let mut line = Line::of(tone, names.row(at, &widths));
        for column in &numbers {
            let (text, is_zero) = &column.rows[at];
            let tone = if *is_zero {
                Tone::Faint
            } else if column.number == Number::of(order.sort) {
                Tone::Strong
            } else {
                Tone::Plain
            };
            line.push(tone, format!(" {text:>0$}", column.width));
        }
        lines.push(line);
    }
    lines.extend(notes);
    // A very small terminal has no space for all rows that are no groups.
    lines.truncate(space.height.unwrap_or(lines.len()));
    lines
}

/// Returns the rows that fit into a number of lines, below a heading.
fn fitting_rows(
    owners: &Owners,
    span: Span,
    order: GroupOrder,
    height: Option<usize>,
) -> Vec<Row<'_>> {
    let all = rows(owners, span, order);
    let Some(height) = height.filter(|&height| height < all.len() + 1) else { return all };
    let is_named = |row: &&Row<'_>| !matches!(row.kind, OwnerKind::Group(_) | OwnerKind::Other);
    // The heading, the row `other`, and the rows `unknown` and `gone`.
    let taken = 2 + all.iter().filter(is_named).count();
    let top = height.saturating_sub(taken).max(1);
    rows(owners, span, GroupOrder { top: Some(order.top.unwrap_or(top).min(top)), ..order })
}

fn numbers(rows: &[Row<'_>], span: Span, seconds: f64) -> Vec<Cells> {
    let cells = |number: Number| {
        let rows: Vec<_> = rows.iter().map(|row| number.cell(row, span, seconds)).collect();
        let longest = rows.iter().map(|(text, _)| text.len()).max().unwrap_or(0);
        // A number has room for thousands, so that the columns rarely move from one frame to the
        // next.
        let usual = if let Number::Count(_) = number { "1,234.5" } else { "12,345" };
        let width = longest.max(number.heading(span).len()).max(usual.len());
        Cells { number, width, rows }
    };
    NUMBERS.into_iter().map(cells).collect()
}

/// Returns the columns that fit into a width, in the order in which they are shown. The column by
/// which the rows are sorted is the most important column.
fn chosen(columns: Vec<Cells>, sort: SortBy, mut width: usize) -> Vec<Cells> {
    let by_importance = [Number::of(sort)].into_iter().chain(IMPORTANT).chain(NUMBERS);
    let mut fits: Vec<Number> = Vec::new();
    for number in by_importance {
        let column = columns.iter().find(|column| column.number == number);
        let needed = column.map_or(usize::MAX, |column| column.width + 1);
        if !fits.contains(&number) && needed <= width {
            width -= needed;
            fits.push(number);
        }
    }
    columns.into_iter().filter(|column| fits.contains(&column.number)).collect()
}

/// Returns lines about the sockets that did not fit into a table, and about missed events.
fn notes(owners: &Owners, width: usize) -> Vec<Line> {
    let mut notes = Vec::new();
    if owners.without_room > 0 {
        let sockets = counted(owners.without_room, "socket");
        notes.push(format!("{sockets} without room counted as other: increase --max-owners"));
    }
    if owners.missed > 0 {
        let missed = grouped(owners.missed);
        notes.push(format!("groups are wrong by at most {missed}: missed events, full table"));
    }
    notes.iter().map(|note| Line::of(Tone::Warning, shortened(note, width))).collect()
}
