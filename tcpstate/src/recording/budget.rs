//! Limits the memory and the work of a reader. The bytes of a recording can be hostile, so no
//! number in a recording may decide how much memory the reader uses.

use minicbor::decode::Error;

/// The default for the maximum memory in bytes that a reader uses for a record.
pub const MAX_MEMORY: u64 = 64 << 20;

/// The number of bytes of records that a file may contain independently of its size.
const FREE_EXPANSION: u64 = 256 << 10;

/// The number of bytes of records that each byte of a file may contain. Records that tcpstate
/// writes are usually 3 to 6 times as large as the file. The writer does not exceed the limit.
const EXPANSION: u64 = 16;

/// The number of bytes of text that views may repeat for each byte of a record. An event needs 45
/// bytes, so the path of each event's cgroup may have 700 bytes.
const REPETITION: usize = 16;

/// Returns how many bytes of records the first `file` bytes of a file may contain. If the user
/// allows more memory than the default, the file may contain more bytes in proportion.
pub(super) fn max_records(file: u64, max_memory: u64) -> u64 {
    scaled(u128::from(FREE_EXPANSION) + u128::from(EXPANSION) * u128::from(file), max_memory)
}

/// Returns the limit for this maximum of memory.
fn scaled(bytes: u128, max_memory: u64) -> u64 {
    let scale = u128::from(max_memory.max(MAX_MEMORY));
    u64::try_from(bytes.saturating_mul(scale) / u128::from(MAX_MEMORY)).unwrap_or(u64::MAX)
}

/// The memory that the reader may still use for a record. The decoders of lists and texts take
/// their memory from the budget before they allocate it. Encoders have a budget too, because
/// minicbor passes one type of context to both, but encoders do not use the budget.
#[derive(Debug, Default)]
pub(super) struct Budget {
    left: usize,
    spent: usize,
    /// The limit of the user in bytes.
    max_memory: u64,
    /// The size in bytes of the record.
    record: usize,
    is_exhausted: bool,
}

impl Budget {
    /// Returns a budget of this many bytes. `max_memory` is the limit of the user.
    pub(super) fn new(bytes: u64, max_memory: u64) -> Self {
        let left = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { left, max_memory, ..Self::default() }
    }

    /// Sets the size in bytes of the record.
    pub(super) fn begin(&mut self, record: usize) {
        self.record = record;
    }

    /// Checks how many bytes of text a view would repeat for each event. Otherwise a small
    /// recording could make a view print gigabytes.
    pub(super) fn repeat(&mut self, bytes: usize) -> Result<(), Error> {
        let max = scaled((REPETITION as u128) * self.record as u128, self.max_memory);
        if bytes as u128 > u128::from(max) {
            self.is_exhausted = true;
            return Err(Error::message("events repeat more text than is allowed"));
        }
        Ok(())
    }

    /// Takes memory for a number of elements of this size.
    pub(super) fn take(&mut self, count: usize, size: usize) -> Result<(), Error> {
        let bytes = count.saturating_mul(size);
        let Some(left) = self.left.checked_sub(bytes) else {
            self.is_exhausted = true;
            return Err(Error::message("a record needs more memory than is allowed"));
        };
        self.left = left;
        self.spent += bytes;
        Ok(())
    }

    /// Takes memory for further copies of everything that was decoded.
    pub(super) fn take_copies(&mut self, copies: usize) -> Result<(), Error> {
        self.take(copies, self.spent)
    }

    /// Returns the number of bytes that were taken.
    pub(super) fn spent(&self) -> usize {
        self.spent
    }

    /// Returns whether a decoder asked for more memory than the budget had left.
    pub(super) fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }
}

impl AsMut<Budget> for Budget {
    fn as_mut(&mut self) -> &mut Budget {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_never_exceeded() {
        let mut budget = Budget::new(100, MAX_MEMORY);
        assert!(budget.take(3, 20).is_ok());
        assert!(budget.take(5, 10).is_err());
        assert!(budget.take(usize::MAX, usize::MAX).is_err());
        assert!(budget.is_exhausted());
        assert_eq!(budget.spent(), 60);
        assert!(budget.take_copies(1).is_err());
        assert!(budget.take(4, 10).is_ok());
        budget.begin(10);
        assert!(budget.repeat(160).is_ok() && budget.repeat(161).is_err());
    }

    #[test]
    fn records_are_limited_by_the_size_of_the_file() {
        assert_eq!(max_records(0, MAX_MEMORY), 256 << 10);
        assert_eq!(max_records(64 << 10, MAX_MEMORY), 1280 << 10);
        assert_eq!(max_records(64 << 10, 2 * MAX_MEMORY), 2560 << 10);
        assert_eq!(max_records(64 << 10, 1), 1280 << 10);
        assert_eq!(max_records(u64::MAX, u64::MAX), u64::MAX);
    }
}
