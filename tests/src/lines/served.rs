//! A server whose metrics are read ten times a second, in a namespace that the server does not
//! count.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use tcpstate_common::State;

use super::Line;
use crate::{
    netns::{Namespace, Place},
    served::{Metrics, Server, serve},
};

/// The pause between two scrapes.
const PAUSE: Duration = Duration::from_millis(100);
/// The label of each family, in the order of [`Family::BOTH`].
const LABELS: [&str; 2] = ["ipv4", "ipv6"];

/// A server, and the thread that reads its metrics.
#[derive(Debug)]
pub(super) struct Polled {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: Server,
    place: Place,
    is_ended: AtomicBool,
}

impl Polled {
    /// Starts a server that counts this namespace. Returns the scrapes of each family.
    pub(super) fn start(path: &str, namespace: &Namespace) -> (Self, [Receiver<Line>; 2]) {
        let netns = format!("path:{}", namespace.path().display());
        let place = Place::new();
        let server = place.inside(|| Server::start(&mut serve(path, &["--netns", &netns])));
        let shared = Arc::new(Shared { server, place, is_ended: AtomicBool::new(false) });
        let [v4, v6] = [mpsc::channel(), mpsc::channel()];
        let senders = [v4.0, v6.0];
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.scrape(&senders)
        });
        (Self { shared, thread: Some(thread) }, [v4.1, v6.1])
    }

    /// Requests a scan of all sockets. The scan ends later.
    pub(super) fn scan(&self) {
        self.shared.server.signal(Signal::SIGHUP);
    }

    /// The text that the server has printed on stderr until now.
    pub(super) fn said(&self) -> String {
        self.shared.server.said()
    }
}

impl Shared {
    fn scrape(&self, senders: &[Sender<Line>; 2]) {
        self.place.inside(|| {
            while !self.is_ended.load(Ordering::Relaxed) {
                let time = SystemTime::now();
                let metrics = self.server.metrics();
                for (label, sender) in LABELS.into_iter().zip(senders) {
                    // The end of the comparison needs no scrapes any more.
                    let _ = sender.send(line(&metrics, label, time));
                }
                thread::sleep(PAUSE);
            }
        });
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::Relaxed);
        let result = self.thread.take().map(JoinHandle::join);
        // A second panic would hide the first panic.
        assert!(result.is_none_or(|it| it.is_ok()) || thread::panicking(), "a scrape failed");
    }
}

/// Returns the gauges of one family. The cut was made after `time`.
fn line(metrics: &Metrics, family: &str, time: SystemTime) -> Line {
    #[expect(clippy::cast_possible_truncation, reason = "counts are whole numbers below 2^53")]
    let number = |series: &str| {
        metrics.get(series).filter(|count| !count.is_nan()).map(|&count| count as i64)
    };
    let gauges = State::GAUGES.map(|state| {
        let label = state.label();
        number(&format!("tcpstate_connections{{state=\"{label}\",family=\"{family}\"}}"))
    });
    let unreconciled = number("tcpstate_unreconciled_events");
    let is_exact = number("tcpstate_exact") == Some(1);
    let state = |(state, gauge): (State, Option<i64>)| format!("{state} {gauge:?}");
    let states: Vec<String> = State::GAUGES.into_iter().zip(gauges).map(state).collect();
    Line {
        time,
        arrival: SystemTime::now(),
        is_exact,
        unreconciled: unreconciled.and_then(|number| number.try_into().ok()),
        gauges,
        elsewhere: Vec::new(),
        text: format!("exact {is_exact}, unreconciled {unreconciled:?}, {}", states.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_have_the_gauges_of_their_family() {
        let series = |name: &str, count| (name.to_owned(), count);
        let metrics = Metrics::from([
            series("tcpstate_exact", 1.0),
            series("tcpstate_unreconciled_events", 3.0),
            series("tcpstate_connections{state=\"listen\",family=\"ipv4\"}", 7.0),
            series("tcpstate_connections{state=\"listen\",family=\"ipv6\"}", 5.0),
        ]);
        let line = line(&metrics, LABELS[1], SystemTime::now());
        assert_eq!((line.is_exact, line.unreconciled), (true, Some(3)));
        assert_eq!(line.gauges[..2], [Some(5), None]);
    }
}
