//! Recordings for the fuzzer: whatever a file holds is read, or is damage, and takes memory in proportion.

use super::{Part, Reader, Unreadable, Writer, frame};

/// A file as it is; and its bytes as records in a frame that is whole, which no fuzzer would find.
pub(crate) fn recording(bytes: &[u8]) {
    read(bytes);
    let writer = Writer::begin(Vec::new(), &Part::default());
    let mut file = std::mem::take(writer.expect("memory takes all").file_mut());
    frame::append(bytes, &mut file);
    read(&file);
}

fn read(file: &[u8]) {
    let offset = match Reader::open(file) {
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
        | Unreadable::Read { offset, .. } => offset,
    }
}
