//! The section `truth` of `cargo xtask bench` measures the rate of connections at which each tool
//! begins to lose transitions.
//!
//! The benchmark computes the true number of transitions from the number of connections that were
//! made. A transition that is not in a tool's output counts as lost, even if the tool reports no
//! loss. The threads that make traffic, the kernel and the tool share the CPUs, as in production.
//! No socket exists before the traffic begins or after the traffic ends, so the benchmark can
//! compute gauges from the transitions that a tool prints.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tcpstate::{aggregate::Reconcile, tracer::Tracer};
use tcpstate_tests::{
    netns::Namespace,
    own::Own,
    peers::Peer,
    rows::{Turns, is_full},
    traced::{compare, options},
    traffic::{LISTENERS, Load, Style},
    truth, wait,
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");
const EVENTS: &str = "trace --events -o json";
const GAUGES: &str = "trace, gauges";
/// The column with the number of scans that tcpstate made because events were missed. The column
/// does not count the first scan of a run.
const SCANS: &str = "scans";
/// The interval at which `trace` checks whether a scan is due.
const LOOK: Duration = Duration::from_millis(500);
const THREADS: usize = 2;
/// The number of transitions of a connection that a RST closes, and the number of transitions of a
/// listener.
const TRANSITIONS: [u64; 2] = [6, 2];

fn main() {
    let (rates, time): (&[Option<u32>], _) = if is_full() {
        // `None` means that the rate of connections is not limited.
        (
            &[Some(1_000), Some(5_000), Some(10_000), Some(20_000), Some(30_000), None],
            Duration::from_secs(4),
        )
    } else {
        (&[None], Duration::from_secs(1))
    };
    let peers: &[Peer] = if is_full() { &Peer::ALL } else { &[] };
    let _namespace = Namespace::enter();
    for &rate in rates {
        let mut truth = Truth { rate, time, rows: Turns::new("truth", rate.map(u64::from)) };
        truth.of_events();
        truth.of_gauges();
        for &peer in peers {
            truth.of_peer(peer);
        }
        truth.rows.print("");
    }
}

/// The measurements at one rate of connections.
struct Truth {
    rate: Option<u32>,
    time: Duration,
    rows: Turns,
}

/// The number of transitions that the traffic made, and the duration of the traffic.
struct Made {
    transitions: u64,
    time: Duration,
}

impl Truth {
    fn of_events(&mut self) {
        let own = Own::start(TCPSTATE, &["trace", "--events", "-o", "json"]);
        let made = self.load(thread::sleep);
        let (mut seen, mut reported, mut scans) = (0, 0, 0);
        for line in own.stop() {
            if line.contains(r#""hook":"transitions""#) && line.contains(r#""type":"transition""#) {
                seen += 1;
            } else if line.contains(r#""type":"end""#) {
                let end: Value = serde_json::from_str(&line).expect("it is JSON");
                let number = |key: &str| end[key].as_u64().expect("it is known");
                (reported, scans) = (number("lost_events"), number("reconciles"));
            }
        }
        self.add(EVENTS, &made, seen);
        self.rows.add(EVENTS, "reported as lost", reported as f64);
        self.rows.add(EVENTS, SCANS, scans as f64);
    }

    /// After the traffic has ended, measures the difference between the tool's gauges and the true
    /// counts. The gauges are computed from counters that the BPF programs keep in the kernel.
    /// These counters are exact even if the event buffer is full.
    fn of_gauges(&mut self) {
        let mut tracer = Tracer::start(&options()).expect("the kernel loads the programs");
        let made = self.load(|time| look_for_scans(&mut tracer, time));
        let snapshot = tracer.snapshot().expect("a snapshot can be taken");
        let seen = snapshot.transitions.iter().map(|pair| pair.count).sum();
        self.add(GAUGES, &made, seen);
        let wrong = compare(&snapshot, tracer.probe()).err().map_or(0, |error| error.sockets);
        self.rows.add(GAUGES, SCANS, snapshot.reconciles as f64);
        self.rows.add(GAUGES, "gauges off by", wrong as f64);
    }

    fn of_peer(&mut self, peer: Peer) {
        match peer.start() {
            Ok(running) => {
                let made = self.load(thread::sleep);
                let truth = truth::sockets().all();
                // Wait until the compared tool has read the remaining events from its buffers.
                thread::sleep(Duration::from_secs(1));
                let pairs = running.stop();
                self.add(peer.name(), &made, pairs.total());
                let wrong = pairs.gauges_off_by(&truth);
                self.rows.add(peer.name(), "gauges off by", wrong as f64);
            }
            Err(why) => self.rows.absent(peer.name(), why),
        }
    }

    /// Makes traffic until `meanwhile` returns. Returns the number of transitions and the duration.
    fn load(&self, meanwhile: impl FnOnce(Duration)) -> Made {
        let began = Instant::now();
        let load = Load::paced(THREADS, Style::Rst, self.rate);
        meanwhile(self.time);
        let time = began.elapsed();
        let [of_connection, of_listener] = TRANSITIONS;
        let transitions = of_connection * load.stop() + of_listener * (THREADS * LISTENERS) as u64;
        // Wait until the BPF programs of the last transitions have run.
        wait::grace_period();
        Made { transitions, time }
    }

    fn add(&mut self, what: &str, made: &Made, seen: u64) {
        let transitions = made.transitions as f64;
        let lost = made.transitions.saturating_sub(seen) as f64;
        self.rows.add(what, "transitions/s", transitions / made.time.as_secs_f64());
        self.rows.add(what, "lost", lost);
        self.rows.add(what, "lost, %", 100.0 * lost / transitions);
    }
}

/// Checks repeatedly whether a scan is due, and makes each scan that is due. The time between two
/// checks is equal to the time in `trace`.
fn look_for_scans(tracer: &mut Tracer, time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        thread::sleep(LOOK.min(time.saturating_sub(began.elapsed())));
        tracer.reconcile_if_due(Reconcile::Auto).expect("a scan can be made");
    }
}
