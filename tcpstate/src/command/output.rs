//! Writes reports on a separate thread. If the reader of stdout stalls, snapshots are skipped,
//! memory does not grow, and signals still end the run.

use std::{
    fs::File,
    io::{self, Write},
    os::{fd::AsFd as _, unix::fs::FileTypeExt as _},
    thread,
    time::Duration,
};

use tokio::sync::{
    mpsc::{
        self, Receiver, Sender,
        error::{TryRecvError, TrySendError},
    },
    oneshot,
};

use tcpstate_common::abi::ConnectionRecord;

use super::{background, chunks::Chunks, environment::Error};
use crate::{
    aggregate::CloseReasonCounter,
    filter::ConnectionFilter,
    report::{Event, Report},
    source::Events,
    view::View,
};

/// The time between two reads of events. The BPF programs do not wake this process when they record
/// an event. A user does not notice a delay of 20 ms.
const EVENT_PACE: Duration = Duration::from_millis(20);

/// The maximum number of events in one write. During a write, new events wait in the kernel. Events
/// that do not fit into the buffer in the kernel are counted as lost.
const EVENTS_AT_ONCE: usize = 1024;

/// Passes reports to the thread that writes to stdout.
pub(super) struct Output {
    /// Holds one message that waits while another is being written.
    messages: Sender<Message>,
    /// Resolves when the thread that writes has ended: after the last report, or when the reader of
    /// stdout has closed the pipe.
    done: oneshot::Receiver<(io::Result<()>, Writer)>,
}

/// The state of the thread that writes.
struct Writer {
    view: Box<dyn View + Send>,
    events: Option<Events>,
    filter: ConnectionFilter,
    /// The close reasons of the events written so far.
    close_reasons: CloseReasonCounter,
    /// A reused buffer for event lines.
    text: Vec<u8>,
    /// Whether the start line has been written. All other output follows the start line.
    has_begun: bool,
}

#[derive(Debug)]
enum Message {
    Show(Box<Report>),
    /// Show the connections that are open at the end.
    Open(Vec<ConnectionRecord>),
    Redraw,
}

impl Output {
    /// Starts the thread that writes reports and, if given, the events that match the filter.
    pub(super) fn start(
        view: Box<dyn View + Send>,
        events: Option<Events>,
        filter: ConnectionFilter,
    ) -> Result<Self, Error> {
        let (messages, mut queue) = mpsc::channel(1);
        let mut writer_state = Writer {
            view,
            events,
            filter,
            close_reasons: CloseReasonCounter::default(),
            text: Vec::new(),
            has_begun: false,
        };
        let done = background::start(move || {
            let written = writer_state.write_to_stdout(&mut queue);
            if written.is_err() {
                // If the queue is closed, the waiting function `closed` returns. Messages that are
                // already queued can still be recorded, but are not shown.
                queue.close();
                let _ = writer_state.write_all(&mut queue, &mut io::sink());
            }
            (written, writer_state)
        })?;
        Ok(Self { messages, done })
    }

    /// Creates and queues a report, if the queue has space. While the reader stalls, no report is
    /// created, and the next report covers the skipped time.
    pub(super) fn offer<E>(&self, report: impl FnOnce() -> Result<Report, E>) -> Result<(), E> {
        match self.messages.try_reserve() {
            Ok(room) => room.send(Message::Show(Box::new(report()?))),
            Err(TrySendError::Full(()) | TrySendError::Closed(())) => {}
        }
        Ok(())
    }

    /// Queues the connections that are open at the end of the run. Without a reader of stdout, they
    /// are not shown.
    pub(super) async fn show_pending(&self, records: Vec<ConnectionRecord>) {
        let _ = self.messages.send(Message::Open(records)).await;
    }

    /// Queues a repaint of the terminal.
    pub(super) fn redraw(&self) {
        // If the queue is full, this message is not needed, because the message in the queue also
        // repaints the terminal.
        let _ = self.messages.try_send(Message::Redraw);
    }

    /// Returns when a write to stdout has failed, usually because the reader has closed the pipe.
    pub(super) async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Writes the last report, and waits for the reader if necessary. A closed pipe is success.
    pub(super) async fn finish(self, last: Report) -> io::Result<()> {
        let refused = self.messages.send(Message::Show(Box::new(last))).await.err();
        drop(self.messages);
        let (written, mut writer_state) = self.done.await.expect("the writer does not panic");
        if let Some(refused) = refused {
            // stdout has no reader, so the last report can be recorded but not shown.
            let (messages, mut queue) = mpsc::channel(1);
            messages.try_send(refused.0).map_err(io::Error::other)?;
            drop(messages);
            writer_state.write_all(&mut queue, &mut io::sink())?;
        }
        match written {
            Err(error) if is_reader_gone(&error) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Returns whether nothing reads stdout any more: the reader has closed the pipe, or the terminal
/// is lost.
fn is_reader_gone(error: &io::Error) -> bool {
    let is_device = || {
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let metadata = stdout.and_then(|stdout| stdout.metadata());
        metadata.is_ok_and(|metadata| metadata.file_type().is_char_device())
    };
    error.kind() == io::ErrorKind::BrokenPipe
        || error.raw_os_error() == Some(libc::EIO) && is_device()
}

impl Writer {
    fn write_to_stdout(&mut self, messages: &mut Receiver<Message>) -> io::Result<()> {
        // The output does not use `std::io::Stdout`, because `Stdout` would write the last line of
        // a frame in a separate call.
        let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        self.write_all(messages, &mut out)
    }

    /// Writes each frame of a terminal in one call, so that a terminal never shows half of a frame.
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
            let mut text = Chunks::new(&mut *out);
            match message {
                Message::Show(report) => self.view.show(&report, &mut text)?,
                Message::Redraw => self.view.redraw(&mut text)?,
                // The lines have been written already.
                Message::Open(_) => {}
            }
            text.flush()?;
        }
        Ok(())
    }

    /// Returns the next message. Until a message is queued, this function writes events.
    fn next(
        &mut self,
        messages: &mut Receiver<Message>,
        out: &mut impl Write,
    ) -> io::Result<Option<Message>> {
        loop {
            match messages.try_recv() {
                Ok(message) => return Ok(Some(message)),
                Err(TryRecvError::Disconnected) => return Ok(None),
                Err(TryRecvError::Empty) if self.events.is_none() => {
                    return Ok(messages.blocking_recv());
                }
                Err(TryRecvError::Empty) => {
                    // Events are written only after the start line.
                    if !self.has_begun || !self.write_events(out)? {
                        thread::sleep(EVENT_PACE);
                    }
                }
            }
        }
    }

    /// Writes the events before a message, but at most as many events as the ring can hold. Some
    /// events are held back, because later records can change these events. Before the last report,
    /// also writes these events, and adds the close reasons to the report.
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
        if let Message::Open(records) = message
            && let Some(events) = &mut self.events
        {
            let rest = events.take(usize::MAX);
            let pending = events.of_pending(std::mem::take(records));
            self.write_lines(rest, out)?;
            self.write_lines(pending, out)?;
        }
        if let Message::Show(report) = message
            && let Report::End(end) = report.as_mut()
            && let Some(events) = &mut self.events
        {
            let rest = events.take(usize::MAX);
            self.write_lines(rest, out)?;
            end.close_reasons = Some(self.close_reasons.sums());
        }
        Ok(())
    }

    /// Writes the next events. Returns whether more events may be available.
    fn write_events(&mut self, out: &mut impl Write) -> io::Result<bool> {
        let Some(events) = &mut self.events else { return Ok(false) };
        let taken = events.take_settled(EVENTS_AT_ONCE);
        let may_have_more = taken.len() == EVENTS_AT_ONCE;
        let taken = self.write_lines(taken, out)?;
        if let Some(events) = &mut self.events {
            events.reuse(taken);
        }
        Ok(may_have_more)
    }

    /// Writes the lines of these events. Returns the memory of the events.
    fn write_lines(
        &mut self,
        mut events: Vec<Event>,
        out: &mut impl Write,
    ) -> io::Result<Vec<Event>> {
        if !self.filter.matches_all() {
            events.retain(|event| self.filter.matches(event));
        }
        if events.is_empty() {
            return Ok(events);
        }
        for event in &events {
            self.close_reasons.count(event);
        }
        let mut text = Chunks::reusing(std::mem::take(&mut self.text), out);
        self.view.show_events(&events, &mut text)?;
        text.flush()?;
        self.text = text.into_buffer();
        Ok(events)
    }
}
