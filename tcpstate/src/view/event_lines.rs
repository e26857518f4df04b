//! Writes the JSON lines of events into a reused buffer.

use std::io::{self, Write};

use tcpstate_common::State;

use super::{
    connections,
    events::{self, EventLines},
    json_fields::Fields,
    json_lines::{append_short, serialize},
};
use crate::report::Event;

/// The size in bytes above which the lines in the buffer are written.
const MAX_BUFFERED: usize = 64 << 10;

/// Writes the lines of events.
#[derive(Debug, Default)]
pub(super) struct LineWriter {
    text: Vec<u8>,
    memo: events::Memo,
    of_connections: connections::Texts,
}

impl LineWriter {
    /// Writes lines of these kinds for each event.
    pub(super) fn write(
        &mut self,
        events: &[Event],
        lines: EventLines,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Self { text, memo, of_connections } = self;
        text.clear();
        for event in events {
            // A connection that is still open is no transition.
            let is_open = event.connection.is_some() && event.to != State::Close;
            if lines.transitions && !is_open {
                append_short(text, |line, max_text| {
                    events::append_json(event, memo, &mut Fields { line, max_text });
                });
            }
            if lines.connections
                && let Some(connection) = &event.connection
            {
                serialize(&connections::json_line(event, connection, of_connections), text)?;
            }
            if text.len() > MAX_BUFFERED {
                out.write_all(text)?;
                text.clear();
            }
        }
        out.write_all(text)
    }
}
