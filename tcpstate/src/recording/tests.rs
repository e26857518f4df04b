//! Tests that the reader returns the records that were written, and that the reader reports damage.
//!
//! This test file is long because the file contains a record in which every field is set.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use minicbor::Encoder;
use tcpstate_common::{State, abi::Flow, histogram::By};

use super::{
    Error, Limits, MAX_MEMORY, Part, Reader, Record, Recorder, Recording, Unreadable, Writer,
    budget::Budget, frame, wire,
};
use crate::{
    error::Help as _,
    report::{
        Attached, Caller, CloseReason, CloseReasons, Connection, Cost, Counted, Difference, Event,
        Exits, Family, FamilyRow, Gauge, Group, Histogram, Histograms, Hook, Hooks, Key, Limit,
        Losses, Missed, NamespaceRow, NamespaceStart, Of, OwnerCounts, OwnerGroup, OwnerKind,
        Owners, PortReasons, Process, Provider, ReasonCounts, Report, Role, Runs, Snapshot,
        SocketKind, Start, Tally, TimeWait, Transition, Transitions, Untimed, Verdict, key::Value,
    },
};

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::new(1_795_521_600 + seconds, 123_456_789)
}

fn gauges(first: i64) -> [Gauge; 10] {
    let mut gauges = [Gauge::default(); 10];
    gauges[0] =
        Gauge { current: Some(first), entered: Some(3), left: Some(u64::MAX), corrected: Some(-7) };
    gauges
}

fn attached() -> Attached {
    let hooks = Hooks {
        transitions: Some(Transitions::TpBtf),
        time_wait: Some(Provider::Fentry),
        syn_recv: Some(Provider::None),
    };
    Attached { hooks, limits: vec![Limit::Recorded("syn_recv: none, because \u{1b}[2J".into())] }
}

fn start() -> Start {
    Start {
        time: time(0),
        netns: Counted::One(4_026_531_840),
        kernel: "6.12.9\nowned".into(),
        attached: attached(),
        states: gauges(-1),
        namespaces: Some(vec![
            NamespaceStart { netns: 7, name: Some("red".into()), states: gauges(2) },
            NamespaceStart { netns: 8, name: None, states: gauges(3) },
        ]),
    }
}

/// Returns counts by owner that contain every kind of owner and value.
fn owners() -> Owners {
    let (total, interval) = (
        OwnerCounts {
            opened: 1,
            connected: 2,
            accepted: 3,
            closed_first: 4,
            ..OwnerCounts::default()
        },
        OwnerCounts {
            closed_second: 5,
            time_wait_entries: 6,
            failed: 7,
            reset: 8,
            ..OwnerCounts::default()
        },
    );
    let process = || Process { pid: 7, name: "a\u{1b}b".to_owned() };
    let values = vec![
        Value::Process(process()),
        Value::Comm("curl".to_owned()),
        Value::User(1000),
        Value::Cgroup("/system.slice/nginx.service".to_owned().into()),
        Value::Unit("nginx.service".to_owned()),
        Value::Container("0123abcd".to_owned()),
        Value::Netns(4_026_531_840, Some("blue".to_owned())),
        Value::Port(443),
        Value::Client,
        Value::Address("192.0.2.1".parse().expect("an address")),
        Value::Address("2001:db8::1".parse().expect("an address")),
        Value::State(State::TimeWait),
        Value::None,
    ];
    let group =
        |kind, states| OwnerGroup { kind, states, total, interval, likely_owner: Some(process()) };
    Owners {
        by: vec![Key::Process, Key::RemotePort],
        groups: vec![
            group(OwnerKind::Group(values), Some([9; 10])),
            group(OwnerKind::Other, Some([0; 10])),
            group(OwnerKind::Unknown, Some([1; 10])),
            group(OwnerKind::Gone, None),
        ],
        accepted: 10,
        not_accepted: 11,
        without_room: 12,
        missed: 13,
    }
}

const LOSSES: Losses = Losses {
    dropped: 1,
    missed: 2,
    untracked: 3,
    time_wait: 4,
    syn_recv: 5,
    dropped_ends: 6,
    missed_ends: 7,
};

/// Returns a snapshot in which every field is set.
fn snapshot(seconds: u64) -> Snapshot {
    let exits = Exits { expired: Some(1), reused: None, killed: Some(0), other: Some(9) };
    let time_wait = TimeWait {
        sockets: Some(1 << 40),
        limit: Some(4096),
        entries: None,
        exits,
        exits_in_interval: Exits::default(),
        overflows: Some(1),
        entries_per_second: Some(0.1 + 0.2),
        exits_per_second: None,
    };
    let runs = Runs { count: 9, time: Duration::from_nanos(10_000_000_001) };
    let mut moved = [None; 10];
    moved[3] = Some(Flow { entered: 5, left: 6 });
    let transition =
        Transition { from: State::Listen, to: State::SynRecv, count: 1 << 50, in_interval: 2 };
    let family = |first| FamilyRow { states: gauges(first), transitions: vec![transition] };
    Snapshot {
        time: time(seconds),
        elapsed: Duration::from_nanos(seconds * 1_000_000_007),
        interval: Duration::from_nanos(1_000_000_007),
        attached: Some(attached()),
        unreconciled: Some(4),
        missed_elsewhere: 11,
        audits: 3,
        audited: Some(Duration::from_millis(1500)),
        sees_all: false,
        states: gauges(11),
        moved,
        verdict: Some(Verdict::Differs(vec![Difference {
            state: State::TimeWait,
            current: -1,
            listed: 2,
        }])),
        transitions: vec![transition],
        time_wait,
        missed: Missed { transitions: 1, time_wait: 2, syn_recv: 3, unrecorded: 4, unlisted: 5 },
        losses: Some(LOSSES),
        histograms: Some(histograms()),
        close_reasons: Some(close_reasons()),
        reconciles: 6,
        map_full: 7,
        map_errors: 8,
        cost: vec![Cost { program: "tcp_iterator".into(), total: runs, in_interval: runs }],
        process_time: Duration::from_millis(5),
        owners: Some(owners()),
        families: Some([family(13), family(14)]),
        namespaces: Some(vec![NamespaceRow {
            netns: 9,
            name: Some("blue".into()),
            is_gone: true,
            states: gauges(12),
            time_wait,
        }]),
    }
}

fn close_reasons() -> CloseReasons {
    let ends = |unknown| ReasonCounts { known: [1, 2, 3, 4, 5, 6, 7, 8], unknown };
    let ports =
        vec![PortReasons { port: 443, ends: ends(1) }, PortReasons { port: 22, ends: ends(2) }];
    CloseReasons { ports, others: ends(3), failed_connects: ends(4), no_local_port: 5 }
}

/// Returns one histogram of each kind. Each histogram has a different group.
fn histograms() -> Histograms {
    let address = |text: &str| Group::Address(text.parse().expect("an address"));
    let kinds = [
        (Of::State(State::FinWait2, SocketKind::Full), None),
        (Of::State(State::FinWait2, SocketKind::Mini), Some(Group::Port(443))),
        (Of::Transition(State::Listen, State::Close), Some(address("192.0.2.1"))),
        (Of::OtherTransitions, Some(address("2001:db8::1"))),
        (Of::ConnectClient, Some(Group::Netns(4_026_531_840))),
        (Of::ConnectServer, Some(Group::Cgroup(7, Some("/a".into())))),
        (Of::Lifetime, Some(Group::Comm("ev\u{1b}il".into()))),
        (Of::TimeWaitHold, Some(Group::None)),
        (Of::Lifetime, Some(Group::Other)),
        (Of::Lifetime, Some(Group::Client)),
    ];
    let histogram = |(of, group)| Histogram {
        of,
        group,
        tally: Tally::from_nanos(&[1, 300, 300, 1 << 40, u64::MAX], 9),
    };
    Histograms {
        by: Some(By::Comm),
        all: kinds.into_iter().map(histogram).collect(),
        untimed: Untimed { missed: 1, untracked: 2, untracked_minis: 3, group_errors: 4 },
        is_filtered: true,
    }
}

fn events(count: u32) -> Vec<Event> {
    let v6: IpAddr = "2001:db8::1".parse().expect("an address");
    let event = |number: u32| {
        let state = |offset| State::ALL[(number.to_le_bytes()[0] as usize + offset) % 12];
        let (number, address) = (u64::from(number), Ipv4Addr::from(0x0a00_0000 | number));
        let is_known = number.is_multiple_of(3);
        let place = usize::try_from(number).expect("it is small");
        let hook = [Hook::Transitions, Hook::TimeWait, Hook::SynRecv][place % 3];
        let ended_by = CloseReason::ALL.get(place % 9).copied();
        Event {
            // The wall clock is set back in the middle of the events.
            time: time(100 + number - if number > u64::from(count / 2) { 50 } else { 0 }),
            monotonic: Duration::from_nanos(7_000_000_000 + number * 1001),
            from: state(0),
            to: state(5),
            family: if is_known { Family::V6 } else { Family::V4 },
            local: is_known.then_some(v6),
            local_port: is_known.then_some(443),
            remote: Some(address.into()),
            remote_port: Some(0),
            netns: 4_026_531_840,
            cookie: is_known.then_some(u64::MAX - number),
            pid: is_known.then_some(77),
            comm: is_known.then(|| "ev\u{1b}il".into()),
            uid: is_known.then_some(u32::MAX - 1),
            duration: is_known.then(|| Duration::from_nanos(number << 30)),
            hook,
            ended_by,
            closed_by: is_known.then(|| Caller { pid: None, comm: "cl\u{1b}oser".into() }),
            opened_by: (!is_known).then(|| Caller { pid: Some(78), comm: "opener".into() }),
            cgroup: is_known
                .then(|| Arc::new("/system.slice/ev\u{1b}il.service".to_owned().into())),
            connection: (place % 4 == 1).then(|| Box::new(connection(number))),
        }
    };
    (0..count).map(event).collect()
}

fn connection(number: u64) -> Connection {
    let is_known = number.is_multiple_of(3);
    let nanos = |nanos| is_known.then(|| Duration::from_nanos(nanos));
    let states = [State::SynSent, State::Established, State::FinWait1, State::FinWait2];
    let count = usize::try_from(number).expect("it is small") % 5;
    Connection {
        opened: is_known.then(|| time(number)),
        role: [None, Some(Role::Client), Some(Role::Server)][count % 3],
        duration: nanos(u64::MAX),
        handshake: nanos(number),
        states: states[..count].iter().map(|&state| (state, nanos(number << 20))).collect(),
        time_wait: is_known.then_some(count > 2),
        bytes_sent: is_known.then_some(u64::MAX - 1),
        bytes_received: Some(number << 33),
        retransmits: is_known.then_some(number),
        srtt: nanos(7),
        is_mptcp: count == 1,
    }
}

fn report(report: Report) -> Record {
    Record::Report(Box::new(report))
}

fn records() -> Vec<Record> {
    let bare = Snapshot {
        attached: None,
        verdict: Some(Verdict::Moving),
        losses: None,
        cost: Vec::new(),
        namespaces: None,
        ..snapshot(2)
    };
    vec![
        report(Report::Start(start())),
        Record::Events(events(40)),
        report(Report::Snapshot(snapshot(1))),
        report(Report::Snapshot(bare)),
        Record::Events(events(1)),
        report(Report::End(snapshot(3))),
    ]
}

/// Returns a file with one record in each frame, and the offset of each frame's end.
fn file(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
    let mut writer = Writer::begin(Vec::new(), &Part::new("test")).expect("memory takes all");
    let mut ends = vec![writer.file_mut().len()];
    for (number, record) in (1..).zip(records) {
        let at = Duration::from_millis(number);
        match record {
            Record::Report(report) => writer.add_report(at, report),
            Record::Events(events) => writer.add_events(at, events),
        }
        writer.flush().expect("memory takes all");
        ends.push(writer.file_mut().len());
    }
    (std::mem::take(writer.file_mut()), ends)
}

/// Returns the readable records as text. If the file is damaged, the function also returns the
/// error.
fn read(bytes: &[u8]) -> (Vec<String>, Option<Unreadable>) {
    let mut records = Vec::new();
    let mut reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(error) => return (records, Some(error)),
    };
    loop {
        match reader.next_record() {
            Ok(Some(timed)) => records.push(format!("{:?}", timed.record)),
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

fn text(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{record:?}")).collect()
}

#[test]
fn records_are_read_as_written() {
    let records = records();
    let (bytes, _) = file(&records);
    let (found, error) = read(&bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found, text(&records));
    let mut reader = Reader::open(bytes.as_slice()).expect("it is one");
    assert_eq!(reader.part().program, "test");
    let first = reader.next_record().expect("it is whole").expect("there is one");
    assert_eq!(first.at, Duration::from_millis(1));
}

#[test]
fn recording_of_all_namespaces_is_read_as_written() {
    let all = Start { netns: Counted::All, namespaces: None, ..start() };
    let records = [report(Report::Start(all))];
    let (found, error) = read(&file(&records).0);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found, text(&records));
}

#[test]
fn second_start_report_is_damage() {
    let records = [report(Report::Start(start())), report(Report::Start(start()))];
    let (found, error) = read(&file(&records).0);
    assert_eq!(found, text(&records[..1]));
    assert!(matches!(&error, Some(Unreadable::Corrupt { what, .. }) if what == "a second start"));
}

#[test]
fn truncated_files_are_read_up_to_the_truncated_frame() {
    let records = records();
    let (bytes, ends) = file(&records);
    for length in 0..bytes.len() {
        let (found, error) = read(&bytes[..length]);
        let whole = ends.iter().filter(|&&end| end <= length).count();
        assert_eq!(found, text(&records[..whole.saturating_sub(1)]), "{length}");
        match error {
            // A file without an error was cut between two frames, as if tcpstate had been killed
            // between the writes of these frames.
            None => assert!(ends.contains(&length), "{length}"),
            Some(Unreadable::Cut { offset }) => {
                let begin = ends.iter().copied().filter(|&end| end <= length).max();
                assert!(begin.is_none_or(|begin| begin as u64 == offset), "{length}: {offset}");
            }
            Some(error) => panic!("{length}: {error}"),
        }
    }
}

#[test]
fn damaged_files_are_read_up_to_the_damaged_frame() {
    let records = records();
    let (bytes, ends) = file(&records);
    for place in super::HEADING.len() + 2..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1 << (place % 8);
        let (found, error) = read(&bytes);
        let before = ends.iter().filter(|&&end| end <= place).count();
        assert_eq!(found, text(&records[..before.saturating_sub(1)]), "{place}");
        let begin = ends.iter().copied().filter(|&end| end <= place).max();
        match error {
            Some(Unreadable::Corrupt { offset, .. } | Unreadable::Cut { offset }) => {
                assert!(begin.is_none_or(|begin| begin as u64 == offset), "{place}: {offset}");
            }
            other => panic!("{place}: {other:?}"),
        }
    }
}

#[test]
fn foreign_files_and_other_versions_are_refused() {
    for bytes in ["{\"type\":\"start\"}\n", "tcpstate recording x\n", "tcpstate recording 123456\n"]
    {
        let error = Reader::open(bytes.as_bytes()).err();
        assert!(matches!(error, Some(Unreadable::NoRecording)), "{bytes:?}: {error:?}");
    }
    let error = Reader::open(&b"tcpstate recording 2\n"[..]).err().expect("it is newer");
    assert_eq!(error.to_string(), "it has version 2, and this program reads version 1");
}

/// Returns a file in which valid frames contain these bytes as records.
fn framed(records: &[u8]) -> Vec<u8> {
    let (mut bytes, _) = file(&[]);
    frame::append(records, &mut bytes);
    bytes
}

#[test]
fn unknown_records_and_columns_are_skipped() {
    let mut records = Vec::new();
    let mut encoder = Encoder::new(&mut records);
    // The bytes contain a record of an unknown kind. The bytes also contain a record of events.
    // This record has only the required columns and one unknown column.
    let unknown = encoder.array(3).and_then(|e| e.u8(99)?.u64(1)?.array(2)?.u8(1)?.str("x"));
    unknown.expect("memory takes all");
    let events = encoder.array(3).and_then(|encoder| {
        encoder.u8(4)?.u64(2)?.array(24)?;
        encoder.array(1)?.u8(7)?.array(1)?.u8(9)?.bytes(&[0x12])?.bytes(&[4])?;
        encoder.array(0)?.array(0)?.array(0)?.array(0)?.array(0)?.array(1)?.u32(5)?;
        for _ in 10..21 {
            encoder.array(0)?;
        }
        encoder.null()?;
        encoder.array(1)?.str("what only they know")?.map(0)
    });
    events.expect("memory takes all");
    let bytes = framed(&records);
    let mut reader = Reader::open(bytes.as_slice()).expect("it is one");
    let timed = reader.next_record().expect("it makes sense").expect("there is one");
    let Record::Events(events) = timed.record else { panic!("{timed:?}") };
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.from, event.to, event.netns), (State::Established, State::SynSent, 5));
    assert_eq!((event.local, event.pid, &event.comm), (None, None, &None));
    assert!(reader.next_record().expect("it makes sense").is_none());
    assert_eq!(reader.unknown(), 1);
}

#[test]
fn invalid_bytes_are_damage_and_do_not_panic() {
    let (bytes, ends) = file(&records());
    let whole = frame::read(&mut &bytes[ends[2]..], |_| u64::MAX).expect("whole").expect("a frame");
    let mut random = 0x9e37_79b9_u32;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random as usize
    };
    let mut damaged = 0;
    for _ in 0..2000 {
        let mut records = whole.records.clone();
        for _ in 0..=next() % 3 {
            let place = next() % records.len();
            records[place] = next().to_le_bytes()[0];
        }
        records.truncate(next() % (records.len() * 4));
        let (_, error) = read(&framed(&records));
        damaged += u32::from(matches!(error, Some(Unreadable::Corrupt { .. })));
    }
    assert!(damaged > 500, "{damaged}");
}

#[test]
fn frames_are_limited_in_size() {
    let bytes = framed(&vec![0; frame::MAX_BYTES]);
    let (_, error) = read(&bytes);
    let Some(Unreadable::Large { offset, max }) = error else { panic!("{error:?}") };
    assert!(offset > 0 && max < 4 << 20, "{offset} {max}");
    // More memory allows a file that expands more, but not a larger frame.
    let scaled = |bytes: &[u8]| {
        let mut reader = Reader::open_with(bytes, 1 << 40).expect("it is one");
        reader.next_record().err()
    };
    assert!(matches!(scaled(&bytes), Some(Unreadable::Corrupt { .. })));
    let error = scaled(&framed(&vec![0; frame::MAX_BYTES + 1])).expect("the frame is too large");
    assert!(error.to_string().contains("compressed data"), "{error}");
}

/// Encodes a snapshot with this many network namespaces.
fn with_namespaces(count: usize) -> Vec<u8> {
    let mut snapshot = snapshot(1);
    let row = snapshot.namespaces.as_ref().expect("the snapshot has a row")[0].clone();
    snapshot.namespaces = Some(vec![row; count]);
    let mut record = Vec::new();
    wire::append_report(Duration::ZERO, &Report::Snapshot(snapshot), &mut record);
    record
}

#[test]
fn memory_of_a_record_is_limited() {
    let record = with_namespaces(10_000);
    let decode = |memory| {
        let mut budget = Budget::new(memory, MAX_MEMORY);
        let read = wire::read(&mut minicbor::Decoder::new(&record), &mut budget);
        (read.is_ok(), budget.is_exhausted(), budget.spent() as u64)
    };
    let (is_read, _, spent) = decode(MAX_MEMORY);
    assert!(is_read && spent < MAX_MEMORY);
    assert!(spent > 10_000 * size_of::<NamespaceRow>() as u64);
    assert_eq!(decode(spent), (true, false, spent));
    let (is_read, is_exhausted, spent) = decode(spent - 1);
    assert!(!is_read && is_exhausted && spent < MAX_MEMORY);

    // The reader reports the frame and the limit.
    let mut bytes = framed(&[]);
    let offset = bytes.len() as u64;
    frame::append_uncompressed(&record, &mut bytes);
    let mut reader = Reader::open_with(bytes.as_slice(), 4 << 20).expect("it is one");
    let error = reader.next_record().expect_err("the record is too large");
    let expected = format!("the frame at byte {offset} needs more than 4 MiB of memory");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn number_of_elements_is_limited_in_every_list() {
    // Each list of a snapshot begins with its number of elements. This test replaces the number by
    // a larger number, and the reader must refuse the list before it allocates memory.
    let record = with_namespaces(1);
    let mut lists = 0;
    for place in 4..record.len() {
        if !(0x80..0x98).contains(&record[place]) {
            continue;
        }
        let mut longer = record[..place].to_vec();
        longer.extend_from_slice(&[0x9b, 0, 0, 1, 0, 0, 0, 0, 0]);
        longer.extend_from_slice(&record[place + 1..]);
        let mut budget = Budget::new(1 << 20, MAX_MEMORY);
        let read = wire::read(&mut minicbor::Decoder::new(&longer), &mut budget);
        assert!(read.is_err() && budget.spent() < 1 << 16, "{place}");
        lists += 1;
    }
    assert!(lists > 100, "{lists}");
}

#[test]
fn values_are_not_nested_without_limit() {
    for nested in [&b"\x81"[..], b"\x9f", b"\x82\x9f", b"\xc1", b"\xa1\x00", b"\xbf\x00"] {
        let mut record = b"\x83\x09\x00".to_vec();
        record.extend(nested.iter().cycle().take(1 << 17));
        let (found, error) = read(&framed(&record));
        let Some(Unreadable::Corrupt { what, .. }) = error else { panic!("{error:?}") };
        assert!(found.is_empty() && what.contains("makes no sense"), "{what}");
    }
}

#[test]
fn written_files_never_expand_too_much_for_a_reader() {
    let mut writer = Writer::begin(Vec::new(), &Part::new("test")).expect("memory takes all");
    writer.add_report(Duration::ZERO, &Report::Start(start()));
    let event = events(1).remove(0);
    for _ in 0..10 {
        writer.add_events(Duration::ZERO, &vec![event.clone(); 100_000]);
        writer.flush().expect("memory takes all");
    }
    let bytes = std::mem::take(writer.file_mut());
    let (found, error) = read(&bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found.len(), 1 + 10 * 100_000_usize.div_ceil(wire::MAX_WRITTEN_EVENTS));
}

#[test]
fn recordings_continue_in_further_files_and_are_read_as_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.tcps");
    let limits = Limits { file_bytes: Some(1 << 10), files: Some(3), ..Limits::default() };
    let recorder = Recorder::create(&path, limits, Part::new("test")).expect("it can be written");
    let error = Recorder::create(&path, limits, Part::new("test")).err().expect("it is there");
    assert!(matches!(&error, Error::Create { .. }) && error.help().contains("never overwritten"));
    recorder.add_report(&Report::Start(start()));
    // Each call adds so many events that the recorder writes a frame immediately.
    for _ in 0..6 {
        recorder.add_events(&events(20_000));
    }
    recorder.add_report(&Report::End(snapshot(1)));
    recorder.close().expect("it can be written");
    assert!(recorder.news().is_none());
    let names = |number: u32| super::files::name_of(&path, number);
    let there: Vec<u32> = (0..20).filter(|&number| names(number).exists()).collect();
    // The last file of the recording contains the end report.
    assert_eq!(there, [4, 5, 6]);
    let mut recording = Recording::open(&names(4), MAX_MEMORY).expect("it is one");
    let mut kinds = Vec::new();
    while let Some(timed) = recording.next_record().expect("it is whole") {
        kinds.push(match timed.record {
            Record::Events(events) => events.len(),
            Record::Report(report) if matches!(*report, Report::Start(_)) => 0,
            Record::Report(_) => 1,
        });
    }
    // Each call of `add_events` makes two records.
    assert_eq!(kinds, [0, 16_384, 3616, 16_384, 3616, 1]);
    assert_eq!((recording.part().number, recording.has_ended()), (6, true));
    assert!(Recording::open(&path, MAX_MEMORY).is_err());
}

#[test]
fn shared_texts_are_limited_in_total_size() {
    let read = |field: &str, length: usize| {
        let mut named = events(3000);
        for event in &mut named {
            let name = || "x".repeat(length).into();
            match field {
                "comm" => event.comm = Some(name()),
                "closed_by" => event.closed_by = Some(Caller { pid: None, comm: name() }),
                _ => event.opened_by = Some(Caller { pid: None, comm: name() }),
            }
        }
        let mut records = Vec::new();
        wire::append_events(Duration::ZERO, &named, &mut records);
        wire::read(&mut minicbor::Decoder::new(&records), &mut Budget::new(MAX_MEMORY, MAX_MEMORY))
            .map(|_| records.len())
    };
    for field in ["comm", "closed_by", "opened_by"] {
        assert!(read(field, 15).is_ok(), "{field}");
        let malformed = read(field, 4000).expect_err("these are twelve million bytes of text");
        assert!(malformed.to_string().contains("more text than events have"), "{malformed}");
    }
}
