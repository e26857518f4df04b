//! Reports scans that failed for lack of memory. The run continues.

use super::warnings;
use crate::tracer::Tracer;

/// Reports each failure once, until the cause changes or a report in between had no failure.
#[derive(Debug, Default)]
pub(super) struct ScanWarner {
    last: Option<String>,
}

impl ScanWarner {
    /// Prints a warning if a scan or an audit has failed since the last call, and if the last
    /// warning had another text.
    pub(super) fn warn(&mut self, tracer: &mut Tracer) {
        let Some(error) = tracer.take_failed_scan() else { return };
        let text = Some(error.to_string());
        if self.last != text {
            warnings::of_failed_scan(&error);
            self.last = text;
        }
    }
}
