//! A run of `tcpstate trace` or `tcpstate hist` for the whole soak test. A thread reads the lines
//! of the run as fast as possible, and keeps only the lines that the checks need.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcpstate_common::State;
use tcpstate_tests::{
    command::{bound_to_us, signal},
    netns::Place,
    truth::Counts,
    wait,
};

/// A running `trace` or `hist`. The process is killed when this value is dropped.
pub(crate) struct Follower {
    pub(crate) name: &'static str,
    child: Child,
    reader: Option<JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
}

/// The lines that the checks need.
#[derive(Default)]
struct Seen {
    /// The number of lines of the tracepoint, which are the events that `transitions` counts.
    transitions: u64,
    snapshots: u64,
    /// The last line with the gauges of all namespaces: a snapshot or the end line.
    last: String,
    /// The last line of the namespace with the traffic.
    row: String,
}

impl Follower {
    /// Starts tcpstate with these arguments, and returns after the start line. `place` is the
    /// namespace with the traffic.
    pub(crate) fn start(name: &'static str, arguments: &[&str], place: &Place) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
        command.arg(name).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = bound_to_us(&mut command).spawn().expect("it is built");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut first = String::new();
        stdout.read_line(&mut first).expect("it prints text");
        assert!(first.starts_with(r#"{"type":"start""#), "{name}: {first}");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (shared, netns) = (Arc::clone(&seen), format!(r#""netns":"{}""#, place.inode()));
        let reader = Some(thread::spawn(move || follow(stdout, &netns, &shared)));
        Self { name, child, reader, seen }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The number of event lines and the number of snapshots until now.
    pub(crate) fn lines(&self) -> (u64, u64) {
        let seen = self.seen.lock().expect("no thread panicked with it");
        (seen.transitions, seen.snapshots)
    }

    /// Waits for an exact snapshot in which the gauges of the namespace are equal to `truth`.
    pub(crate) fn await_exact(&self, truth: &Counts) {
        let what = format!("exact and true gauges of {}", self.name);
        wait::until_within(super::PATIENCE, &what, || {
            let seen = self.seen.lock().expect("no thread panicked with it");
            !seen.row.is_empty() && parse(&seen.last)["exact"] == true && agrees(&seen.row, truth)
        });
    }

    /// Ends the run with SIGTERM, and checks the last lines of the run.
    pub(crate) fn end(mut self, truth: &Counts) {
        signal(&self.child, Signal::SIGTERM);
        let reader = self.reader.take().expect("a run ends once");
        reader.join().expect("the lines are text");
        assert!(self.child.wait().expect("it is our child").success());
        let seen = self.seen.lock().expect("no thread panicked with it");
        let end = parse(&seen.last);
        assert_eq!(end["type"], "end", "{end}");
        assert_eq!(end["exact"], true, "{end}");
        assert!(agrees(&seen.row, truth), "{} is not {truth:?}", seen.row);
        let lost = end["lost_events"].as_u64().expect("a number");
        let counted: u64 = end["transitions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|pair| pair["count"].as_u64().expect("a number"))
            .sum();
        println!(
            "{}: {} lines of events, {lost} lost, {counted} counted; {} snapshots, {} audits, {} scans, {} missed",
            self.name,
            seen.transitions,
            seen.snapshots,
            end["audits"],
            end["reconciles"],
            end["missed"]
        );
        if seen.transitions > 0 {
            assert_eq!(seen.transitions + lost, counted, "lines and lost events: {end}");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads all lines. Parsing each line would take more CPU time than tcpstate.
fn follow(mut stdout: BufReader<ChildStdout>, netns: &str, shared: &Mutex<Seen>) {
    let mut line = String::new();
    while stdout.read_line(&mut line).expect("it prints text") > 0 {
        let mut seen = shared.lock().expect("no thread panicked with it");
        if line.starts_with(r#"{"type":"transition""#) {
            seen.transitions += u64::from(line.contains(r#""hook":"transitions""#));
        } else if line.starts_with(r#"{"type":"namespace""#) {
            if line.contains(netns) {
                seen.row.clone_from(&line);
            }
        } else if line.starts_with(r#"{"type":"snapshot""#) {
            seen.snapshots += 1;
            seen.last.clone_from(&line);
        } else if line.starts_with(r#"{"type":"end""#) {
            seen.last.clone_from(&line);
        }
        drop(seen);
        line.clear();
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Returns whether the gauges of this line are equal to the sockets in the kernel.
fn agrees(line: &str, truth: &Counts) -> bool {
    let line = parse(line);
    State::GAUGES.iter().all(|state| line["states"][state.label()]["current"] == truth[*state])
}
