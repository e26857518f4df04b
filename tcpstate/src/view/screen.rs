//! For people at a terminal: one frame that is painted over, as large as the terminal lets it be, and the whole run in its
//! place at the end.
//!
//! Nothing of the terminal is changed, so nothing has to be put back, however the program ends: no modes, no other
//! screen, no hidden cursor. What was there before scrolls away; the cursor rests on the line below the frame.

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use tcpstate_common::State;

use super::{
    View,
    block::{self, COST_NOTE, Columns, MINI_SOCKETS, ROWS},
    frame::{Frame, Rank},
    line::{Line, Tone, wrapped},
    matrix,
    number::{clock, decimal, duration, or_unknown, rate},
    repaint::{ERASE_BELOW, HOME, Size, paint},
    sparkline::sparkline,
    summary,
};
use crate::{
    report::{Report, Snapshot, Start, Transition},
    text::escaped,
};

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalCaps {
    /// Colours are welcome.
    pub coloured: bool,
    /// It takes UTF-8.
    pub unicode: bool,
}

/// Paints frames.
pub struct Screen {
    caps: TerminalCaps,
    /// Asked at each frame.
    size: Box<dyn Fn() -> Size + Send>,
    /// How the run began, and what serves by now.
    start: Option<Start>,
    now: Option<Snapshot>,
    /// The gauges of the last snapshots, the newest last.
    history: VecDeque<[Option<i64>; ROWS]>,
}

/// As many as a very wide terminal shows.
const HISTORY: usize = 256;

impl Screen {
    /// A screen of this caps, whose size can be asked.
    pub fn new(caps: TerminalCaps, size: impl Fn() -> Size + Send + 'static) -> Self {
        Self { caps, size: Box::new(size), start: None, now: None, history: VecDeque::new() }
    }

    fn paint(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(start) = &self.start else { return Ok(()) };
        let size = (self.size)();
        let lines = self.frame(start, size.columns.into()).into_lines(size.frame_rows());
        paint(lines, size, self.caps.coloured, out)
    }

    /// All there is to show at this width, with what may be left out first.
    fn frame(&self, start: &Start, columns: usize) -> Frame {
        let mut frame = Frame::default();
        frame.add(Rank::Title, self.title(start, columns));
        frame.add(Rank::Blank, Line::default());
        let layout = Columns::within(columns);
        frame.add(Rank::Heading, layout.heading());
        let rows = self.now.as_ref().map_or_else(|| block::opening_rows(start), block::rows);
        for (slot, row) in rows.iter().enumerate() {
            if slot == MINI_SOCKETS {
                frame.add(Rank::Blank, Line::default());
            }
            frame
                .add(Rank::Gauge(importance(slot)), layout.row(row, &self.sparkline(slot, layout)));
        }
        let Some(now) = &self.now else {
            let waiting = (Tone::Plain, "rates follow after the first interval".to_owned());
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
        frame.add(Rank::Blank, Line::default());
        let status = block::accuracy(now).into_iter().chain(block::cost_of_all(now));
        let hooks = block::hooks(start.attached.hooks);
        frame.add(Rank::Status, Line::of_words(0, status.chain([hooks]), columns));
        for limit in &start.attached.limits {
            for line in wrapped(&format!("limit: {}", escaped(limit.to_string())), columns) {
                frame.add(Rank::Limit, Line::of(Tone::Warning, line));
            }
        }
        for line in block::costs(now) {
            frame.add(Rank::Cost, line);
        }
        if !now.cost.is_empty() {
            frame.add(Rank::Cost, Line::of(Tone::Faint, COST_NOTE));
        }
        add_transitions(&mut frame, now, columns);
        frame
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

/// Where a gauge comes among those that people caps for.
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
    // The mini sockets come after TIME_WAIT, whose number they complete.
    state.map_or(2, |state| {
        let place = ORDER.iter().position(|other| other == state).unwrap_or(ORDER.len());
        if place < 2 { place } else { place + 1 }
    })
}

/// The transitions of the interval.
fn add_transitions(frame: &mut Frame, now: &Snapshot, columns: usize) {
    let seconds = now.interval.as_secs_f64();
    let cell = |pair: &Transition| or_unknown(rate(pair.in_interval, seconds), decimal);
    let grid = matrix::grid("PER SECOND", now, cell, columns);
    let lines = grid.unwrap_or_else(|| matrix::list(now));
    if let Some((heading, lines)) = lines.split_first() {
        frame.add(Rank::Transitions, Line::default());
        frame.add(Rank::Transitions, Line::of(Tone::Strong, heading));
        for line in lines {
            frame.add(Rank::Transitions, Line::of(Tone::Plain, line));
        }
    }
}

impl View for Screen {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(start) => {
                self.start = Some(start.clone());
                // What is there scrolls away instead of being painted over.
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
                summary::write(start, end, out)
            }
        }
    }

    fn redraw(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.paint(out)
    }
}
