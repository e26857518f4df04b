//! Tests with lists that a kernel wrote (Linux 6.18, as root), and with changed copies of these
//! lists.
//!
//! In the captured network namespace, each family had a listener, a connection and a socket in
//! TIME_WAIT, all on loopback.

use std::{collections::VecDeque, io};

use nix::errno::Errno;

use super::*;
use crate::error::Help as _;

const IPV4: &[u8] = include_bytes!("captured/ipv4.bin");
const IPV6: &[u8] = include_bytes!("captured/ipv6.bin");
/// The end of a list.
const DONE: &[u8] = include_bytes!("captured/done.bin");
/// The kernel's answer to bytecode with an invalid instruction.
const ERROR: &[u8] = include_bytes!("captured/error.bin");
/// The answer to a request for DCCP sockets. The kernel module for DCCP was not loaded.
const NO_MODULE: &[u8] = include_bytes!("captured/no_module.bin");

/// The offsets of the flags and of the request number in the first message.
const FLAGS: usize = 6;
const SEQUENCE: usize = 8;
const NLM_F_DUMP_INTR: u8 = 0x10;

fn changed(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] = value;
    changed
}

/// Reads the datagrams as a list. The buffer is large enough for each captured datagram.
fn read(datagrams: &[&[u8]]) -> Result<(End, Vec<Socket>), Error> {
    let mut datagrams = datagrams.iter();
    read_from(|buffer: &mut [u8]| {
        let datagram = datagrams.next().expect("no end of the list was found before");
        buffer[..datagram.len()].copy_from_slice(datagram);
        Ok(datagram.len())
    })
}

fn read_from(
    receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> Result<(End, Vec<Socket>), Error> {
    let mut sockets = Vec::new();
    let end = dump::read(&mut [0; 1024], 1, receive, |bytes| {
        sockets.push(record::parse(bytes, true)?);
        Ok(())
    })?;
    Ok((end, sockets))
}

fn malformed(outcome: Result<(End, Vec<Socket>), Error>) -> String {
    match outcome {
        Err(Error::Malformed(what)) => what,
        other => panic!("taken for well formed: {other:?}"),
    }
}

#[test]
fn captured_lists_are_read_to_their_end() {
    for (list, loopback) in [(IPV4, "127.0.0.1"), (IPV6, "[::1]")] {
        let (end, mut sockets) = read(&[list, DONE]).expect("it is the kernel's");
        assert_eq!(end, End::Whole);
        // The kernel lists sockets in the order of the kernel's hash table.
        sockets.sort_by_key(|socket| socket.state);
        let [client, server, time_wait, listener] = sockets[..] else { panic!("{sockets:?}") };
        let states = [client, server, time_wait, listener].map(|socket| socket.state);
        let expected = [State::Established, State::Established, State::TimeWait, State::Listen];
        assert_eq!(states, expected);
        assert_eq!(listener.local.to_string(), format!("{loopback}:8080"));
        assert_eq!(listener.remote.port(), 0);
        assert_eq!((client.local, client.remote), (server.remote, server.local));
        assert_eq!(time_wait.remote.to_string(), format!("{loopback}:8080"));
        // Each full socket in the list has a file and a cgroup. In the captured lists, the user was
        // root, and the cgroup was the root cgroup.
        for socket in [client, server, listener] {
            assert_eq!((socket.holder.map(|holder| holder.uid), socket.cgroup), (Some(0), Some(1)));
        }
        assert_eq!((time_wait.holder, time_wait.cgroup), (None, None));
        // The timer value is the rest of the 60 seconds in TIME_WAIT.
        let left = time_wait.detail.timer.expect("a time-wait socket ends by a timer");
        assert!((1..=60).contains(&left.as_secs()), "{left:?}");
        assert_eq!((client.detail.timer, client.detail.backlog), (None, None));
        assert!(listener.detail.backlog.is_some(), "{listener:?}");
    }
}

#[test]
fn truncated_datagrams_are_refused() {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < IPV4.len() {
        let length = usize::from(IPV4[at]) + 256 * usize::from(IPV4[at + 1]);
        at += length;
        ends.push(at);
    }
    assert_eq!(ends.len(), 4);
    for length in 1..IPV4.len() {
        let outcome = read(&[&IPV4[..length], DONE]);
        if ends.contains(&length) {
            // The kernel itself can end a datagram between any two sockets.
            assert!(outcome.is_ok(), "{length}");
        } else {
            malformed(outcome);
        }
    }
    for length in 1..DONE.len() {
        malformed(read(&[IPV4, &DONE[..length]]));
    }
}

#[test]
fn wrong_bytes_never_panic() {
    for datagram in [IPV4, DONE, ERROR, NO_MODULE] {
        for at in 0..datagram.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let _ = read(&[&changed(datagram, at, value), DONE]);
            }
        }
    }
}

#[test]
fn oversized_datagrams_are_truncated() {
    let outcome = read_from(|buffer| Ok(buffer.len() + 1));
    assert!(matches!(outcome, Err(Error::Truncated { sent: 1025, room: 1024 })), "{outcome:?}");
}

#[test]
fn foreign_messages_are_malformed() {
    let other_request = changed(IPV4, SEQUENCE, 9);
    assert_eq!(malformed(read(&[&other_request, DONE])), "an answer to another request");
    assert_eq!(malformed(read(&[&changed(IPV4, 4, 77), DONE])), "a message of type 77");
    assert_eq!(malformed(read(&[&[]])), "an empty datagram");
    let unknown_state = changed(IPV4, 17, 14);
    assert_eq!(malformed(read(&[&unknown_state, DONE])), "record of a socket: unknown state 14");
    let mut receipt = ERROR.to_vec();
    receipt[16..20].fill(0);
    assert_eq!(malformed(read(&[&receipt])), "a receipt instead of a list");
}

#[test]
fn errors_of_the_kernel_are_returned_even_after_records() {
    let outcome = read(&[ERROR]);
    let Err(Error::Refused(error)) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32));

    let mut broken_off = DONE.to_vec();
    broken_off[16..20].copy_from_slice(&(-(Errno::ENOMEM as i32)).to_ne_bytes());
    let outcome = read(&[IPV4, &broken_off]);
    let Err(error @ Error::Refused(_)) = &outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().starts_with("cannot list the sockets of the kernel: Cannot alloc"));
    assert!(error.help().starts_with("try again"));

    let lost = changed(&DONE[..16], 0, 16);
    let outcome = read(&[IPV4, &changed(&lost, 4, 4)]);
    let Err(error @ Error::Refused(_)) = &outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("No buffer space available"), "{error}");
}

#[test]
fn missing_modules_have_a_help_line() {
    let outcome = read(&[NO_MODULE]);
    let Err(error) = &outcome else { panic!("{outcome:?}") };
    assert!(error.is_unavailable());
    assert!(error.help().contains("modprobe"), "{}", error.help());
}

#[test]
fn read_errors_are_returned_and_signals_are_ignored() {
    let mut answers = VecDeque::from([
        Err(io::Error::from(io::ErrorKind::Interrupted)),
        Err(io::Error::from_raw_os_error(Errno::ENOBUFS as i32)),
    ]);
    let outcome = read_from(|_| answers.pop_front().expect("the second one ends it"));
    let Err(error @ Error::System { .. }) = &outcome else { panic!("{outcome:?}") };
    assert!(
        error.to_string().starts_with("cannot read the kernel's list of sockets: No buffer space")
    );
}

/// Repeats the request until the kernel returns a consistent list. The first request receives the
/// first answer, the second request the second answer. Returns the number of matching sockets and
/// the number of listed sockets.
fn count(answers: &[&[&[u8]]], filter: &Filter) -> Result<(u64, u64), Error> {
    let mut answers = answers.iter().cycle();
    let list = |_: &Query<'_>, each: &mut dyn FnMut(&Socket)| {
        let (end, sockets) = read(answers.next().expect("it is endless"))?;
        sockets.iter().for_each(each);
        Ok(end == End::Whole)
    };
    let query = Query::of(filter);
    let answer = sum(list, &query, || 0, |sum, _| *sum += 1)?;
    Ok((answer.sum, answer.listed))
}

#[test]
fn interrupted_lists_are_requested_again_and_count_nothing_twice() {
    let interrupted = changed(IPV4, FLAGS, IPV4[FLAGS] | NLM_F_DUMP_INTR);
    let at_its_end = changed(DONE, FLAGS, DONE[FLAGS] | NLM_F_DUMP_INTR);
    let all = Filter::default();

    let third_time_lucky: [&[&[u8]]; 3] =
        [&[&interrupted, DONE], &[IPV4, &at_its_end], &[IPV4, DONE]];
    assert_eq!(count(&third_time_lucky, &all).expect("the third is whole"), (4, 4));

    let outcome = count(&[&[&interrupted, DONE]], &all);
    let Err(error @ Error::Interrupted(ATTEMPTS)) = &outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("interrupted 5 attempts"), "{error}");
}

#[test]
fn sockets_that_changed_state_are_filtered_again() {
    let states = [State::Established].into_iter().collect();
    let established = Filter { states, ..Filter::default() };
    assert_eq!(count(&[&[IPV4, DONE]], &established).expect("it is whole"), (2, 4));
}
