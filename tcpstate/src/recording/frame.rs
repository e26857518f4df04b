//! Stores records in frames. Each frame can be read without other frames, and a checksum shows that
//! the frame is complete.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | length of the data, little-endian |
//! | 4 | CRC-32 of the previous 4 bytes and of the data, little-endian |
//! | … | data: records, compressed by DEFLATE (RFC 1951) |

use std::io::{self, Read, Write as _};

use crc32fast::Hasher;
use flate2::{
    Compression, Decompress, FlushDecompress, Status, read::DeflateDecoder, write::DeflateEncoder,
};

/// The maximum size of a frame's records in bytes. The maximum limits the memory of a reader.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// The size in bytes of a frame's length field and checksum.
const HEAD: usize = 8;

/// Appends a frame that contains these records.
pub(super) fn append(records: &[u8], file: &mut Vec<u8>) {
    // A higher compression level would make frames 5 % smaller, but compression would take three
    // times as long.
    append_with(Compression::fast(), records, file);
}

/// Appends a frame that contains these records without compression.
pub(super) fn append_uncompressed(records: &[u8], file: &mut Vec<u8>) {
    append_with(Compression::none(), records, file);
}

fn append_with(compression: Compression, records: &[u8], file: &mut Vec<u8>) {
    let begin = file.len();
    file.extend_from_slice(&[0; HEAD]);
    let mut encoder = DeflateEncoder::new(&mut *file, compression);
    encoder.write_all(records).and_then(|()| encoder.finish().map(drop)).expect("memory takes all");
    let length = u32::try_from(file.len() - begin - HEAD).expect("a frame is small");
    let head = head(length, &file[begin + HEAD..]);
    file[begin..begin + HEAD].copy_from_slice(&head);
}

/// Appends frames with correct lengths and checksums. The bytes are the frames of a file, in which
/// the length of a frame may be wrong. The last frame then ends with the bytes.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn append_repaired(mut frames: &[u8], file: &mut Vec<u8>) {
    while let Some((wrong, rest)) = frames.split_first_chunk::<HEAD>() {
        let length = u32::from_le_bytes([wrong[0], wrong[1], wrong[2], wrong[3]]) as usize;
        let (data, rest) = rest.split_at(length.min(rest.len()));
        let length = u32::try_from(data.len()).expect("an input of the fuzzer is small");
        file.extend_from_slice(&head(length, data));
        file.extend_from_slice(data);
        frames = rest;
    }
}

fn head(length: u32, data: &[u8]) -> [u8; HEAD] {
    let length = length.to_le_bytes();
    let mut hasher = Hasher::new();
    hasher.update(&length);
    hasher.update(data);
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length);
    head[4..].copy_from_slice(&hasher.finalize().to_le_bytes());
    head
}

/// The reason why a frame cannot be read.
#[derive(Debug)]
pub(super) enum Damage {
    /// The file ends inside the frame.
    Cut,
    /// The bytes in the file differ from the bytes that were written.
    Corrupt(&'static str),
    /// The records are larger than the reader allows.
    Large {
        /// The maximum size in bytes.
        max: u64,
    },
    /// Reading the file fails.
    Io(io::Error),
}

/// A frame that was read.
pub(super) struct Frame {
    pub(super) records: Vec<u8>,
    /// The size in bytes of the frame in the file.
    pub(super) length: u64,
}

/// Reads the next frame, or returns `None` at the end of the file. The size of the file and
/// [`MAX_BYTES`] limit the memory that the function uses. `max_records` returns how many bytes of
/// records a frame of this length may contain.
pub(super) fn read(
    file: &mut impl Read,
    max_records: impl FnOnce(u64) -> u64,
) -> Result<Option<Frame>, Damage> {
    let mut head_read = [0; HEAD];
    match fill(file, &mut head_read).map_err(Damage::Io)? {
        0 => return Ok(None),
        HEAD => {}
        _ => return Err(Damage::Cut),
    }
    let length = u32::from_le_bytes([head_read[0], head_read[1], head_read[2], head_read[3]]);
    if length as usize > MAX_BYTES {
        return Err(Damage::Corrupt("a frame's length"));
    }
    let mut data = Vec::new();
    file.take(length.into()).read_to_end(&mut data).map_err(Damage::Io)?;
    if data.len() < length as usize {
        return Err(Damage::Cut);
    }
    if head(length, &data) != head_read {
        return Err(Damage::Corrupt("a checksum"));
    }
    let length = (HEAD + data.len()) as u64;
    let max = max_records(length).min(MAX_BYTES as u64);
    let inflated = inflate(&data, max + 1);
    let Some(records) = inflated.filter(|records| records.len() <= MAX_BYTES) else {
        return Err(Damage::Corrupt("compressed data"));
    };
    if records.len() as u64 > max {
        return Err(Damage::Large { max });
    }
    Ok(Some(Frame { records, length }))
}

/// Decompresses at most `max` bytes. Returns `None` if the data is damaged.
fn inflate(data: &[u8], max: u64) -> Option<Vec<u8>> {
    let usual = inflate_at_once(data, max);
    usual.or_else(|| {
        let mut records = Vec::new();
        DeflateDecoder::new(data).take(max).read_to_end(&mut records).ok()?;
        Some(records)
    })
}

/// Decompresses into one buffer, which needs no copies. Returns `None` if the buffer is too small
/// or the data is damaged.
fn inflate_at_once(data: &[u8], max: u64) -> Option<Vec<u8>> {
    /// Records that tcpstate writes are usually 3 to 6 times as large as their data.
    const USUAL: usize = 8;
    let size = data.len().saturating_mul(USUAL).min(usize::try_from(max).unwrap_or(usize::MAX));
    let mut records = vec![0; size];
    let mut decompress = Decompress::new(false);
    let status = decompress.decompress(data, &mut records, FlushDecompress::Finish);
    records.truncate(usize::try_from(decompress.total_out()).ok()?);
    matches!(status, Ok(Status::StreamEnd)).then_some(records)
}

/// Reads until the buffer is full or the file ends. Returns the number of bytes that were read.
fn fill(file: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
