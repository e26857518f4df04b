//! Writes reports on a thread of its own, so that a reader who stalls costs snapshots and neither memory nor signals.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
    thread::{self, JoinHandle},
};

use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use crate::{aggregate::Report, view::View};

/// The way to stdout.
pub(super) struct Output {
    /// Holds one message that waits while another is being written.
    messages: Sender<Message>,
    /// Ends with the reports, or with the reader.
    writer: JoinHandle<io::Result<()>>,
}

#[derive(Debug)]
enum Message {
    Show(Box<Report>),
    Redraw,
}

impl Output {
    /// Starts the writer.
    pub(super) fn start(mut view: Box<dyn View + Send>) -> Self {
        let (messages, queue) = mpsc::channel(1);
        let writer = thread::spawn(move || write_all(view.as_mut(), queue));
        Self { messages, writer }
    }

    /// Makes a report and hands it over, if there is room for it. While a reader stalls none is made, and the next
    /// one covers the time of those that were not.
    pub(super) fn offer<E>(&self, report: impl FnOnce() -> Result<Report, E>) -> Result<(), E> {
        match self.messages.try_reserve() {
            Ok(room) => room.send(Message::Show(Box::new(report()?))),
            Err(TrySendError::Full(()) | TrySendError::Closed(())) => {}
        }
        Ok(())
    }

    /// Has the terminal painted anew, because its size has changed.
    pub(super) fn redraw(&self) {
        // What waits already will be of the new size.
        let _ = self.messages.try_send(Message::Redraw);
    }

    /// Returns when nobody reads any more.
    pub(super) async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Writes a report whatever it takes, then ends. A closed pipe is success.
    pub(super) fn finish(self, last: Report) -> io::Result<()> {
        // A writer that is gone says why below.
        let _ = self.messages.blocking_send(Message::Show(Box::new(last)));
        drop(self.messages);
        match self.writer.join().expect("the writer does not panic") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

/// Writes each message at once, so that a frame is never seen half painted.
fn write_all(view: &mut dyn View, mut messages: Receiver<Message>) -> io::Result<()> {
    // Not the standard library's stdout, which would write a frame in two parts, its last line alone.
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    while let Some(message) = messages.blocking_recv() {
        let mut text = Vec::new();
        match message {
            Message::Show(report) => view.show(&report, &mut text)?,
            Message::Redraw => view.redraw(&mut text)?,
        }
        out.write_all(&text)?;
    }
    Ok(())
}
