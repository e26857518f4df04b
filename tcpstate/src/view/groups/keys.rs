//! The keys of a group as names of fields and as values.

use std::{borrow::Cow, cmp::Ordering};

use crate::report::{Key, key::Value};

/// Returns the names of the fields that show a key in JSON and CSV. Two keys may have a field in
/// common: the name of a process belongs to `process` and to `comm`.
const fn fields(key: Key) -> &'static [&'static str] {
    match key {
        Key::Process => &["pid", "comm"],
        Key::Netns => &["netns", "netns_name"],
        Key::Comm => &["comm"],
        Key::User => &["user"],
        Key::Cgroup => &["cgroup"],
        Key::Unit => &["unit"],
        Key::Container => &["container"],
        Key::LocalPort => &["local_port"],
        Key::Remote => &["remote"],
        Key::RemotePort => &["remote_port"],
        Key::State => &["state"],
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Number(u32),
    Text(Cow<'a, str>),
    /// The sockets have no value.
    None,
}

impl<'a> Field<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }
}

/// Returns the names of the fields of a group, without duplicates.
pub(super) fn names(by: &[Key]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for name in by.iter().flat_map(|&key| fields(key)) {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

/// Returns the fields of a group with their names. If two keys have a field in common, the field
/// occurs twice with the same value.
pub(super) fn named<'a>(
    by: &[Key],
    values: &'a [Value],
) -> impl Iterator<Item = (&'static str, Field<'a>)> {
    by.iter().zip(values).flat_map(|(&key, value)| {
        let fields = fields(key);
        let [first, second] = texts(value);
        [(fields.first(), first), (fields.get(1), second)]
            .into_iter()
            .filter_map(|(name, field)| Some((*name?, field)))
    })
}

/// Returns the one or two fields of a value.
fn texts(value: &Value) -> [Field<'_>; 2] {
    match value {
        Value::Process(process) => [Field::Number(process.pid), Field::text(&process.name)],
        Value::Netns(inode, name) => {
            let name = name.as_ref().map_or(Field::None, Field::text);
            [Field::text(inode.to_string()), name]
        }
        Value::Comm(text) | Value::Unit(text) | Value::Container(text) => {
            [Field::text(text), Field::None]
        }
        Value::User(uid) => [Field::Number(*uid), Field::None],
        Value::Cgroup(cgroup) => [Field::text(&cgroup.path), Field::None],
        Value::Port(port) => [Field::Number((*port).into()), Field::None],
        Value::Client => [Field::text("client"), Field::None],
        Value::Address(address) => [Field::text(address.to_string()), Field::None],
        Value::State(state) => [Field::text(state.label()), Field::None],
        Value::None => [Field::None, Field::None],
    }
}

/// Compares the values of two groups. Names are sorted by their letters, and numbers by size.
pub(super) fn order(some: &[Value], others: &[Value]) -> Ordering {
    let orders = some.iter().zip(others).map(|(one, two)| order_of(one, two));
    orders.fold(Ordering::Equal, Ordering::then).then(some.len().cmp(&others.len()))
}

fn order_of(one: &Value, two: &Value) -> Ordering {
    match (one, two) {
        (Value::Process(one), Value::Process(two)) => {
            (&one.name, one.pid).cmp(&(&two.name, two.pid))
        }
        (Value::Netns(one, name), Value::Netns(two, other)) => (name, one).cmp(&(other, two)),
        (Value::Comm(one), Value::Comm(two))
        | (Value::Unit(one), Value::Unit(two))
        | (Value::Container(one), Value::Container(two)) => one.cmp(two),
        (Value::User(one), Value::User(two)) => one.cmp(two),
        (Value::Cgroup(one), Value::Cgroup(two)) => one.path.cmp(&two.path),
        (Value::Port(one), Value::Port(two)) => one.cmp(two),
        (Value::Address(one), Value::Address(two)) => one.cmp(two),
        (Value::State(one), Value::State(two)) => one.cmp(two),
        _ => rank(one).cmp(&rank(two)),
    }
}

/// Returns the place of a kind of value, for values of different kinds.
const fn rank(value: &Value) -> u8 {
    match value {
        Value::Process(_) => 0,
        Value::Comm(_) => 1,
        Value::User(_) => 2,
        Value::Cgroup(_) => 3,
        Value::Unit(_) => 4,
        Value::Container(_) => 5,
        Value::Netns(..) => 6,
        Value::Port(_) => 7,
        Value::Address(_) => 8,
        Value::State(_) => 9,
        Value::Client => 10,
        Value::None => 11,
    }
}
