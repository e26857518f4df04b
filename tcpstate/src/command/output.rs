//! Writes reports on a thread of its own, so that a reader who stalls costs snapshots and neither
//! memory nor signals.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd as _,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::mpsc::{
    self, Receiver, Sender,
    error::{TryRecvError, TrySendError},
};

use crate::{
    aggregate::CloseReasonCounter,
    report::{Event, Report},
    source::Events,
    view::View,
};

/// How long events wait at most until somebody looks for them: too short for people to notice. The
/// kernel half wakes nobody.
const EVENT_PACE: Duration = Duration::from_millis(20);

/// Events in one write. While it takes, those that follow wait in the kernel, where what has no
/// room is counted.
const EVENTS_AT_ONCE: usize = 1024;

/// The way to stdout.
pub(super) struct Output {
    /// Holds one message that waits while another is being written.
    messages: Sender<Message>,
    /// The writer's thread. It ends after the last report, or when the reader of stdout closes the
    /// pipe.
    writer: JoinHandle<(io::Result<()>, Writer)>,
}

/// What the writer holds.
struct Writer {
    view: Box<dyn View + Send>,
    events: Option<Events>,
    /// What their lines add up to.
    close_reasons: CloseReasonCounter,
    /// Lines on their way, in memory that is used again.
    text: Vec<u8>,
    /// The start line has been written, which all else comes after.
    has_begun: bool,
}

#[derive(Debug)]
enum Message {
    Show(Box<Report>),
    Redraw,
}

impl Output {
    /// Starts the writer, which also writes the events as they come, if there are any.
    pub(super) fn start(view: Box<dyn View + Send>, events: Option<Events>) -> Self {
        let (messages, mut queue) = mpsc::channel(1);
        let mut writer_state = Writer {
            view,
            events,
            close_reasons: CloseReasonCounter::default(),
            text: Vec::new(),
            has_begun: false,
        };
        let writer = thread::spawn(move || {
            let written = writer_state.write_to_stdout(&mut queue);
            if written.is_err() {
                // Whoever waits for a reader is told; what was handed over by then is shown to
                // nobody.
                queue.close();
                let _ = writer_state.write_all(&mut queue, &mut io::sink());
            }
            (written, writer_state)
        });
        Self { messages, writer }
    }

    /// Makes a report and hands it over, if there is room for it. While a reader stalls none is
    /// made, and the next one covers the time of those that were not.
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
        let refused = self.messages.blocking_send(Message::Show(Box::new(last))).err();
        drop(self.messages);
        let (written, mut writer_state) = self.writer.join().expect("the writer does not panic");
        if let Some(refused) = refused {
            // Nobody reads it, but it may be recorded.
            let (messages, mut queue) = mpsc::channel(1);
            messages.blocking_send(refused.0).map_err(io::Error::other)?;
            drop(messages);
            writer_state.write_all(&mut queue, &mut io::sink())?;
        }
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }
}

impl Writer {
    fn write_to_stdout(&mut self, messages: &mut Receiver<Message>) -> io::Result<()> {
        // Not the standard library's stdout, which would write a frame in two parts, its last line
        // alone.
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        self.write_all(messages, &mut out)
    }

    /// Writes each message at once, so that a frame is never seen half painted.
    fn write_all(
        &mut self,
        messages: &mut Receiver<Message>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        while let Some(mut message) = self.next(messages, out)? {
            if self.has_begun {
                self.write_events_before(&mut message, out)?;
            }
            self.has_begun = true;
            let mut text = Vec::new();
            match message {
                Message::Show(report) => self.view.show(&report, &mut text)?,
                Message::Redraw => self.view.redraw(&mut text)?,
            }
            out.write_all(&text)?;
        }
        Ok(())
    }

    /// The next message; writes events while there is none.
    fn next(
        &mut self,
        messages: &mut Receiver<Message>,
        out: &mut impl Write,
    ) -> io::Result<Option<Message>> {
        if self.events.is_none() {
            return Ok(messages.blocking_recv());
        }
        loop {
            match messages.try_recv() {
                Ok(message) => return Ok(Some(message)),
                Err(TryRecvError::Disconnected) => return Ok(None),
                Err(TryRecvError::Empty) => {
                    // They come after the start line.
                    if !self.has_begun || !self.write_events(out)? {
                        thread::sleep(EVENT_PACE);
                    }
                }
            }
        }
    }

    /// Writes what came before a message, and no more than there may be at one time. Before the
    /// last one that is also what might yet have changed, and it gets the sums.
    fn write_events_before(
        &mut self,
        message: &mut Message,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        for _ in 0..events.max_records().div_ceil(EVENTS_AT_ONCE) {
            if !self.write_events(out)? {
                break;
            }
        }
        if let Message::Show(report) = message
            && let Report::End(end) = report.as_mut()
            && let Some(events) = &mut self.events
        {
            let rest = events.take(usize::MAX);
            self.write_lines(&rest, out)?;
            end.close_reasons = Some(self.close_reasons.sums());
        }
        Ok(())
    }

    /// Writes the next events, if there are any. Says whether there may be more at once.
    fn write_events(&mut self, out: &mut impl Write) -> io::Result<bool> {
        let Some(events) = &mut self.events else { return Ok(false) };
        let taken = events.take_settled(EVENTS_AT_ONCE);
        self.write_lines(&taken, out)?;
        Ok(taken.len() == EVENTS_AT_ONCE)
    }

    fn write_lines(&mut self, events: &[Event], out: &mut impl Write) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            self.close_reasons.count(event);
        }
        self.text.clear();
        self.view.show_events(events, &mut self.text)?;
        out.write_all(&self.text)
    }
}
