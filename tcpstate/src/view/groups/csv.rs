//! Groups for spreadsheets: a row for each group.

use std::io::{self, Write};

use tcpstate_common::State;

use super::{
    Row,
    keys::{self, Field},
    values,
};
use crate::{
    report::{Column, Key},
    text::cell,
    view::number::rate,
};

/// Returns the names of the columns.
pub(in crate::view) fn header(by: &[Key]) -> Vec<String> {
    let mut header: Vec<String> =
        ["time", "elapsed_seconds", "kind"].into_iter().map(str::to_owned).collect();
    header.extend(keys::names(by).into_iter().map(str::to_owned));
    header.extend(State::GAUGES.iter().map(|state| state.label().to_owned()));
    header.extend(Column::ALL.iter().map(|column| column.label().to_owned()));
    header.extend(Column::ALL.iter().map(|column| format!("{}_per_second", column.label())));
    if by.contains(&Key::Remote) {
        header.extend(["likely_owner_pid", "likely_owner_comm"].map(str::to_owned));
    }
    header
}

/// Writes a row for each group. `before` has the first two columns, and `seconds` is the time that
/// the recent counts cover.
pub(in crate::view) fn write_rows(
    writer: &mut csv::Writer<impl Write>,
    before: [&str; 2],
    by: &[Key],
    rows: &[Row<'_>],
    seconds: f64,
) -> io::Result<()> {
    let names = keys::names(by);
    for row in rows {
        let mut cells = before.map(str::to_owned).to_vec();
        cells.push(row.kind.label().to_owned());
        let values = values(row.kind).unwrap_or_default();
        let fields: Vec<_> = keys::named(by, values).collect();
        for name in &names {
            let field = fields.iter().find(|(field, _)| field == name);
            cells.push(field.map_or_else(String::new, |(_, field)| text(field)));
        }
        let sockets = |state| row.sockets_in(state).map_or_else(String::new, |n| n.to_string());
        cells.extend(State::GAUGES.map(sockets));
        cells.extend(Column::ALL.map(|column| row.total.get(column).to_string()));
        let per_second = |column| rate(row.recent.get(column), seconds);
        cells.extend(
            Column::ALL.map(|column| {
                per_second(column).map_or_else(String::new, |rate| format!("{rate:?}"))
            }),
        );
        if by.contains(&Key::Remote) {
            let owner = row.likely_owner;
            cells.push(owner.map_or_else(String::new, |owner| owner.pid.to_string()));
            cells.push(owner.map_or_else(String::new, |owner| cell(&owner.name)));
        }
        writer.write_record(&cells)?;
    }
    Ok(())
}

fn text(field: &Field<'_>) -> String {
    match field {
        Field::Number(number) => number.to_string(),
        Field::Text(text) => cell(&**text),
        Field::None => String::new(),
    }
}
