//! Writes reports on a thread of its own, so that a reader who stalls costs snapshots and neither memory nor signals.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::mpsc::{
    self, Receiver, Sender,
    error::{TryRecvError, TrySendError},
};

use crate::{
    aggregate::{Endings, Report},
    source::{Event, Events},
    view::View,
};

/// How long events wait at most until somebody looks for them: too short for people to notice. The kernel half wakes nobody.
const EVENT_PACE: Duration = Duration::from_millis(20);

/// Events in one write. While it takes, those that follow wait in the kernel, where what has no room is counted.
const EVENTS_AT_ONCE: usize = 1024;

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
    /// Starts the writer, which also writes the events as they come, if there are any.
    pub(super) fn start(mut view: Box<dyn View + Send>, events: Option<Events>) -> Self {
        let (messages, queue) = mpsc::channel(1);
        let writer = thread::spawn(move || write_all(view.as_mut(), queue, events));
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
fn write_all(
    view: &mut dyn View,
    mut messages: Receiver<Message>,
    events: Option<Events>,
) -> io::Result<()> {
    // Not the standard library's stdout, which would write a frame in two parts, its last line alone.
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut lines = events.map(Lines::new);
    let mut has_begun = false;
    loop {
        let message = match &mut lines {
            None => messages.blocking_recv(),
            Some(lines) => match messages.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    // They come after the start line.
                    if !has_begun || !lines.write_next(view, &mut out)? {
                        thread::sleep(EVENT_PACE);
                    }
                    continue;
                }
            },
        };
        let Some(mut message) = message else { return Ok(()) };
        if let (true, Some(lines)) = (has_begun, &mut lines) {
            lines.write_before(&mut message, view, &mut out)?;
        }
        let mut text = Vec::new();
        match message {
            Message::Show(report) => view.show(&report, &mut text)?,
            Message::Redraw => view.redraw(&mut text)?,
        }
        out.write_all(&text)?;
        has_begun = true;
    }
}

/// The events on their way to stdout, and what they add up to.
struct Lines {
    events: Events,
    endings: Endings,
    /// Reused from one write to the next.
    text: Vec<u8>,
}

impl Lines {
    fn new(events: Events) -> Self {
        Self { events, endings: Endings::default(), text: Vec::new() }
    }

    /// Writes the next events, if there are any. Says whether there may be more at once.
    fn write_next(&mut self, view: &mut dyn View, out: &mut File) -> io::Result<bool> {
        let events = self.events.take_settled(EVENTS_AT_ONCE);
        self.write(&events, view, out)
    }

    /// Writes what came before a message, and no more than there may be at one time: what may yet change too, if it is the
    /// last one, which also gets the sums.
    fn write_before(
        &mut self,
        message: &mut Message,
        view: &mut dyn View,
        out: &mut File,
    ) -> io::Result<()> {
        let most = self.events.most().div_ceil(EVENTS_AT_ONCE);
        for _ in 0..most {
            if !self.write_next(view, out)? {
                break;
            }
        }
        if let Message::Show(report) = message
            && let Report::End(end) = report.as_mut()
        {
            let rest = self.events.take(usize::MAX);
            self.write(&rest, view, out)?;
            end.endings = Some(std::mem::take(&mut self.endings));
        }
        Ok(())
    }

    fn write(&mut self, events: &[Event], view: &mut dyn View, out: &mut File) -> io::Result<bool> {
        if !events.is_empty() {
            for event in events {
                self.endings.count(event);
            }
            self.text.clear();
            view.show_events(events, &mut self.text)?;
            out.write_all(&self.text)?;
        }
        Ok(events.len() >= EVENTS_AT_ONCE)
    }
}
