//! `cargo xtask bench --quick`: at which rate lines of `trace --events -o json` into a file begin to get lost, with the
//! default sizes.
//!
//! As fast as so many threads can open and close connections. The load, the kernel's work for it and the lines have to share the
//! machine's processors, as they do wherever this runs.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tcpstate_tests::{
    netns::Namespace,
    traffic::{Load, Style},
    wait,
};

const THREADS: [usize; 3] = [1, 2, 4];
const TIME: Duration = Duration::from_secs(5);

fn main() {
    let _namespace = Namespace::enter();
    let processors = thread::available_parallelism().expect("there is one at least");
    println!("\ntrace --events -o json into a file, {processors} processors, {TIME:?} each");
    println!(
        "{:<8} {:>14} {:>14} {:>12} {:>14}",
        "threads", "transitions/s", "lines", "lost", "of these, %"
    );
    for threads in THREADS {
        let Run { lines, lost, rate } = run(threads);
        let share = 100.0 * lost as f64 / (lines + lost) as f64;
        println!("{threads:<8} {rate:>14.0} {lines:>14} {lost:>12} {share:>14.3}");
    }
}

struct Run {
    lines: u64,
    lost: u64,
    /// Transitions a second, with those that were lost.
    rate: f64,
}

fn run(threads: usize) -> Run {
    let file = tempfile::NamedTempFile::new().expect("there is room for a file");
    let mut tcpstate = Command::new(env!("CARGO_BIN_EXE_tcpstate"))
        .args(["trace", "--events", "-o", "json"])
        .stdout(Stdio::from(file.reopen().expect("it was just made")))
        .spawn()
        .expect("it is built");
    wait::until("the start line", || file.as_file().metadata().is_ok_and(|file| file.len() > 0));
    let began = Instant::now();
    let load = Load::start(threads, Style::Rst);
    thread::sleep(TIME);
    let _ = load.stop();
    let seconds = began.elapsed().as_secs_f64();
    let pid = Pid::from_raw(tcpstate.id().cast_signed());
    kill(pid, Signal::SIGINT).expect("it runs");
    assert!(tcpstate.wait().expect("it is our child").success());
    let (lines, lost) = sums(file.as_file());
    Run { lines, lost, rate: (lines + lost) as f64 / seconds }
}

/// Lines of transitions, and what the end line says was lost of them.
fn sums(file: &File) -> (u64, u64) {
    let mut file = file.try_clone().expect("files can be shared");
    std::io::Seek::rewind(&mut file).expect("it is a file");
    let mut lines = 0;
    for line in BufReader::new(file).lines() {
        let line = line.expect("it can be read");
        if line.contains(r#""hook":"transitions""#) && line.contains(r#""type":"transition""#) {
            lines += 1;
        } else if line.contains(r#""type":"end""#) {
            let end: Value = serde_json::from_str(&line).expect("it is JSON");
            return (lines, end["lost_events"].as_u64().expect("it is known"));
        }
    }
    panic!("no end line");
}
