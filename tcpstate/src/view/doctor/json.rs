//! JSON output of `tcpstate doctor`: one object per finding, then the verdict.

use std::io::{self, Write};

use serde_json::json;

use super::{super::json_lines::write_line, DoctorView, count};
use crate::doctor::{Finding, Level};

/// The version of the JSON format of `tcpstate doctor`.
const VERSION: u32 = 1;

/// The JSON format: one object per line.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl DoctorView for Json {
    fn show(&self, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
        for finding in findings {
            let line = json!({
                "type": "finding",
                "version": VERSION,
                "id": finding.id,
                "level": finding.level.label(),
                "summary": finding.summary,
                "numbers": finding.numbers,
                "advice": finding.advice,
                "command": finding.command,
                "source": finding.source,
            });
            write_line(&line, out)?;
        }
        let mut verdict = json!({ "type": "verdict", "version": VERSION });
        for level in Level::ALL {
            verdict[level.label()] = count(findings, level).into();
        }
        write_line(&verdict, out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{super::tests::shown, *};

    #[test]
    fn findings_are_lines_and_the_verdict_is_the_last_line() {
        let text = shown(&Json);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
            .collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2]["id"], "C1");
        assert_eq!(lines[2]["numbers"]["close_wait"], 165);
        assert!(lines[2]["numbers"]["pid"].is_null());
        assert_eq!(
            text.lines().last(),
            Some(r#"{"type":"verdict","version":1,"ok":1,"info":0,"warn":1,"crit":0,"unknown":1}"#)
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
