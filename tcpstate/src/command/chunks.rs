//! Collects the output of a view, so that a frame of the screen is written in one call. Longer
//! output, such as the histograms of thousands of groups, is written in parts. So the memory of the
//! output does not grow with the size of a record.

use std::io::{self, Write};

/// The collected output of a view.
pub(super) struct Chunks<W> {
    out: W,
    text: Vec<u8>,
}

impl<W> Chunks<W> {
    /// The size in bytes above which the collected output is written.
    const MAX: usize = 1 << 20;

    /// The size in bytes from which a text is written without a copy.
    const DIRECT: usize = 64 << 10;

    pub(super) fn new(out: W) -> Self {
        Self::reusing(Vec::new(), out)
    }

    /// Collects output in an empty buffer, which [`Chunks::into_buffer`] returns.
    pub(super) fn reusing(text: Vec<u8>, out: W) -> Self {
        Self { out, text }
    }

    /// Returns the buffer.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.text
    }
}

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.text.is_empty() && text.len() >= Self::DIRECT {
            self.out.write_all(text)?;
            return Ok(text.len());
        }
        self.text.extend_from_slice(text);
        if self.text.len() > Self::MAX {
            self.flush()?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.text);
        self.text.clear();
        written
    }
}
