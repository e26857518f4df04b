//! A tracer of the library that reports like `tcpstate trace`, for machines without the program.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tcpstate::{
    aggregate::Reconcile,
    error::Help as _,
    probe::{Options, Testing},
    tracer::Tracer,
};

use super::Line;
use crate::watch::Scope;

/// The time between two snapshots.
const INTERVAL: Duration = Duration::from_millis(100);

/// A thread with a tracer. Dropping the value ends the thread.
#[derive(Debug)]
pub(super) struct Worker {
    is_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    testing: Testing,
}

impl Worker {
    /// Starts a tracer in the namespace of the calling thread, and waits until it counts.
    pub(super) fn start(scope: Scope, testing: Testing) -> (Self, Receiver<Line>) {
        let options = scope.options(&Options { testing: testing.clone(), ..Options::default() });
        let is_ended = Arc::new(AtomicBool::new(false));
        let (say_ready, ready) = mpsc::channel();
        let (sender, lines) = mpsc::channel();
        let thread = thread::spawn({
            let is_ended = Arc::clone(&is_ended);
            move || {
                // A tracer must stay on the thread that started it.
                let tracer = Tracer::start(&options)
                    .unwrap_or_else(|error| panic!("{error}; {}", error.help()));
                say_ready.send(()).expect("the caller waits");
                work(tracer, &sender, &is_ended);
            }
        });
        ready.recv().expect("the tracer starts");
        (Self { is_ended, thread: Some(thread), testing }, lines)
    }

    /// Starts another tracer with the same options.
    pub(super) fn restart(&self, scope: Scope) -> (Self, Receiver<Line>) {
        Self::start(scope, self.testing.clone())
    }
}

/// Reports until the worker is dropped, as the main loop of `trace` does.
fn work(mut tracer: Tracer, sender: &Sender<Line>, is_ended: &AtomicBool) {
    while !is_ended.load(Ordering::Relaxed) {
        thread::sleep(INTERVAL);
        let due = tracer.reconcile_if_due(Reconcile::Auto);
        due.unwrap_or_else(|error| panic!("{error}"));
        let snapshot = tracer.snapshot().unwrap_or_else(|error| panic!("{error}"));
        // The end of the comparison needs no lines any more.
        let _ = sender.send(Line::of(&snapshot));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::Relaxed);
        let result = self.thread.take().map(JoinHandle::join);
        // A second panic would hide the first panic.
        assert!(result.is_none_or(|it| it.is_ok()) || thread::panicking(), "the tracer failed");
    }
}
