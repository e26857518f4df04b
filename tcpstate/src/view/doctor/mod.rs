//! How findings caps: one file a form of output.

mod csv;
mod json;
mod table;

use std::io::{self, Write};

use serde_json::{Map, Value};

pub use self::{csv::Csv, json::Json, table::Table};
use crate::doctor::{Finding, Level};
use crate::text::escaped;

/// A form of output for findings.
pub trait DoctorView {
    /// Writes all findings, and how many there are of each level.
    fn show(&self, findings: &[Finding], out: &mut dyn Write) -> io::Result<()>;
}

/// How many findings there are of this level.
fn count(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.level == level).count()
}

/// Numbers in one line, for people.
fn in_words(numbers: &Map<String, Value>) -> String {
    let known = numbers.iter().filter(|(_, number)| !number.is_null());
    let words = known.map(|(name, number)| match number {
        Value::String(text) => format!("{name} {}", escaped(text)),
        other => format!("{name} {other}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// One of each level, one with a hostile name in it.
    pub(super) fn findings() -> Vec<Finding> {
        let numbers = |value: Value| value.as_object().cloned().expect("it is one");
        let finding = |id, level, summary: &str| Finding {
            id,
            level,
            summary: summary.into(),
            numbers: Map::new(),
            advice: String::new(),
            command: None,
            source: "/proc/net/netstat".into(),
        };
        vec![
            Finding {
                numbers: numbers(json!({ "drops": 0 })),
                ..finding("S4", Level::Ok, "no SYN was dropped")
            },
            Finding {
                advice: "look from the host".into(),
                ..finding("F2", Level::Unknown, "the limit can't be seen")
            },
            Finding {
                numbers: numbers(
                    json!({ "close_wait": 165, "comm": "ev\u{1b}[2Jil", "pid": null }),
                ),
                advice: "the program has to close them".into(),
                command: Some("ss -tanp state close-wait".into()),
                ..finding("C1", Level::Warn, "ev\u{1b}[2Jil has not closed 165, \"at all\"")
            },
        ]
    }

    pub(super) fn shown(view: &dyn DoctorView) -> String {
        let mut text = Vec::new();
        view.show(&findings(), &mut text).expect("memory takes all");
        String::from_utf8(text).expect("views write UTF-8")
    }
}
