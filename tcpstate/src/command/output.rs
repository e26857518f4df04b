//! Writes reports on a thread of its own, so that a reader who stalls costs snapshots and neither memory nor signals.

use std::{
    io::{self, Write as _},
    thread::{self, JoinHandle},
};

use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use crate::{aggregate::Report, view::View};

/// The way to stdout.
pub(super) struct Output {
    /// Holds one report that waits while another is being written.
    reports: Sender<Report>,
    /// Ends with the reports, or with the reader.
    writer: JoinHandle<io::Result<()>>,
}

impl Output {
    /// Starts the writer.
    pub(super) fn start(mut view: Box<dyn View + Send>) -> Self {
        let (reports, queue) = mpsc::channel(1);
        let writer = thread::spawn(move || write_all(view.as_mut(), queue));
        Self { reports, writer }
    }

    /// Makes a report and hands it over, if there is room for it. While a reader stalls none is made, and the next
    /// one covers the time of those that were not.
    pub(super) fn offer<E>(&self, report: impl FnOnce() -> Result<Report, E>) -> Result<(), E> {
        match self.reports.try_reserve() {
            Ok(room) => room.send(report()?),
            Err(TrySendError::Full(()) | TrySendError::Closed(())) => {}
        }
        Ok(())
    }

    /// Returns when nobody reads any more.
    pub(super) async fn closed(&self) {
        self.reports.closed().await;
    }

    /// Writes a report whatever it takes, then ends. A closed pipe is success.
    pub(super) fn finish(self, last: Report) -> io::Result<()> {
        // A writer that is gone says why below.
        let _ = self.reports.blocking_send(last);
        drop(self.reports);
        match self.writer.join().expect("the writer does not panic") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

fn write_all(view: &mut dyn View, mut reports: Receiver<Report>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    while let Some(report) = reports.blocking_recv() {
        let mut text = Vec::new();
        view.show(&report, &mut text)?;
        out.write_all(&text)?;
        out.flush()?;
    }
    Ok(())
}
