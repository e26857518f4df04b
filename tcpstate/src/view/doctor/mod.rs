//! The output formats of `tcpstate doctor`: one file per format.

mod csv;
mod json;
mod table;

use std::io::{self, Write};

use serde_json::{Map, Value};

pub use self::{csv::Csv, json::Json, table::Table};
use crate::doctor::{Finding, Level};
use crate::text::escaped;

/// An output format for findings.
pub trait DoctorView {
    /// Writes the findings, and how many findings each level has.
    fn show(&self, findings: &[Finding], out: &mut dyn Write) -> io::Result<()>;
}

/// Returns how many findings have this level.
fn count(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.level == level).count()
}

/// Returns the measured numbers in one line, for text output.
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

    /// Returns findings of three levels. One finding contains a process name that contains a
    /// terminal escape sequence.
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
                ..finding("S4", Level::Ok, "no full SYN queue dropped a SYN")
            },
            Finding {
                advice: "Run doctor on the host.".into(),
                ..finding("F2", Level::Unknown, "the limit is not visible")
            },
            Finding {
                numbers: numbers(
                    json!({ "close_wait": 165, "comm": "ev\u{1b}[2Jil", "pid": null }),
                ),
                advice: "Fix the program.".into(),
                command: Some("ss -tanp state close-wait".into()),
                ..finding("C1", Level::Warn, "ev\u{1b}[2Jil holds 165, \"at all\"")
            },
        ]
    }

    pub(super) fn shown(view: &dyn DoctorView) -> String {
        let mut text = Vec::new();
        view.show(&findings(), &mut text).expect("writing to memory succeeds");
        String::from_utf8(text).expect("views write UTF-8")
    }
}
