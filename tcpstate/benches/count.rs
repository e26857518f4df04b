//! `cargo xtask bench --quick`: processor time of `tcpstate count` against the pipeline that it replaces.
//!
//! Both run by turns, in one namespace full of TIME_WAIT, and medians are compared: user and system time of all
//! processes, start and end included. Times are printed, never asserted.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use tcpstate_tests::{
    netns::Namespace,
    traffic::{Family, leave_time_wait},
};

/// As many as in the note that everybody finds.
const SOCKETS: usize = 46_807;
/// Odd, so that there is a median among them.
const TURNS: usize = 11;

const PIPELINE: &str = "ss -tan | awk '{++s[$1]} END {for (state in s) print state, s[state]}'";

fn main() {
    let _namespace = Namespace::enter();
    leave_time_wait(SOCKETS, &[Family::V4]);
    let mut pipeline = Command::new("sh");
    pipeline.args(["-c", PIPELINE]);
    let mut count = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    count.arg("count");
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        old.push(processor_time(&mut pipeline, "TIME-WAIT 46807"));
        new.push(processor_time(&mut count, "TIME_WAIT\t46807"));
    }
    println!("\nmedians of {TURNS} alternating runs at {SOCKETS} TIME_WAIT, processor time");
    println!("{:<24} {:>9} {:>9} {:>9}", "command", "ms", "spread", "ratio");
    let base = median(&mut old);
    for (name, turns) in [("ss -tan | awk", &mut old), ("tcpstate count", &mut new)] {
        let time = median(turns);
        let spread = turns[TURNS - 1].saturating_sub(turns[0]);
        println!(
            "{name:<24} {:>9.1} {:>9.1} {:>9.2}",
            1e3 * time.as_secs_f64(),
            1e3 * spread.as_secs_f64(),
            time.as_secs_f64() / base.as_secs_f64()
        );
    }
}

/// What a command takes, with its children; it has to print a line.
fn processor_time(command: &mut Command, line: &str) -> Duration {
    let before = children();
    let output = command.stdin(Stdio::null()).output().expect("it is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.lines().any(|text| text == line), "no {line:?}:\n{text}");
    children().saturating_sub(before)
}

/// All ended children of this process, up to now.
fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every process may ask");
    let time = usage.user_time() + usage.system_time();
    Duration::from_micros(time.num_microseconds().unsigned_abs())
}

/// Sorts, and takes the one in the middle.
fn median(turns: &mut [Duration]) -> Duration {
    turns.sort();
    turns[turns.len() / 2]
}
