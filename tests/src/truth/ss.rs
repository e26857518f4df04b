//! Runs the program `ss`, which uses netlink, to count the sockets in each state. The program `ss`
//! is a second independent truth.

use std::{
    process::{Command, Output},
    thread,
};

use tcpstate_common::State;

use super::Counts;
use crate::files;

/// Runs `ss` in the thread's namespace.
///
/// # Panics
/// Panics if there is no `ss`, or if it fails.
#[must_use]
pub fn ss() -> Counts {
    ss_filtered(&[])
}

/// Runs `ss` with a filter, for example `-4` or `sport = :80`.
///
/// # Panics
/// Panics if there is no `ss`, or if it fails.
#[must_use]
pub fn ss_filtered(filter: &[&str]) -> Counts {
    parse(&run(&[&["-a"], filter].concat()))
}

/// Runs `ss -K` to close the sockets that match a filter. An example of a filter is `state
/// time-wait`. The program `ss` skips sockets that the kernel does not allow to be closed.
///
/// # Panics
/// Panics if there is no `ss`, or if it fails.
pub fn ss_kill(filter: &[&str]) {
    run(&[&["-K"], filter].concat());
}

/// Runs `ss` for TCP, without name resolution.
fn run(arguments: &[&str]) -> String {
    let run = || -> Output {
        // The child process must not have copies of the sockets that `ss` counts, not even for a
        // moment.
        files::own_table();
        Command::new("ss").args(["-H", "-t", "-n"]).args(arguments).output().expect("ss can be run")
    };
    let output =
        thread::scope(|scope| scope.spawn(run).join()).expect("ss (of iproute2) is installed");
    assert!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn parse(rows: &str) -> Counts {
    let mut counts = Counts::default();
    for row in rows.lines() {
        let name = row.split_ascii_whitespace().next();
        let state = name
            .and_then(state_named)
            .unwrap_or_else(|| panic!("ss shows no state that we know: {row:?}"));
        counts[state] += 1;
    }
    counts
}

fn state_named(name: &str) -> Option<State> {
    Some(match name {
        "ESTAB" => State::Established,
        "SYN-SENT" => State::SynSent,
        "SYN-RECV" => State::SynRecv,
        "FIN-WAIT-1" => State::FinWait1,
        "FIN-WAIT-2" => State::FinWait2,
        "TIME-WAIT" => State::TimeWait,
        "UNCONN" => State::Close,
        "CLOSE-WAIT" => State::CloseWait,
        "LAST-ACK" => State::LastAck,
        "LISTEN" => State::Listen,
        "CLOSING" => State::Closing,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_column_is_the_state() {
        let counts = parse(concat!(
            "LISTEN     0      4096       127.0.0.1:8080      0.0.0.0:*    \n",
            "TIME-WAIT  0      0          127.0.0.1:50148   127.0.0.1:8080 \n",
            "TIME-WAIT  0      0              [::1]:50150       [::1]:8080 \n",
            "FIN-WAIT-1 0      1          127.0.0.1:50152   127.0.0.1:8080 \n",
        ));
        let expected = [(State::Listen, 1), (State::TimeWait, 2), (State::FinWait1, 1)];
        assert_eq!(counts, Counts::from(expected.as_slice()));
    }
}
