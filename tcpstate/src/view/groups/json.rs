//! Groups for programs: a JSON object for each group.

use serde_json::{Map, Value, json};
use tcpstate_common::State;

use super::{
    Row,
    keys::{self, Field},
    values,
};
use crate::report::{Column, Key, OwnerCounts, Process};

/// The maximum size in bytes of all texts of a key together, as JSON. A recording can contain texts
/// of any length, and a character can need 12 bytes.
const MAX_KEY: usize = 10 << 10;
/// The maximum size in bytes of the name of the likely owner, as JSON. The rest of a line has at
/// most 4 KiB.
const MAX_OWNER: usize = 2 << 10;

/// The text at the end of a text that was shortened.
const MARK: char = '~';

/// Returns the keys of a line that show a row, after the keys `type` and `time`. `seconds` is the
/// time that the recent counts cover.
pub(in crate::view) fn line(by: &[Key], row: &Row<'_>, seconds: f64) -> Value {
    let mut line = Map::new();
    let labels: Vec<&str> = by.iter().map(|key| key.label()).collect();
    line.insert("by".to_owned(), labels.into());
    let (key, is_short) = key(by, row);
    line.insert("key".to_owned(), key);
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
    if is_short {
        line.insert("shortened".to_owned(), true.into());
    }
    Value::Object(line)
}

/// Returns the key of a group, and whether a text of the key was shortened.
fn key(by: &[Key], row: &Row<'_>) -> (Value, bool) {
    let Some(values) = values(row.kind) else { return (Value::Null, false) };
    let mut key = Map::new();
    let mut is_short = false;
    // A key has at most two fields.
    let room = MAX_KEY / (2 * by.len().max(1));
    for (name, field) in keys::named(by, values) {
        let value = match field {
            Field::Number(number) => number.into(),
            Field::Text(text) => {
                let short = shortened(&text, room);
                is_short |= short.len() != text.len();
                short.into()
            }
            Field::None => Value::Null,
        };
        key.insert(name.to_owned(), value);
    }
    (Value::Object(key), is_short)
}

fn process(process: &Process) -> Value {
    json!({ "pid": process.pid, "comm": shortened(&process.name, MAX_OWNER) })
}

/// Returns the beginning of a text whose JSON form has at most `room` bytes.
fn shortened(text: &str, room: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        // A character that is not printed as it is needs six bytes for each of its UTF-16 units.
        used += if matches!(c, ' '..='~') { 2 } else { 6 * c.len_utf16() };
        used < room
    };
    let short: String = text.chars().take_while(fits).collect();
    if short.len() == text.len() { short } else { short + MARK.encode_utf8(&mut [0; 4]) }
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
