//! Reports as text: one view for each form of output. A view has no loop and reads no clock. A view
//! writes to the writer that the caller passes.

mod block;
mod connections;
pub mod count;
mod csv;
mod digits;
pub mod doctor;
mod event_lines;
mod events;
pub mod explain;
mod features;
mod frame;
mod groups;
mod heat;
mod hist;
mod json;
mod json_fields;
mod json_lines;
mod line;
pub mod metrics;
mod moves;
mod namespaces;
mod number;
mod recording;
mod repaint;
mod screen;
mod sparkline;
mod summary;
mod table;
mod values;

use std::io::{self, Write};

pub use self::{
    connections::{ConnectionCsv, ConnectionTable},
    csv::Csv,
    events::{Clock, EventCsv, EventLines, EventTable},
    features::{Form as FeatureForm, show_features},
    groups::{GroupOrder, SortBy},
    heat::Heat,
    hist::{HistCsv, HistJson, HistTable, Section},
    json::Json,
    recording::show_part,
    repaint::{Size, repaint, without_painting},
    screen::{Screen, TerminalCaps},
    table::Table,
};
use crate::report::{Event, Report};

/// A form of output.
pub trait View {
    /// Writes one report.
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()>;

    /// Writes events, one line for each. Some forms of output have no lines for events.
    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        let _ = (events, out);
        Ok(())
    }

    /// Paints the frame again after a change of the terminal's size. Views without frames do
    /// nothing.
    fn redraw(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let _ = out;
        Ok(())
    }
}
