//! Groups for programs: a JSON object for each group.

use serde_json::{Map, Value, json};
use tcpstate_common::State;

use super::{
    Row,
    keys::{self, Field},
    values,
};
use crate::report::{self, Column, Key, OwnerCounts, Process};

/// Returns the keys of a line that show a row, after the keys `type` and `time`. `seconds` is the
/// time that the recent counts cover.
pub(in crate::view) fn line(by: &[Key], row: &Row<'_>, seconds: f64) -> Value {
    let mut line = Map::new();
    let labels: Vec<&str> = by.iter().map(|key| key.label()).collect();
    line.insert("by".to_owned(), labels.into());
    let named = values(row.kind).map_or(Value::Null, |values| key(by, values));
    line.insert("key".to_owned(), named);
    line.insert("kind".to_owned(), row.kind.label().into());
    line.insert("states".to_owned(), states(row));
    line.extend(counts(|column| row.total.get(column).into()));
    line.insert("per_second".to_owned(), per_second(&row.recent, seconds));
    if row.hidden > 0 {
        line.insert("groups".to_owned(), row.hidden.into());
    }
    if by.contains(&Key::Remote) && values(row.kind).is_some() {
        line.insert("likely_owner".to_owned(), json!(row.likely_owner.map(process)));
    }
    Value::Object(line)
}

/// Returns the key of a group: an object with the values of all keys. A process and a namespace
/// have two values.
pub(in crate::view) fn key(by: &[Key], values: &[report::key::Value]) -> Value {
    let fields = keys::named(by, values).map(|(name, field)| {
        let value = match field {
            Field::Number(number) => number.into(),
            Field::Text(text) => text.into(),
            Field::None => Value::Null,
        };
        (name.to_owned(), value)
    });
    Value::Object(fields.collect())
}

fn process(process: &Process) -> Value {
    json!({ "pid": process.pid, "comm": process.name })
}

fn states(row: &Row<'_>) -> Value {
    let states = |states: &[u64; 10]| {
        let states = State::GAUGES.iter().zip(states);
        states.map(|(state, &sockets)| (state.label().to_owned(), sockets.into())).collect()
    };
    row.states.as_ref().map_or(Value::Null, |counts| Value::Object(states(counts)))
}

fn per_second(counts_of: &OwnerCounts, seconds: f64) -> Value {
    let rate = |column| crate::view::number::rate(counts_of.get(column), seconds).into();
    Value::Object(counts(rate).collect())
}

fn counts(value: impl Fn(Column) -> Value) -> impl Iterator<Item = (String, Value)> {
    Column::ALL.into_iter().map(move |column| (column.label().to_owned(), value(column)))
}
