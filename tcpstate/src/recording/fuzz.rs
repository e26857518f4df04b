//! The functions of this module that the fuzzer calls. For any file, the reader must return records
//! or report damage. The memory that the reader uses must be limited.

use std::time::Duration;

use minicbor::Decoder;

use super::{
    HEADING, Part, Reader, Record, Unreadable, VERSION, Writer, budget::Budget, frame, wire,
};

/// The memory in bytes that a reader may use. The limit is lower than the memory that the fuzzer
/// gives to an input, so the fuzzer finds decoders that use more memory than they take from their
/// budget.
const MEMORY: u64 = 8 << 20;

/// Reads the bytes as a file of a recording. The function also reads the bytes as the records of a
/// valid frame, because a fuzzer cannot find a valid checksum.
pub(crate) fn recording(bytes: &[u8]) {
    read(bytes);
    let writer = Writer::begin(Vec::new(), &Part::default());
    let mut file = std::mem::take(writer.expect("memory takes all").file_mut());
    frame::append(bytes, &mut file);
    read(&file);
}

/// Reads the bytes as a file of a recording whose heading, lengths and checksums are correct. The
/// fuzzer chooses the compressed data of each frame.
pub(crate) fn frames(bytes: &[u8]) {
    let mut file = format!("{HEADING}{VERSION}\n").into_bytes();
    let frames = bytes.strip_prefix(&file[..]).unwrap_or(bytes);
    frame::append_repaired(frames, &mut file);
    read(&file);
}

fn read(file: &[u8]) {
    let offset = match Reader::open_with(file, MEMORY) {
        Ok(mut reader) => loop {
            match reader.next_record() {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => break offset(&error),
            }
        },
        Err(error) => offset(&error),
    };
    assert!(offset <= file.len() as u64, "damage behind the end");
}

fn offset(error: &Unreadable) -> u64 {
    match *error {
        Unreadable::NoRecording | Unreadable::Version { .. } => 0,
        Unreadable::Cut { offset }
        | Unreadable::Corrupt { offset, .. }
        | Unreadable::Memory { offset, .. }
        | Unreadable::Large { offset, .. }
        | Unreadable::Read { offset, .. } => offset,
    }
}

/// Reads a sequence of records and returns them. If the function writes a record and reads the
/// written record, the result must equal the original record.
pub(crate) fn records(bytes: &[u8]) -> Vec<Record> {
    let mut decoder = Decoder::new(bytes);
    let mut records = Vec::new();
    while decoder.position() < bytes.len() {
        match wire::read(&mut decoder, &mut Budget::new(MEMORY, MEMORY)) {
            Ok(wire::Read::Record(at, record)) => {
                let once = written(at, &record);
                let mut budget = Budget::new(u64::MAX, u64::MAX);
                let Ok(wire::Read::Record(again, copy)) =
                    wire::read(&mut Decoder::new(&once), &mut budget)
                else {
                    panic!("what was written can't be read: {record:?}")
                };
                assert_eq!((again, written(again, &copy)), (at, once), "{record:?}");
                records.push(record);
            }
            Ok(wire::Read::Part(_) | wire::Read::Unknown) => {}
            Err(malformed) => {
                assert!(!malformed.to_string().is_empty());
                break;
            }
        }
    }
    records
}

fn written(at: Duration, record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    match record {
        Record::Report(report) => wire::append_report(at, report, &mut bytes),
        Record::Events(events) => wire::append_events(at, events, &mut bytes),
    }
    bytes
}
