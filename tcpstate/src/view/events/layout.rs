//! The layout of lines with two addresses: on one line if they fit, else on two or three lines.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use crate::view::{Size, line::shortened};

/// One line: the time, the cells before the process name, the name, and both addresses.
pub(in crate::view) struct Line {
    pub(in crate::view) time: String,
    /// The aligned cells between the time and the name.
    pub(in crate::view) head: String,
    pub(in crate::view) comm: String,
    /// The aligned cells after the name, which only a wide line has. The text is empty if there are
    /// none.
    pub(in crate::view) more: String,
    pub(in crate::view) local: String,
    pub(in crate::view) remote: String,
    pub(in crate::view) note: String,
    /// The container, or the systemd unit of a socket outside containers.
    pub(in crate::view) place: Option<String>,
}

/// The widths of the columns, and the layout of the last heading. The widths only grow, so that
/// later lines stay aligned.
#[derive(Clone, Debug)]
pub(in crate::view) struct Layout {
    /// The size of the terminal; `None` in a pipe, where lines have any length.
    size: Option<fn() -> Size>,
    /// The width of a wide line without the time, the addresses and the note.
    cells: usize,
    /// The length of the longest note.
    note: usize,
    times: usize,
    locals: usize,
    remotes: usize,
    form: Form,
}

/// The layout of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Everything is on one line.
    Wide,
    /// Addresses and notes are on separate lines, which have at most this width.
    Narrow(usize),
}

/// The minimum length of the container or unit in a line. A shorter text would say little.
const PLACE: usize = 12;
/// The text before the container or the unit.
const IN: &str = " in ";
/// The maximum length of a process name (`TASK_COMM_LEN` without the final zero).
pub(in crate::view) const COMM: usize = 15;

impl Layout {
    /// Creates a layout for a pipe. `cells` is the width of the cells between the time and the
    /// local address. `note` is the length of the longest note.
    pub(in crate::view) fn new(cells: usize, note: usize) -> Self {
        // The longest IPv4 address with the longest port sets the width.
        let locals = "255.255.255.255:65535".len();
        let times = "00:00:00.000".len();
        let form = Form::Wide;
        Self { size: None, cells, note, times, locals, remotes: locals, form }
    }

    /// Makes the lines fit into a terminal. `size` returns the size of the terminal.
    pub(in crate::view) fn on_terminal(self, size: fn() -> Size) -> Self {
        Self { size: Some(size), ..self }
    }

    fn columns(&self) -> usize {
        self.size.map_or(usize::MAX, |size| usize::from(size().columns))
    }

    /// Sets the layout for the current width of the terminal.
    pub(in crate::view) fn begin(&mut self) {
        let needed = self.times + self.cells + self.locals + self.remotes + self.note + 3;
        let columns = self.columns();
        self.form = if needed <= columns { Form::Wide } else { Form::Narrow(columns) };
    }

    /// Sets the layout for the current width of the terminal and for these lines. Returns whether
    /// the form of the lines has changed, so that they need a heading again.
    pub(in crate::view) fn fit(&mut self, lines: &[Line]) -> bool {
        for line in lines {
            self.times = self.times.max(line.time.len());
            self.locals = self.locals.max(line.local.len());
            self.remotes = self.remotes.max(line.remote.len());
        }
        let before = std::mem::discriminant(&self.form);
        self.begin();
        std::mem::discriminant(&self.form) != before
    }

    pub(in crate::view) fn write(&self, line: &Line, out: &mut dyn Write) -> io::Result<()> {
        let Line { time, head, comm, more: _, local, remote, note, place } = line;
        let times = self.times;
        let width = match self.form {
            Form::Wide => return self.write_wide(line, out),
            Form::Narrow(width) => width,
        };
        writeln!(out, "{time:<times$} {head} {}", shortened(comm, COMM))?;
        // Columns with IPv4 addresses are aligned. A longer address uses the width that it needs.
        let v4 = "255.255.255.255:65535".len();
        let addresses = format!("{local:<v4$} {remote:<v4$} {note}");
        let indent = times + 1;
        if indent + addresses.trim_end().len() <= width {
            let addresses = with_place(&addresses, place.as_deref(), width - indent);
            return writeln!(out, "{:indent$}{addresses}", "");
        }
        let addresses = format!("{local} {remote} {note}");
        let least = 2;
        if least + addresses.trim_end().len() <= width {
            return writeln!(out, "{:least$}{}", "", addresses.trim_end());
        }
        let rest = format!("{remote} {note}");
        writeln!(out, "{:least$}{local}\n{:least$}{}", "", "", rest.trim_end())
    }

    fn write_wide(&self, line: &Line, out: &mut dyn Write) -> io::Result<()> {
        let Line { time, head, comm, more, local, remote, note, place } = line;
        let (times, locals) = (self.times, self.locals);
        let comm_fill = COMM.saturating_sub(comm.width());
        let is_last = note.is_empty() && place.is_none();
        let remotes = if is_last { 0 } else { self.remotes };
        let gap = if is_last { "" } else { " " };
        let before_more = if more.is_empty() { "" } else { " " };
        let line = format!(
            "{time:<times$} {head} {comm}{:comm_fill$}{before_more}{more} \
             {local:<locals$} {remote:<remotes$}{gap}{note}",
            ""
        );
        writeln!(out, "{}", with_place(&line, place.as_deref(), self.columns()))
    }
}

/// Appends the container or the unit to a line, if it fits into `columns`.
fn with_place(line: &str, place: Option<&str>, columns: usize) -> String {
    let line = line.trim_end();
    let room = columns.saturating_sub(line.width() + IN.len());
    match place {
        Some(place) if room >= PLACE.min(place.width()) => {
            format!("{line}{IN}{}", shortened(place, room))
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_container_or_the_unit_if_it_fits() {
        let unit = Some("systemd-resolved.service");
        for (columns, expected) in [
            (80, "1.2.3.4:5  6.7.8.9:1 in systemd-resolved.service"),
            (36, "1.2.3.4:5  6.7.8.9:1 in systemd-res~"),
            (35, "1.2.3.4:5  6.7.8.9:1"),
        ] {
            assert_eq!(with_place("1.2.3.4:5  6.7.8.9:1  ", unit, columns), expected);
        }
        assert_eq!(with_place("1.2.3.4:5", Some("a.scope"), 20), "1.2.3.4:5 in a.scope");
        assert_eq!(with_place("1.2.3.4:5", None, 20), "1.2.3.4:5");
    }
}
