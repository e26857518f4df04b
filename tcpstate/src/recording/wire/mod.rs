//! Encodes records. The structs in this module define the format. The other modules have separate
//! structs, which can change without a change of the format.
//!
//! A record is a CBOR array (RFC 8949) that contains the kind, the time and the fields of the
//! record. Each field has a number. The number is never reused for another field. New data is added
//! as an optional field at the end, or as a new kind of record. A new program treats the new field
//! as missing in older recordings, and an old program skips the new field. If a change is neither a
//! new optional field nor a new kind of record, the format needs a new version.

mod connections;
mod events;
mod histograms;
mod limited;
mod numbers;
mod owners;
mod part;
mod report;
mod table;

use std::time::Duration;

use minicbor::{Decode, Decoder, Encode, Encoder};

pub use self::part::{MAX_FACTS, Part};
use self::table::{Nanos, Wire};
use super::{Record, budget::Budget};
use crate::report::{Event, Report};

/// The reason why bytes are not a record.
pub(super) type Malformed = minicbor::decode::Error;

/// The maximum number of events in one record. The maximum limits the memory of a reader.
pub(super) const MAX_EVENTS: usize = 1 << 17;

/// The maximum number of events in a record that tcpstate writes. A reader with the default memory
/// can decode this many events, whatever the events contain.
pub(super) const MAX_WRITTEN_EVENTS: usize = 1 << 14;

/// The number of each kind of record.
mod kind {
    pub(super) const PART: u8 = 0;
    pub(super) const START: u8 = 1;
    pub(super) const SNAPSHOT: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const EVENTS: u8 = 4;
}

/// Appends the first record of a file.
pub(super) fn append_part(part: &Part, records: &mut Vec<u8>) {
    append(kind::PART, Duration::ZERO, part, records);
}

/// Appends a record that contains a time and a report.
pub(super) fn append_report(at: Duration, report: &Report, records: &mut Vec<u8>) {
    match report {
        Report::Start(start) => append(kind::START, at, &report::Start::of(start), records),
        Report::Snapshot(snapshot) => {
            append(kind::SNAPSHOT, at, &report::Snapshot::of(snapshot), records);
        }
        Report::End(end) => append(kind::END, at, &report::Snapshot::of(end), records),
    }
}

/// Appends a record that contains a time and the events that a view gets in one call.
pub(super) fn append_events(at: Duration, events: &[Event], records: &mut Vec<u8>) {
    append(kind::EVENTS, at, &events::Events::from(events), records);
}

fn append(kind: u8, at: Duration, fields: &impl Encode<Budget>, records: &mut Vec<u8>) {
    let mut encoder = Encoder::new(records);
    let head = encoder.array(3).and_then(|encoder| encoder.u8(kind)?.u64(Nanos::of(&at).0));
    head.and_then(|encoder| encoder.encode_with(fields, &mut Budget::default()).map(drop))
        .expect("memory takes all");
}

/// A decoded record.
pub(super) enum Read {
    Part(Part),
    Record(Duration, Record),
    /// A record of a kind that this program does not know.
    Unknown,
}

/// Decodes the next record. The memory of the decoded record is taken from the budget.
pub(super) fn read(decoder: &mut Decoder<'_>, budget: &mut Budget) -> Result<Read, Malformed> {
    let begin = decoder.position();
    if decoder.array()? != Some(3) {
        return Err(Malformed::message("a record has three parts"));
    }
    let (kind, at) = (decoder.u8()?, Duration::from_nanos(decoder.u64()?));
    // The decoder of events skips unknown fields itself.
    if kind != kind::EVENTS {
        limited::check(decoder)?;
    }
    let report = |report| Read::Record(at, Record::Report(Box::new(report)));
    Ok(match kind {
        kind::PART => Read::Part(decoder.decode_with(budget)?),
        kind::START => report(Report::Start(decoded::<report::Start, _>(decoder, budget)?)),
        kind::SNAPSHOT => {
            report(Report::Snapshot(decoded::<report::Snapshot, _>(decoder, budget)?))
        }
        kind::END => report(Report::End(decoded::<report::Snapshot, _>(decoder, budget)?)),
        kind::EVENTS => {
            let columns: events::Events = decoder.decode_with(budget)?;
            budget.begin(decoder.position() - begin);
            Read::Record(at, Record::Events(columns.into_events(budget)?))
        }
        _ => {
            decoder.skip()?;
            Read::Unknown
        }
    })
}

/// Decodes the fields of a report and converts them. So the fields are in memory twice, and a view
/// may keep a third copy.
fn decoded<'b, W, T>(decoder: &mut Decoder<'b>, budget: &mut Budget) -> Result<T, Malformed>
where
    W: Decode<'b, Budget> + Wire<T>,
{
    let fields: W = decoder.decode_with(budget)?;
    budget.take_copies(2)?;
    fields.read()
}
