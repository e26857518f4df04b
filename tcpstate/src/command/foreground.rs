//! Paints a screen only while this process owns the terminal. A process in the background would
//! paint over the output of the shell.

use std::io::{self, Write};

use nix::{
    errno::Errno,
    unistd::{getpgrp, tcgetpgrp},
};

use super::terminal;
use crate::{
    report::{Event, Report},
    view::{View, without_painting},
};

/// A screen that is hidden while this process is in the background.
struct Foreground {
    view: Box<dyn View + Send>,
    /// Whether a report was hidden since the last frame.
    has_hidden: bool,
}

/// Returns a view that paints only while this process is in the foreground, if the view is a
/// screen.
pub(super) fn only(view: Box<dyn View + Send>, is_screen: bool) -> Box<dyn View + Send> {
    if is_screen { Box::new(Foreground { view, has_hidden: false }) } else { view }
}

/// Returns whether this process may paint on stdout. A process without a controlling terminal
/// paints too, because nothing else owns the terminal on stdout.
fn owns_terminal() -> bool {
    match tcgetpgrp(io::stdout()) {
        Ok(group) => group == getpgrp(),
        Err(error) => error == Errno::ENOTTY,
    }
}

impl Foreground {
    /// Paints, or passes the output to `hidden` while this process is in the background.
    fn paint(
        &mut self,
        out: &mut dyn Write,
        paint: impl FnOnce(&mut dyn View, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Option<Vec<u8>>> {
        if !owns_terminal() {
            self.has_hidden = true;
            let mut hidden = Vec::new();
            paint(self.view.as_mut(), &mut hidden)?;
            return Ok(Some(hidden));
        }
        if std::mem::take(&mut self.has_hidden) {
            // Scroll the text of the shell off the screen, so that no frame overwrites this text.
            write!(out, "{}", "\n".repeat(terminal::size().rows.into()))?;
        }
        paint(self.view.as_mut(), out).map(|()| None)
    }
}

impl View for Foreground {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let hidden = self.paint(out, |view, out| view.show(report, out))?;
        match (hidden, report) {
            // The summary at the end is text, which any process may write.
            (Some(hidden), Report::End(_)) => out.write_all(without_painting(&hidden)),
            _ => Ok(()),
        }
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        self.paint(out, |view, out| view.show_events(events, out)).map(drop)
    }

    fn redraw(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.paint(out, |view, out| view.redraw(out)).map(drop)
    }
}
