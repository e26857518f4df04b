//! The moves of sockets between states, in rows that add up to the columns ENTERED and LEFT of the
//! gauges.
//!
//! The tracepoint reports the transitions of full sockets only. A time-wait socket or a request
//! socket is another object in the kernel (a mini socket), so its moves are derived from the
//! gauges:
//!
//! * Each new request socket counts as `CLOSE -> SYN_RECV`, and each removed request socket counts
//!   as `SYN_RECV -> CLOSE`.
//! * The tracepoint reports `FIN_WAIT2 -> CLOSE` or `CLOSING -> CLOSE` when a time-wait socket
//!   replaces a full socket. The rows name the states that `ss` shows: `FIN_WAIT2 -> TIME_WAIT`, or
//!   no move while the time-wait socket is in FIN_WAIT2.
//! * No hook reports which state a full socket had when a time-wait socket replaced the full
//!   socket. If the counts do not prove this state, the row shows `unknown`.

use std::collections::BTreeMap;

use tcpstate_common::{
    State::{self, Close, Closing, FinWait2, Listen, SynRecv, TimeWait},
    abi::Flow,
};

use super::{
    line::wrapped,
    number::{decimal, grouped, or_unknown, signed, signed_rate},
};
use crate::report::{Exits, Snapshot, Transition};

/// A row of the list: how often sockets went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// The state before the move; `None` if this state is unknown.
    pub(super) from: Option<State>,
    /// The state after the move; `None` if this state is unknown.
    pub(super) to: Option<State>,
    /// The kind of sockets that the row counts.
    pub(super) kind: Kind,
    /// The number of moves since the start of the run. The number is negative only if mini sockets
    /// were counted as removed, but were not removed.
    pub(super) count: i64,
    /// The number of moves in the interval.
    pub(super) in_interval: i64,
}

/// The kind of sockets that a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The row counts the moves of full sockets that the tracepoint reported.
    Full,
    /// The row counts the new sockets that listeners created. The listeners stay in LISTEN.
    Born,
    /// The row counts transitions from a state to the same state. No socket moves in these
    /// transitions.
    Stayed,
    /// The row counts moves of mini sockets, and perhaps also moves of full sockets.
    Mini,
}

impl Kind {
    /// Returns the mark that is printed after the second state of a row. A footnote explains the
    /// mark.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Born => " +",
            Self::Stayed => " =",
            Self::Mini => " *",
        }
    }
}

type Key = (Option<State>, Option<State>, Kind);

/// Returns all moves of a snapshot, in the order in which a connection passes through the states.
pub(super) fn moves(snapshot: &Snapshot) -> Vec<Move> {
    let total = snapshot.states.map(|gauge| {
        let (entered, left) = gauge.entered.zip(gauge.left)?;
        Some(Flow { entered, left })
    });
    let time_wait = &snapshot.time_wait;
    let pairs = &snapshot.transitions;
    let total = Rows::of(pairs, |pair| pair.count, &total, time_wait.exits);
    let interval =
        Rows::of(pairs, |pair| pair.in_interval, &snapshot.moved, time_wait.exits_in_interval);
    let keys = total.rows.keys().chain(interval.rows.keys());
    let mut keys: Vec<Key> = keys.copied().collect();
    keys.sort_by_key(|&(from, to, kind)| (begin(from), end(to), kind));
    keys.dedup();
    let moves = keys.into_iter().map(|key @ (from, to, kind)| {
        let (count, in_interval) = (total.count(key), interval.count(key));
        let has_minis = pairs.iter().any(|pair| {
            let reported = (pair.count.cast_signed(), pair.in_interval.cast_signed());
            (Some(pair.from), Some(pair.to), Kind::Full) == key && reported != (count, in_interval)
        });
        let kind = if has_minis || from.is_none() || to.is_none() { Kind::Mini } else { kind };
        Move { from, to, kind, count, in_interval }
    });
    moves.filter(|row| row.count != 0 || row.in_interval != 0).collect()
}

/// The rows for one period: the whole run or one interval.
struct Rows {
    rows: BTreeMap<Key, i64>,
}

impl Rows {
    fn of(
        pairs: &[Transition],
        count: fn(&Transition) -> u64,
        flows: &[Option<Flow>; 10],
        exits: Exits,
    ) -> Self {
        let mut rows = Self { rows: BTreeMap::new() };
        for pair in pairs {
            let kind = match (pair.from, pair.to) {
                (from, to) if from == to => Kind::Stayed,
                (Listen, SynRecv) => Kind::Born,
                _ => Kind::Full,
            };
            rows.add(Some(pair.from), Some(pair.to), kind, count(pair).cast_signed());
        }
        let flow = |state: State| {
            let slot = State::GAUGES.iter().position(|&gauge| gauge == state)?;
            flows[slot]
        };
        if let (Some(fin_wait2), Some(time_wait)) = (flow(FinWait2), flow(TimeWait)) {
            rows.add_time_wait(fin_wait2, time_wait, exits);
        }
        if let Some(syn_recv) = flow(SynRecv) {
            let born = syn_recv.entered.cast_signed() - rows.entering(SynRecv);
            let gone = syn_recv.left.cast_signed() - rows.leaving(SynRecv);
            rows.add(Some(Close), Some(SynRecv), Kind::Mini, born);
            rows.add(Some(SynRecv), Some(Close), Kind::Mini, gone);
        }
        // When a time-wait socket replaces a full socket in FIN_WAIT2, the number of sockets that
        // left FIN_WAIT2 does not change. When a time-wait socket in FIN_WAIT2 is removed, this
        // number increases.
        if let Some(fin_wait2) = flow(FinWait2) {
            let closed = fin_wait2.left.cast_signed() - rows.leaving(FinWait2);
            rows.add(Some(FinWait2), Some(Close), Kind::Full, closed);
        }
        for state in State::GAUGES {
            let Some(Flow { entered, left }) = flow(state) else { continue };
            let (entered, left) = (
                entered.cast_signed() - rows.entering(state),
                left.cast_signed() - rows.leaving(state),
            );
            rows.add(None, Some(state), Kind::Mini, entered);
            rows.add(Some(state), None, Kind::Mini, left);
        }
        rows
    }

    /// Adds the moves into and out of TIME_WAIT to the list. The state before TIME_WAIT is added
    /// only if the counts prove this state.
    ///
    /// Every time-wait socket replaces a full socket in FIN_WAIT2 or in CLOSING. If more time-wait
    /// sockets began than sockets left one of these states, the difference is the minimum number of
    /// time-wait sockets that replaced full sockets in the other state.
    fn add_time_wait(&mut self, fin_wait2: Flow, time_wait: Flow, exits: Exits) {
        let [arrived, gone, fin_wait2_left] =
            [time_wait.entered, time_wait.left, fin_wait2.left].map(u64::cast_signed);
        let closing = self.leaving(Closing).max(0);
        let exits = [exits.expired, exits.reused, exits.killed, exits.other];
        let ended: i64 = exits.into_iter().flatten().map(u64::cast_signed).sum();
        let ended_in_fin_wait2 = (ended - gone).max(0);
        let of_fin_wait2 = (arrived - closing).max(0).min(fin_wait2_left);
        let of_closing = (arrived + ended_in_fin_wait2 - fin_wait2_left)
            .min(closing)
            .min(arrived - of_fin_wait2)
            .max(0);
        self.add(Some(FinWait2), Some(TimeWait), Kind::Mini, of_fin_wait2);
        self.add(Some(Closing), Some(TimeWait), Kind::Mini, of_closing);
        self.add(Some(Closing), Some(Close), Kind::Full, -of_closing);
        self.add(None, Some(TimeWait), Kind::Mini, arrived - of_fin_wait2 - of_closing);
        self.add(Some(TimeWait), Some(Close), Kind::Mini, gone);
    }

    fn add(&mut self, from: Option<State>, to: Option<State>, kind: Kind, count: i64) {
        if count != 0 {
            *self.rows.entry((from, to, kind)).or_default() += count;
        }
    }

    fn count(&self, key: Key) -> i64 {
        self.rows.get(&key).copied().unwrap_or(0)
    }

    /// Returns the number of moves into a state, summed over the rows.
    fn entering(&self, state: State) -> i64 {
        self.sum(|to, kind| to.1 == Some(state) && kind != Kind::Stayed)
    }

    /// Returns the number of moves out of a state, summed over the rows.
    fn leaving(&self, state: State) -> i64 {
        let moves = |kind| !matches!(kind, Kind::Stayed | Kind::Born);
        self.sum(|from, kind| from.0 == Some(state) && moves(kind))
    }

    fn sum(&self, matches: impl Fn((Option<State>, Option<State>), Kind) -> bool) -> i64 {
        let rows = self.rows.iter().filter(|&(&(from, to, kind), _)| matches((from, to), kind));
        rows.map(|(_, count)| count).sum()
    }
}

/// Returns the list as text: a heading, and a line for each move. A line shows the count since the
/// start and the rate in the interval.
pub(super) fn list(moves: &[Move], seconds: f64) -> Vec<String> {
    if moves.is_empty() {
        return Vec::new();
    }
    let heading = format!("{:<12}    {:<12} {:>15} {:>13}", "FROM", "TO", "COUNT", "COUNT/s");
    let lines = moves.iter().map(|Move { from, to, kind, count, in_interval }| {
        let (count, rate) =
            (signed(*count), or_unknown(signed_rate(*in_interval, seconds), decimal));
        let to = format!("{}{}", name(*to), kind.mark());
        format!("{:<12} -> {to:<12} {count:>15} {rate:>13}", name(*from))
    });
    [heading].into_iter().chain(lines).collect()
}

/// Explains the marks of a list in one line of at most 80 columns. The line is empty if the list
/// has no marks.
pub(super) fn legend(moves: &[Move]) -> String {
    let notes = [
        (Kind::Mini, "* mini sockets, not reported by the tracepoint"),
        (Kind::Born, "+ LISTEN stays"),
        (Kind::Stayed, "= no move"),
    ];
    let notes = notes.into_iter().filter(|&(kind, _)| moves.iter().any(|row| row.kind == kind));
    notes.map(|(_, note)| note).collect::<Vec<_>>().join("  ")
}

/// Explains the marks of a list in sentences, in lines of at most `width` columns.
pub(super) fn footnotes(snapshot: &Snapshot, moves: &[Move], width: usize) -> Vec<String> {
    if moves.is_empty() {
        return Vec::new();
    }
    let mut notes =
        vec!["  Rows into a state add up to its ENTERED, rows out of it to its LEFT.".to_owned()];
    let has = |kind| moves.iter().any(|row| row.kind == kind);
    if has(Kind::Mini) {
        notes.push(
            "* mini sockets (time-wait and request sockets), counted by their own hooks".to_owned(),
        );
        let reported = [FinWait2, Closing].into_iter().filter_map(|state| {
            let row = moves.iter().find(|row| (row.from, row.to) == (Some(state), Some(Close)));
            let count = snapshot.count(state, Close);
            let is_shown = count.cast_signed() == row.map_or(0, |row| row.count);
            (!is_shown).then(|| format!("{state} -> CLOSE {}", grouped(count)))
        });
        let reported: Vec<String> = reported.collect();
        if !reported.is_empty() {
            notes.push(format!(
                "  The tracepoint reported {}, with the sockets that became time-wait sockets.",
                reported.join(" and ")
            ));
        }
    }
    if has(Kind::Born) {
        notes.push("+ new sockets of listeners, not in the LEFT of LISTEN".to_owned());
    }
    if has(Kind::Stayed) {
        notes.push("= no move, not in ENTERED and LEFT".to_owned());
    }
    if moves.iter().any(|row| (row.from, row.to) == (None, Some(TimeWait))) {
        notes.push(
            "  unknown -> TIME_WAIT: from FIN_WAIT2 or CLOSING, and also in its row to CLOSE"
                .to_owned(),
        );
    }
    notes.iter().flat_map(|note| wrapped(note, width)).collect()
}

/// Returns the name of a state, or `unknown`.
pub(super) fn name(state: Option<State>) -> &'static str {
    state.map_or("unknown", State::name)
}

/// Returns the states without duplicates, sorted by the position that `by` returns for a state.
pub(super) fn sorted(
    states: impl Iterator<Item = Option<State>>,
    by: fn(Option<State>) -> usize,
) -> Vec<Option<State>> {
    let mut states: Vec<_> = states.collect();
    states.sort_by_key(|&state| by(state));
    states.dedup();
    states
}

/// Returns the sort key of the first state of a row. CLOSE comes first, because sockets begin in
/// CLOSE.
pub(super) fn begin(state: Option<State>) -> usize {
    let Some(state) = state else { return State::ALL.len() + 1 };
    State::GAUGES.iter().position(|&gauge| gauge == state).map_or(0, |position| position + 1)
}

/// Returns the sort key of the second state of a row. CLOSE comes last, because sockets end in
/// CLOSE.
pub(super) fn end(state: Option<State>) -> usize {
    if state == Some(Close) { State::ALL.len() } else { begin(state) }
}

#[cfg(test)]
mod tests;
