//! `cargo xtask bench`, section `truth`: at which rate of connections who begins to lose transitions.
//!
//! The load knows how many transitions it made: what is not in the lines was lost, whatever the program says. The load, the kernel's work for it and
//! the lines have to share the machine's processors, as they do wherever this runs.

use std::{thread, time::Duration};

use serde_json::Value;
use tcpstate::tracer::Tracer;
use tcpstate_tests::{
    netns::Namespace,
    own::Own,
    peers::Peer,
    rows::{Turns, is_full},
    traced::{compare, options},
    traffic::{LISTENERS, Load, Style},
    wait,
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");
const EVENTS: &str = "trace --events -o json";
const GAUGES: &str = "trace, its gauges";
const THREADS: usize = 2;
/// Of a connection that is reset; of a listener.
const TRANSITIONS: [u64; 2] = [6, 2];

fn main() {
    let (rates, time): (&[Option<u32>], _) = if is_full() {
        // The last is as fast as it goes.
        (
            &[Some(1_000), Some(5_000), Some(10_000), Some(20_000), Some(30_000), None],
            Duration::from_secs(4),
        )
    } else {
        (&[None], Duration::from_secs(1))
    };
    let peers: &[Peer] = if is_full() { &[Peer::Tcpstates, Peer::TcpstatesBcc] } else { &[] };
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

/// What is seen of a load.
struct Truth {
    rate: Option<u32>,
    time: Duration,
    rows: Turns,
}

impl Truth {
    fn of_events(&mut self) {
        let own = Own::start(TCPSTATE, &["trace", "--events", "-o", "json"]);
        let made = self.load();
        let (mut seen, mut told) = (0, 0);
        for line in own.stop() {
            if line.contains(r#""hook":"transitions""#) && line.contains(r#""type":"transition""#) {
                seen += 1;
            } else if line.contains(r#""type":"end""#) {
                let end: Value = serde_json::from_str(&line).expect("it is JSON");
                told = end["lost_events"].as_u64().expect("it is known");
            }
        }
        self.add(EVENTS, made, seen);
        self.rows.add(EVENTS, "lost, by its own word", told as f64);
    }

    /// How far off they are at the end: gauges are kept by counters, which lose nothing for want of room.
    fn of_gauges(&mut self) {
        let mut tracer = Tracer::start(&options()).expect("the kernel takes our programs");
        let made = self.load();
        let snapshot = tracer.snapshot().expect("a snapshot can be taken");
        let seen = snapshot.transitions.iter().map(|pair| pair.count).sum();
        self.add(GAUGES, made, seen);
        let wrong = compare(&snapshot, tracer.probe()).err().map_or(0, |error| error.sockets);
        self.rows.add(GAUGES, "gauges off by", wrong as f64);
    }

    fn of_peer(&mut self, peer: Peer) {
        match peer.start() {
            Ok(running) => {
                let made = self.load();
                // It reads what is left.
                thread::sleep(Duration::from_secs(1));
                self.add(peer.name(), made, running.stop());
            }
            Err(why) => self.rows.absent(peer.name(), why),
        }
    }

    /// How many transitions it made.
    fn load(&self) -> u64 {
        let load = Load::paced(THREADS, Style::Rst, self.rate);
        thread::sleep(self.time);
        let [of_connection, of_listener] = TRANSITIONS;
        let made = of_connection * load.stop() + of_listener * (THREADS * LISTENERS) as u64;
        // What came last comes to be seen.
        wait::grace_period();
        made
    }

    fn add(&mut self, what: &str, made: u64, seen: u64) {
        let lost = made.saturating_sub(seen) as f64;
        self.rows.add(what, "transitions/s", made as f64 / self.time.as_secs_f64());
        self.rows.add(what, "lost", lost);
        self.rows.add(what, "lost, %", 100.0 * lost / made as f64);
    }
}
