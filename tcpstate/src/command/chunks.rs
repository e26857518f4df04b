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

    pub(super) fn new(out: W) -> Self {
        Self { out, text: Vec::new() }
    }
}

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
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
