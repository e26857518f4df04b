//! Transitions between states: as a grid where there is room for it, else as a list.

use std::fmt::Write as _;

use tcpstate_common::State;

use super::number::{decimal, grouped, or_unknown, rate};
use crate::report::{Snapshot, Transition};

/// Each pair on a line: the count since the start, and the rate over the interval.
pub(super) fn list(snapshot: &Snapshot) -> Vec<String> {
    if snapshot.transitions.is_empty() {
        return Vec::new();
    }
    let seconds = snapshot.interval.as_secs_f64();
    let heading = format!("{:<12}    {:<12} {:>15} {:>13}", "FROM", "TO", "COUNT", "COUNT/s");
    let mut pairs: Vec<&Transition> = snapshot.transitions.iter().collect();
    pairs.sort_by_key(|pair| (begin(pair.from), end(pair.to)));
    let lines = pairs.into_iter().map(|Transition { from, to, count, in_interval }| {
        let (count, rate) = (grouped(*count), or_unknown(rate(*in_interval, seconds), decimal));
        format!("{from:<12} -> {to:<12} {count:>15} {rate:>13}")
    });
    [heading].into_iter().chain(lines).collect()
}

/// A row for each state that was left and a column for each that was entered, if they fit into so many columns.
pub(super) fn grid(
    title: &str,
    snapshot: &Snapshot,
    cell: impl Fn(&Transition) -> String,
    width: usize,
) -> Option<Vec<String>> {
    let pairs = &snapshot.transitions;
    let from = sorted(pairs.iter().map(|pair| pair.from), begin);
    let to = sorted(pairs.iter().map(|pair| pair.to), end);
    let text = |from, to| {
        let pair = pairs.iter().find(|pair| (pair.from, pair.to) == (from, to));
        pair.map(&cell).unwrap_or_default()
    };
    let mut lines: Vec<String> = [title]
        .into_iter()
        .chain(from.iter().map(|state| state.name()))
        .map(|name| format!("{name:<12}"))
        .collect();
    for &to in &to {
        let cells: Vec<String> = [to.name().to_owned()]
            .into_iter()
            .chain(from.iter().map(|&from| text(from, to)))
            .collect();
        let widest = cells.iter().map(String::len).max().unwrap_or_default();
        for (line, cell) in lines.iter_mut().zip(&cells) {
            write!(line, "  {cell:>widest$}").expect("a string takes everything");
        }
    }
    let fits = lines.iter().all(|line| line.len() <= width) && !pairs.is_empty();
    fits.then(|| lines.into_iter().map(|line| line.trim_end().to_owned()).collect())
}

pub(super) fn sorted(states: impl Iterator<Item = State>, by: fn(State) -> usize) -> Vec<State> {
    let mut states: Vec<State> = states.collect();
    states.sort_by_key(|&state| by(state));
    states.dedup();
    states
}

/// When in its life a socket leaves a state: CLOSE is where it begins.
pub(super) fn begin(state: State) -> usize {
    State::GAUGES.iter().position(|&gauge| gauge == state).map_or(0, |position| position + 1)
}

/// When in its life a socket comes to a state: CLOSE is where it ends.
pub(super) fn end(state: State) -> usize {
    if state == State::Close { State::ALL.len() } else { begin(state) }
}
