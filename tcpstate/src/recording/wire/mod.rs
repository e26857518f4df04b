//! Records as they lie in a file: structs of their own, so that those of the program may change as they like.
//!
//! A record is a CBOR array (RFC 8949) of its kind, when it came, and its fields. A field's number is its place, and
//! never another field's. What is new is an optional field at the end, or a new kind: who reads an older recording finds it
//! missing, and who does not know it passes over it. What can't be told that way is a new version of the format.

mod events;
mod histograms;
mod part;
mod report;
mod table;

use std::time::Duration;

use minicbor::{Decoder, Encode, Encoder};

pub use self::part::Part;
use self::table::{Nanos, Wire as _};
use super::Record;
use crate::report::{Event, Report};

/// Why bytes are no record.
pub(super) type Malformed = minicbor::decode::Error;

/// Events in one record, so that a reader knows what it may come to hold. A view is never shown so many at once.
pub(super) const MAX_EVENTS: usize = 1 << 17;

/// Kinds of records, by number.
mod kind {
    pub(super) const PART: u8 = 0;
    pub(super) const START: u8 = 1;
    pub(super) const SNAPSHOT: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const EVENTS: u8 = 4;
}

/// What comes first in each file.
pub(super) fn append_part(part: &Part, records: &mut Vec<u8>) {
    append(kind::PART, Duration::ZERO, part, records);
}

/// What a view is shown, and when.
pub(super) fn append_report(at: Duration, report: &Report, records: &mut Vec<u8>) {
    match report {
        Report::Start(start) => append(kind::START, at, &report::Start::of(start), records),
        Report::Snapshot(snapshot) => {
            append(kind::SNAPSHOT, at, &report::Snapshot::of(snapshot), records);
        }
        Report::End(end) => append(kind::END, at, &report::Snapshot::of(end), records),
    }
}

/// Events that a view is shown together, and when.
pub(super) fn append_events(at: Duration, events: &[Event], records: &mut Vec<u8>) {
    append(kind::EVENTS, at, &events::Events::from(events), records);
}

fn append(kind: u8, at: Duration, fields: &impl Encode<()>, records: &mut Vec<u8>) {
    let mut encoder = Encoder::new(records);
    let head = encoder.array(3).and_then(|encoder| encoder.u8(kind)?.u64(Nanos::of(&at).0));
    head.and_then(|encoder| encoder.encode(fields).map(drop)).expect("memory takes all");
}

/// What was read.
pub(super) enum Read {
    Part(Part),
    Record(Duration, Record),
    /// Of a kind that this program does not know.
    Unknown,
}

/// Reads the record that is next.
pub(super) fn read(decoder: &mut Decoder<'_>) -> Result<Read, Malformed> {
    if decoder.array()? != Some(3) {
        return Err(Malformed::message("a record has three parts"));
    }
    let (kind, at) = (decoder.u8()?, Duration::from_nanos(decoder.u64()?));
    let report = |report| Read::Record(at, Record::Report(Box::new(report)));
    Ok(match kind {
        kind::PART => Read::Part(decoder.decode()?),
        kind::START => report(Report::Start(decoder.decode::<report::Start>()?.read()?)),
        kind::SNAPSHOT => report(Report::Snapshot(decoder.decode::<report::Snapshot>()?.read()?)),
        kind::END => report(Report::End(decoder.decode::<report::Snapshot>()?.read()?)),
        kind::EVENTS => {
            let events = decoder.decode::<events::Events>()?.into_events()?;
            Read::Record(at, Record::Events(events))
        }
        _ => {
            decoder.skip()?;
            Read::Unknown
        }
    })
}
