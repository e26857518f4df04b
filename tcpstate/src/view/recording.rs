//! The header of a recording as a JSON line.

use std::io::{self, Write};

use serde_json::json;

use super::{
    EventLines,
    json_lines::{VERSION, add_list, write_line},
};
use crate::recording::Part;

/// Writes one JSON object.
pub fn show_part(part: &Part, out: &mut dyn Write) -> io::Result<()> {
    let mut line = json!({
        "type": "recording",
        "version": VERSION,
        "id": format!("{:016x}", part.id),
        "file": part.number,
        "program": part.program,
        "has_events": part.has_events,
        "has_connections": part.has_connections,
        "by": part.by.iter().map(|key| key.label()).collect::<Vec<_>>(),
        "sysctls": part.sysctls,
    });
    add_list(&mut line, "addresses", &part.addresses, |address| json!(address))?;
    add_list(&mut line, "listeners", &part.listeners, |listener| json!(listener))?;
    write_line(&line, out)
}

impl Part {
    /// Returns the lines that the recorded events have.
    #[must_use]
    pub fn lines(&self) -> EventLines {
        EventLines { transitions: self.has_events, connections: self.has_connections }
    }
}
