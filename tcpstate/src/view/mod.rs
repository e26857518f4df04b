//! How reports caps: one view a form of output. A view holds no loop and no clock; it writes where it is told.

mod block;
pub mod count;
mod csv;
pub mod doctor;
mod events;
pub mod explain;
mod features;
mod frame;
mod heat;
mod hist;
mod json;
mod line;
mod matrix;
pub mod metrics;
mod namespaces;
mod number;
mod recording;
mod repaint;
mod screen;
mod sparkline;
mod summary;
mod table;

use std::io::{self, Write};

pub use self::{
    csv::Csv,
    events::{Clock, EventCsv, EventTable},
    features::{Form as FeatureForm, show_features},
    heat::Heat,
    hist::{HistCsv, HistJson, HistTable, Section},
    json::Json,
    recording::show_part,
    repaint::{Size, repaint},
    screen::{Screen, TerminalCaps},
    table::Table,
};
use crate::report::{Event, Report};

/// A form of output.
pub trait View {
    /// Writes one report, whole.
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()>;

    /// Writes events, a line each. Not every form of output has lines for them.
    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        let _ = (events, out);
        Ok(())
    }

    /// Shows once more what there is to see, because the place where it is seen has changed. Only a screen has such a
    /// place.
    fn redraw(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let _ = out;
        Ok(())
    }
}
