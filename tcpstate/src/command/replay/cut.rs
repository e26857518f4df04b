//! The part of a recording that a replay shows.

use std::{cmp::Ordering, time::SystemTime};

use crate::{
    command::span::Span,
    filter::ConnectionFilter,
    recording::Record,
    report::{Attached, Report},
};

/// The part of the recording that is shown. The start report is always shown, because all other
/// reports depend on the start report.
pub(super) struct Cut {
    span: Span,
    filter: ConnectionFilter,
    start: Option<SystemTime>,
    /// The active hooks, if the hooks changed during a part of the recording that is not shown.
    attached: Option<Attached>,
}

impl Cut {
    /// Shows the events in a span that match a filter.
    pub(super) fn new(span: Span, filter: ConnectionFilter) -> Self {
        Self { span, filter, start: None, attached: None }
    }

    /// Returns the shown part of a record, or `None` if nothing of the record is shown.
    pub(super) fn of(&mut self, mut record: Record) -> Option<Record> {
        let is_shown = match &mut record {
            Record::Report(report) => match report.as_mut() {
                Report::Start(start) => {
                    self.start = Some(start.time);
                    true
                }
                Report::Snapshot(snapshot) => {
                    let is_shown = self.has(snapshot.time);
                    // A change of the hooks is shown in the next snapshot that is shown.
                    let changed = snapshot.attached.take().or(self.attached.take());
                    let place = if is_shown { &mut snapshot.attached } else { &mut self.attached };
                    *place = changed;
                    is_shown
                }
                Report::End(end) => self.has(end.time),
            },
            Record::Events(events) => {
                events.retain(|event| self.has(event.time) && self.filter.matches(event));
                !events.is_empty()
            }
        };
        is_shown.then_some(record)
    }

    fn has(&self, time: SystemTime) -> bool {
        self.start.is_none_or(|start| self.span.place(start, time) == Ordering::Equal)
    }
}
