//! Compares the lines of events with the lines that `serde_json` writes.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use serde::Serialize;
use tcpstate_common::State;

use super::*;
use crate::{
    report::{Hook, bare},
    view::{
        event_lines::LineWriter,
        events::{EventLines, Person, Texts, values::Values},
        json_lines::{MAX_LINE, serialize},
    },
};

/// An event as one JSON line. The names of the fields are the keys.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    version: u32,
    #[serde(flatten)]
    values: Values<'a>,
    closed_by: Option<Person<'a>>,
    opened_by: Option<Person<'a>>,
}

fn expected(events: &[Event]) -> String {
    let (mut text, mut texts) = (Vec::new(), Texts::default());
    for event in events {
        let line = Line {
            r#type: "transition",
            version: VERSION,
            values: Values::of(event, &mut texts),
            closed_by: event.closed_by.as_ref().map(Person::from),
            opened_by: event.opened_by.as_ref().map(Person::from),
        };
        serialize(&line, &mut text).expect("memory takes all");
    }
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn written(lines: &mut LineWriter, events: &[Event]) -> String {
    let mut text = Vec::new();
    lines.write(events, EventLines::default(), &mut text).expect("memory takes all");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// Chooses values. Equal seeds give equal values.
struct Chooser(u64);

impl Chooser {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn of<T: Clone>(&mut self, values: &[T]) -> T {
        let at = self.number() % values.len() as u64;
        values[usize::try_from(at).expect("a slice is small")].clone()
    }

    /// Returns a number with any number of bits, or `None`.
    fn bits(&mut self, max: u32) -> Option<u64> {
        let bits = u32::try_from(self.number() % u64::from(max + 2)).expect("it is small");
        let number = self.number();
        match bits {
            0 => None,
            1 => Some(0),
            bits => Some(number >> (65 - bits)),
        }
    }

    fn nanos(&mut self) -> Duration {
        let nanos = self.bits(64).unwrap_or_default();
        let unit = self.of(&[1, 1, 10, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000]);
        Duration::from_nanos(nanos / unit * unit)
    }

    fn name(&mut self) -> OsString {
        if self.number().is_multiple_of(64) {
            return OsString::from_vec(vec![self.of(b"x\x01\xff"); 4095]);
        }
        let name: &[u8] = self.of(&[
            b"",
            b"curl",
            b"nginx: worker 1",
            b"tab\tand\nnewline",
            b"\x1b[31mred\x07\x7f\0",
            b"say \"no\" C:\\x",
            b"\xff\xfe not UTF-8 \xe2\x28",
            "\u{4f60}\u{597d} caf\u{e9} \u{202e} \u{1f980}\u{e0001} \u{9b}".as_bytes(),
        ]);
        OsString::from_vec(name.to_vec())
    }

    fn caller(&mut self) -> Option<Caller> {
        let pid = self.bits(32).map(|pid| u32::try_from(pid).expect("it has 32 bits"));
        let caller = Caller { pid, comm: self.name() };
        self.of(&[None, Some(caller)])
    }

    fn address(&mut self) -> Option<IpAddr> {
        let (bits, more) = (self.number(), self.number());
        let any_v6 = u128::from(bits) << 64 | u128::from(more);
        let known = ["0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1"];
        let known = self.of(&known).parse().expect("it is an address");
        let [a, b, c, d, ..] = bits.to_be_bytes();
        self.of(&[None, Some(known), Some([a, b, c, d].into()), Some(any_v6.to_be_bytes().into())])
    }

    fn event(&mut self, cgroups: &[Option<Arc<Cgroup>>]) -> Event {
        let noon = UNIX_EPOCH + Duration::from_secs(1_795_521_600);
        let (since, ago) = (self.nanos(), self.nanos());
        let near = Duration::from_nanos(since.subsec_nanos().into());
        let narrow = |bits: u64| u32::try_from(bits).expect("it has 32 bits");
        let port = |bits: u64| u16::try_from(bits).expect("it has 16 bits");
        Event {
            hook: self.of(&[Hook::Transitions, Hook::TimeWait, Hook::SynRecv]),
            time: self.of(&[noon + near, noon + near, UNIX_EPOCH + since, UNIX_EPOCH - ago]),
            monotonic: self.nanos(),
            from: self.of(&State::ALL),
            to: self.of(&State::ALL),
            family: self.of(&Family::BOTH),
            local: self.address(),
            local_port: self.bits(16).map(port),
            remote: self.address(),
            remote_port: self.bits(16).map(port),
            netns: self.bits(32).map(narrow).unwrap_or_default(),
            cookie: self.bits(64),
            pid: self.bits(32).map(narrow),
            comm: Some(self.name()).filter(|_| self.number().is_multiple_of(3)),
            uid: self.bits(32).map(narrow),
            cgroup: self.of(cgroups),
            duration: Some(self.nanos()).filter(|_| !self.number().is_multiple_of(3)),
            ended_by: self
                .of(&[None, Some(self.0)])
                .map(|number| CloseReason::ALL[usize::try_from(number % 8).expect("it is small")]),
            closed_by: self.caller(),
            opened_by: self.caller(),
            connection: None,
        }
    }
}

fn cgroups() -> Vec<Option<Arc<Cgroup>>> {
    let id = "0123456789abcdef".repeat(4);
    let paths = [
        "/".to_owned(),
        "/system.slice/nginx.service".to_owned(),
        format!("/system.slice/docker-{id}.scope"),
        format!("/machine.slice/crio-{id}.scope"),
        format!("/kubepods/besteffort/pod7/{id}"),
        "/machine.slice/systemd-nspawn@\u{1}web.service".to_owned(),
        "/user.slice/\u{1b}\"\\\u{202e}.service".to_owned(),
        "\u{1}".repeat(4095),
        format!("/{}.service", "\"".repeat(4000)),
    ];
    let many = (0..40).map(|number| format!("/app.slice/app{number}.service"));
    let paths = paths.into_iter().chain(many);
    paths.map(|path| Some(Arc::new(Cgroup::from(path)))).chain([const { None }; 20]).collect()
}

#[test]
fn lines_are_equal_to_the_lines_of_serde_json() {
    let (cgroups, mut lines) = (cgroups(), LineWriter::default());
    let mut chooser = Chooser(0x9e37_79b9_7f4a_7c15);
    for _ in 0..300 {
        let events: Vec<Event> = (0..40).map(|_| chooser.event(&cgroups)).collect();
        let (written, expected) = (written(&mut lines, &events), expected(&events));
        for (written, expected) in written.lines().zip(expected.lines()) {
            assert_eq!(written, expected);
            assert!(written.len() < MAX_LINE);
        }
        assert_eq!(written.len(), expected.len());
    }
}

#[test]
fn bare_event_has_null_for_unknown_values() {
    let event = bare(State::Close, State::SynSent);
    let written = written(&mut LineWriter::default(), std::slice::from_ref(&event));
    assert_eq!(written, expected(&[event]));
    assert_eq!(written.matches(":null").count(), 16, "{written}");
}
