//! The lines of `tcpstate trace -o json`, as far as the comparison with the kernel needs them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tcpstate::report::Snapshot;
use tcpstate_common::State;

use crate::{
    traced::{here, inode},
    truth::Counts,
};

/// A line of the program with gauges: a snapshot, or the end line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The time of the cut, as the line says it.
    pub time: SystemTime,
    /// The time at which the test read the line. The cut was made before.
    pub arrival: SystemTime,
    /// Whether the line claims that its gauges are exact.
    pub is_exact: bool,
    /// The largest error of a gauge that the line admits. `None` stands for any error.
    pub unreconciled: Option<u64>,
    /// The ten gauges, in the order of [`State::GAUGES`]. `None` stands for `null`.
    pub gauges: [Option<i64>; State::GAUGES.len()],
    /// The states of each other namespace, as text. Empty if the line has one namespace.
    pub elsewhere: Vec<String>,
    /// The line without the list of transitions.
    pub text: String,
}

impl Line {
    /// Returns the line of a snapshot of the library. If the snapshot has all namespaces, the line
    /// has the gauges of the thread's namespace.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let (states, _) = here(snapshot);
        let gauges = states.map(|gauge| gauge.current);
        let state = |(state, gauge): (State, Option<i64>)| format!("{state} {gauge:?}");
        let states: Vec<String> = State::GAUGES.into_iter().zip(gauges).map(state).collect();
        let (is_exact, unreconciled) = (snapshot.is_exact(), snapshot.unreconciled);
        let own = inode();
        let elsewhere = snapshot.namespaces.iter().flatten().filter(|row| row.netns != own);
        Self {
            time: snapshot.time,
            arrival: SystemTime::now(),
            is_exact,
            unreconciled,
            gauges,
            elsewhere: elsewhere.map(|row| format!("{} {:?}", row.netns, row.states)).collect(),
            text: format!("exact {is_exact}, {unreconciled:?}, {}", states.join(", ")),
        }
    }

    /// Parses a line. If the line has all namespaces, the result has the gauges of the namespace
    /// with this inode. Returns `None` if the line has no gauges, as the lines of events.
    ///
    /// # Panics
    /// Panics if the line is not an object, or if a snapshot lacks a key.
    #[must_use]
    pub fn parse(text: &str, inode: u64, arrival: SystemTime) -> Option<Self> {
        let mut line: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        if !["snapshot", "end"].contains(&line["type"].as_str()?) {
            return None;
        }
        let seconds = line["time_unix"].as_f64().unwrap_or_else(|| panic!("no time: {text}"));
        let is_exact = line["exact"].as_bool().unwrap_or_else(|| panic!("no `exact`: {text}"));
        let unreconciled = line["unreconciled"].as_u64();
        let (gauges, elsewhere) = match line["namespaces"].as_array() {
            None => (gauges(&line["states"]), Vec::new()),
            Some(rows) => {
                let inode = inode.to_string();
                let (own, others): (Vec<&Value>, Vec<&Value>) =
                    rows.iter().partition(|row| row["netns"] == inode.as_str());
                // A namespace without sockets has no row.
                let none = [Some(0); State::GAUGES.len()];
                let gauges = own.first().map_or(none, |row| gauges(&row["states"]));
                let text = |row: &Value| format!("{} {}", row["netns"], row["states"]);
                (gauges, others.into_iter().map(text).collect())
            }
        };
        if let Some(keys) = line.as_object_mut() {
            keys.retain(|key, _| key != "transitions" && key != "namespaces");
        }
        let time = UNIX_EPOCH + Duration::from_secs_f64(seconds);
        let text = line.to_string();
        Some(Self { time, arrival, is_exact, unreconciled, gauges, elsewhere, text })
    }

    /// Returns whether a gauge differs from the kernel's number by more than the line admits.
    #[must_use]
    pub fn hides_errors(&self, truth: &Counts) -> bool {
        let states = State::GAUGES.into_iter().zip(self.gauges);
        let error = |(state, gauge): (State, Option<i64>)| {
            gauge.map_or(0, |gauge| gauge.abs_diff(truth[state].cast_signed()))
        };
        let largest = states.map(error).max();
        self.unreconciled.is_some_and(|bound| largest > Some(bound))
    }

    /// Returns the gauges that are not equal to the kernel's numbers, for example
    /// `SYN_RECV 200, ss 0`. A gauge without a value is never equal.
    #[must_use]
    pub fn differences(&self, truth: &Counts) -> Vec<String> {
        let states = State::GAUGES.into_iter().zip(self.gauges);
        let different = states.filter(|&(state, gauge)| {
            gauge.is_none_or(|gauge| u64::try_from(gauge) != Ok(truth[state]))
        });
        let name = |(state, gauge): (State, Option<i64>)| {
            let gauge = gauge.map_or_else(|| "null".to_owned(), |gauge| gauge.to_string());
            format!("{state} {gauge}, ss {}", truth[state])
        };
        different.map(name).collect()
    }
}

fn gauges(states: &Value) -> [Option<i64>; State::GAUGES.len()] {
    State::GAUGES.map(|state| {
        let gauge = &states[state.label()];
        // The states of a namespace's row are numbers, or objects as in the snapshot.
        gauge.as_i64().or_else(|| gauge["current"].as_i64())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(states: &Value) -> Value {
        json!({
            "type": "snapshot", "time_unix": 1_700_000_000.5, "exact": true, "states": states,
        })
    }

    fn parse(line: &Value, inode: u64) -> Option<Line> {
        Line::parse(&line.to_string(), inode, SystemTime::now())
    }

    #[test]
    fn differences_name_the_wrong_gauges() {
        let mut states: Value = State::GAUGES
            .map(|state| (state.label(), json!({ "current": 0 })))
            .into_iter()
            .map(|(label, gauge)| (label.to_owned(), gauge))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let line = |states: &Value| parse(&line(states), 7).expect("it is a snapshot");
        assert_eq!(line(&states).differences(&Counts::default()), Vec::<String>::new());
        states["syn_recv"]["current"] = 200.into();
        states["time_wait"]["current"] = Value::Null;
        let mut truth = Counts::default();
        truth[State::Listen] = 1;
        let expected = ["LISTEN 0, ss 1", "SYN_RECV 200, ss 0", "TIME_WAIT null, ss 0"];
        assert_eq!(line(&states).differences(&truth), expected);
    }

    #[test]
    fn errors_beyond_the_bound_are_hidden() {
        let line = line(&json!({ "syn_recv": { "current": 5 } }));
        let mut line = parse(&line, 7).expect("it is a snapshot");
        for (unreconciled, expected) in [(None, false), (Some(4), true), (Some(5), false)] {
            line.unreconciled = unreconciled;
            assert_eq!(line.hides_errors(&Counts::default()), expected, "{unreconciled:?}");
        }
    }

    #[test]
    fn rows_of_a_namespace_are_found_by_its_number() {
        let mut line = line(&json!({}));
        line["namespaces"] = json!([{ "netns": "7", "states": { "syn_recv": { "current": 3 } } }]);
        let of = |inode| parse(&line, inode).expect("it is a snapshot");
        assert_eq!(of(7).gauges[2], Some(3));
        assert_eq!(of(8).gauges, [Some(0); 10], "a namespace without a row has no sockets");
        assert_eq!((of(7).elsewhere.len(), of(8).elsewhere.len()), (0, 1));
    }

    #[test]
    fn lines_without_gauges_are_left_out() {
        assert!(parse(&json!({ "type": "start", "states": {} }), 7).is_none());
    }
}
