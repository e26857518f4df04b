//! The screen on a terminal. A new frame replaces the previous frame at each interval, and the
//! summary follows at the end.
//!
//! The screen uses the whole terminal. The screen changes no modes, uses no alternate screen and
//! does not hide the cursor. The program therefore has nothing to restore when the run ends. At the
//! start, the earlier text of the terminal is scrolled off the screen. The cursor stays on the line
//! below the frame.

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use tcpstate_common::State;

use super::{
    View,
    block::{self, COST_NOTE, Columns, ROWS, TIME_WAIT_SOCKETS},
    frame::{Frame, Rank},
    groups::{self, GroupOrder, Space, Span},
    line::{Line, Tone},
    moves::{legend, list, moves},
    namespaces,
    number::{clock, duration},
    repaint::{ERASE_BELOW, HOME, Size, paint},
    sparkline::sparkline,
    summary,
};
use crate::{
    report::{Report, Snapshot, Start},
    text::escaped,
};

/// The capabilities of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalCaps {
    /// The terminal shows colours, and the user has not disabled them.
    pub coloured: bool,
    /// The terminal shows UTF-8.
    pub unicode: bool,
}

/// The view that paints one frame for each snapshot.
pub struct Screen {
    caps: TerminalCaps,
    /// A function that returns the size of the terminal. The view calls this function for each
    /// frame.
    size: Box<dyn Fn() -> Size + Send>,
    order: GroupOrder,
    /// The report from the start of the run. When a snapshot reports other hooks, the view replaces
    /// the hooks in the start report.
    start: Option<Start>,
    now: Option<Snapshot>,
    /// The gauges of the last snapshots, newest last.
    history: VecDeque<[Option<i64>; ROWS]>,
}

/// The number of lines below the groups: a blank line, the status and the limits.
const LINES_BELOW: usize = 3;

/// The maximum number of snapshots in the history. Even a very wide terminal shows fewer snapshots.
const HISTORY: usize = 256;

impl Screen {
    /// Creates a screen for a terminal with these capabilities. `size` returns the size of the
    /// terminal.
    pub fn new(caps: TerminalCaps, size: impl Fn() -> Size + Send + 'static) -> Self {
        Self {
            caps,
            size: Box::new(size),
            order: GroupOrder::default(),
            start: None,
            now: None,
            history: VecDeque::new(),
        }
    }

    /// Shows groups in this order.
    #[must_use]
    pub fn with_order(self, order: GroupOrder) -> Self {
        Self { order, ..self }
    }

    fn paint(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(start) = &self.start else { return Ok(()) };
        let size = (self.size)();
        let lines = self.frame(start, size).into_lines(size.frame_rows());
        paint(lines, size, self.caps.coloured, out)
    }

    /// Returns all lines of a frame with their ranks.
    fn frame(&self, start: &Start, size: Size) -> Frame {
        let columns = usize::from(size.columns);
        let mut frame = Frame::default();
        frame.add(Rank::Title, self.title(start, columns));
        frame.add(Rank::Blank, Line::default());
        let layout = Columns::within(columns);
        frame.add(Rank::Heading, layout.heading());
        let rows = self.now.as_ref().map_or_else(|| block::opening_rows(start), block::rows);
        for (slot, row) in rows.iter().enumerate() {
            if slot == TIME_WAIT_SOCKETS {
                frame.add(Rank::Blank, Line::default());
            }
            frame
                .add(Rank::Gauge(importance(slot)), layout.row(row, &self.sparkline(slot, layout)));
        }
        let Some(now) = &self.now else {
            let waiting = (Tone::Plain, "rates come after the first interval".to_owned());
            let words = [waiting, block::hooks(start.attached.hooks)];
            frame.add(Rank::Blank, Line::default());
            frame.add(Rank::Status, Line::of_words(0, words, columns));
            return frame;
        };
        let time_wait = &now.time_wait;
        for words in [block::fullness(time_wait), block::exits(now)] {
            if !words.is_empty() {
                frame.add(Rank::TimeWait, Line::of_words(2, words, columns));
            }
        }
        self.add_groups(&mut frame, now, size);
        frame.add(Rank::Blank, Line::default());
        let status = block::accuracy(now).into_iter().chain(block::cost_of_all(now));
        let hooks = block::hooks(start.attached.hooks);
        frame.add(Rank::Status, Line::of_words(0, status.chain([hooks]), columns));
        if let Some(limits) = block::limits_in_short(&start.attached.limits) {
            frame.add(Rank::Limit, Line::of(Tone::Warning, limits));
        }
        for line in block::costs(now) {
            frame.add(Rank::Cost, line);
        }
        if !now.cost.is_empty() {
            frame.add(Rank::Cost, Line::of(Tone::Faint, COST_NOTE));
        }
        add_namespaces(&mut frame, now);
        add_transitions(&mut frame, now);
        frame
    }

    /// Adds the table of groups. The table uses half of the terminal, and the lines that the gauges
    /// leave free.
    fn add_groups(&self, frame: &mut Frame, now: &Snapshot, size: Size) {
        let Some(owners) = &now.owners else { return };
        let height = size.frame_rows();
        let free = height.saturating_sub(frame.len() + LINES_BELOW);
        // The blank line above the table belongs to the table.
        let space = Space {
            width: size.columns.into(),
            height: Some((height / 2).max(free).saturating_sub(1)),
        };
        let seconds = now.interval.as_secs_f64();
        frame.add(Rank::Groups, Line::default());
        for line in groups::lines(owners, seconds, Span::Interval, self.order, space) {
            frame.add(Rank::Groups, line);
        }
    }

    fn title(&self, start: &Start, columns: usize) -> Line {
        let (time, elapsed) = self
            .now
            .as_ref()
            .map_or((start.time, String::new()), |now| (now.time, duration(now.elapsed)));
        let words = [
            (Tone::Strong, "tcpstate".to_owned()),
            (Tone::Plain, clock(time)),
            (Tone::Plain, elapsed),
            (Tone::Plain, format!("netns {}", start.netns)),
            (Tone::Plain, format!("kernel {}", escaped(&start.kernel))),
        ];
        Line::of_words(0, words.into_iter().filter(|(_, word)| !word.is_empty()), columns)
    }

    fn sparkline(&self, slot: usize, layout: Columns) -> String {
        let readings = self.history.iter().map(|gauges| gauges[slot]);
        sparkline(readings, layout.sparkline, self.caps.unicode)
    }
}

/// Returns the rank of a gauge: 0 is the most important gauge.
fn importance(slot: usize) -> usize {
    use State::{
        CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
        TimeWait,
    };
    const ORDER: [State; 10] = [
        Established,
        TimeWait,
        CloseWait,
        SynRecv,
        FinWait2,
        Listen,
        LastAck,
        FinWait1,
        SynSent,
        Closing,
    ];
    let state = State::GAUGES.get(slot);
    // The gauge of all time-wait sockets has position 2, after ESTABLISHED and TIME_WAIT.
    state.map_or(2, |state| {
        let place = ORDER.iter().position(|other| other == state).unwrap_or(ORDER.len());
        if place < 2 { place } else { place + 1 }
    })
}

/// Adds a line for each network namespace.
fn add_namespaces(frame: &mut Frame, now: &Snapshot) {
    let Some(rows) = &now.namespaces else { return };
    frame.add(Rank::Blank, Line::default());
    for (at, line) in namespaces::lines(rows).into_iter().enumerate() {
        let tone = if at == 0 { Tone::Strong } else { Tone::Plain };
        frame.add(Rank::Namespaces, Line::of(tone, line));
    }
}

/// Adds the list of transitions.
fn add_transitions(frame: &mut Frame, now: &Snapshot) {
    let moves = moves(now);
    let lines = list(&moves, now.interval.as_secs_f64());
    if let Some((heading, lines)) = lines.split_first() {
        frame.add(Rank::Transitions, Line::default());
        frame.add(Rank::Transitions, Line::of(Tone::Strong, heading));
        for line in lines {
            frame.add(Rank::Transitions, Line::of(Tone::Plain, line));
        }
        let legend = legend(&moves);
        if !legend.is_empty() {
            frame.add(Rank::Transitions, Line::of(Tone::Faint, legend));
        }
    }
}

impl View for Screen {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(start) => {
                self.start = Some(start.clone());
                // Scroll the earlier text of the terminal off the screen, so that no frame
                // overwrites this text.
                write!(out, "{}", "\n".repeat(usize::from((self.size)().rows)))?;
                self.paint(out)
            }
            Report::Snapshot(snapshot) => {
                if let (Some(start), Some(attached)) = (&mut self.start, &snapshot.attached) {
                    start.attached = attached.clone();
                }
                if self.history.len() == HISTORY {
                    self.history.pop_front();
                }
                self.history.push_back(block::rows(snapshot).map(|row| row.current));
                self.now = Some(snapshot.clone());
                self.paint(out)
            }
            Report::End(end) => {
                let Some(start) = &self.start else { return Ok(()) };
                write!(out, "{HOME}{ERASE_BELOW}")?;
                let height = Some((self.size)().frame_rows());
                summary::write(start, end, summary::Space { height, order: self.order }, out)?;
                summary::write_limits(&start.attached.limits, out)
            }
        }
    }

    fn redraw(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.paint(out)
    }
}
