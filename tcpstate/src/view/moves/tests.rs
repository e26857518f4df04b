//! Tests that the rows add up to the columns ENTERED and LEFT of the gauges. The tests use
//! recordings of real kernels and simulated sockets.

use std::{collections::BTreeMap, path::Path};

use super::*;
use crate::{
    recording::{MAX_MEMORY, Record, Recording, Timed},
    report::{Report, Snapshot},
};

/// Returns the sum of the rows into a state and the sum of the rows out of this state, as a reader
/// of the list computes these sums.
fn sums(moves: &[Move], state: State, count: fn(&Move) -> i64) -> (i64, i64) {
    let rows = || moves.iter().filter(|row| row.kind != Kind::Stayed);
    let into = rows().filter(|row| row.to == Some(state));
    let out_of = rows().filter(|row| row.from == Some(state) && row.kind != Kind::Born);
    (into.map(count).sum(), out_of.map(count).sum())
}

fn signed(flow: Flow) -> (i64, i64) {
    (flow.entered.cast_signed(), flow.left.cast_signed())
}

fn assert_adds_up(snapshot: &Snapshot) {
    let moves = moves(snapshot);
    for (slot, state) in State::GAUGES.into_iter().enumerate() {
        let gauge = snapshot.states[slot];
        if let (Some(entered), Some(left)) = (gauge.entered, gauge.left) {
            let sums = sums(&moves, state, |row| row.count);
            assert_eq!(sums, signed(Flow { entered, left }), "{state}: {moves:#?}");
        }
        if let Some(flow) = snapshot.moved[slot] {
            let sums = sums(&moves, state, |row| row.in_interval);
            assert_eq!(sums, signed(flow), "{state} in the interval: {moves:#?}");
        }
    }
    assert!(moves.iter().all(|row| row.count >= 0 && row.in_interval >= 0), "{moves:#?}");
}

#[test]
fn rows_add_up_to_entered_and_left_in_every_recording_of_the_tree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings");
    let mut checked = 0;
    for entry in folder.read_dir().expect("the tree has recordings") {
        let path = entry.expect("the folder is readable").path();
        if path.extension().is_none_or(|extension| extension != "tcps") {
            continue;
        }
        let mut recording =
            Recording::open(&path, MAX_MEMORY).expect("the tree has sound recordings");
        while let Some(Timed { record, .. }) = recording.next_record().expect("it is sound") {
            if let Record::Report(report) = record
                && let Report::Snapshot(snapshot) | Report::End(snapshot) = *report
            {
                assert_adds_up(&snapshot);
                checked += 1;
            }
        }
    }
    assert!(checked >= 10, "only {checked} snapshots were checked");
}

/// Simulated sockets of a kernel. tcpstate sees only the counts of these sockets.
#[derive(Default)]
struct Kernel {
    flows: BTreeMap<State, Flow>,
    pairs: BTreeMap<(State, State), u64>,
    /// The number of time-wait sockets that were removed.
    exits: u64,
    /// The number of time-wait sockets that replaced full sockets in CLOSING.
    of_closing: i64,
}

impl Kernel {
    fn enter(&mut self, state: State) {
        self.flows.entry(state).or_default().entered += 1;
    }

    fn leave(&mut self, state: State) {
        self.flows.entry(state).or_default().left += 1;
    }

    fn report(&mut self, from: State, to: State) {
        *self.pairs.entry((from, to)).or_default() += 1;
    }

    /// Moves a full socket along a path of states.
    fn go(&mut self, path: &[State]) {
        for pair in path.windows(2) {
            self.report(pair[0], pair[1]);
            if pair[0] != Close {
                self.leave(pair[0]);
            }
            if pair[1] != Close {
                self.enter(pair[1]);
            }
        }
    }

    /// Simulates one connection. The three numbers choose how the connection is opened, how the
    /// connection is closed, and what happens to the time-wait socket.
    fn connection(&mut self, [begin, close, end]: [u32; 3]) {
        use State::{CloseWait, Established, FinWait1, LastAck};
        if begin == 0 {
            self.enter(SynRecv);
            self.leave(SynRecv);
            self.report(Listen, SynRecv);
            self.enter(SynRecv);
            self.go(&[SynRecv, Established]);
        } else {
            self.go(&[Close, State::SynSent, Established]);
        }
        match close {
            0 => self.go(&[Established, CloseWait, LastAck, Close]),
            1 => {
                self.go(&[Established, FinWait1, Closing]);
                self.report(Closing, Close);
                self.leave(Closing);
                // If the table of time-wait sockets is full, or after a RST, no time-wait socket is
                // created.
                if end > 0 {
                    self.enter(TimeWait);
                    self.of_closing += 1;
                    self.leave(TimeWait);
                    self.exits += 1;
                }
            }
            _ => {
                self.go(&[Established, FinWait1, FinWait2]);
                self.report(FinWait2, Close);
                self.report(FinWait2, FinWait2);
                match end {
                    // The full socket is closed, and no time-wait socket replaces the full socket.
                    0 => self.leave(FinWait2),
                    // The time-wait socket is removed while its state is FIN_WAIT2.
                    1 => {
                        self.leave(FinWait2);
                        self.exits += 1;
                    }
                    // The time-wait socket is in FIN_WAIT2 until the simulation ends.
                    2 => {}
                    _ => {
                        self.leave(FinWait2);
                        self.enter(TimeWait);
                    }
                }
            }
        }
    }

    fn rows(&self) -> Rows {
        let pairs: Vec<Transition> = self
            .pairs
            .iter()
            .map(|(&(from, to), &count)| Transition { from, to, count, in_interval: count })
            .collect();
        let flows =
            State::GAUGES.map(|state| Some(self.flows.get(&state).copied().unwrap_or_default()));
        let exits = Exits { expired: Some(self.exits), ..Exits::default() };
        Rows::of(&pairs, |pair| pair.count, &flows, exits)
    }
}

#[test]
fn rows_of_simulated_sockets_add_up_and_are_true() {
    // Numerical Recipes' generator.
    let mut seed = 1_u32;
    let mut below = |limit: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % limit
    };
    let mut without_unknown = 0;
    for round in 0..2000 {
        let mut kernel = Kernel::default();
        // In some rounds, a time-wait socket replaces every full socket that closes in FIN_WAIT2 or
        // CLOSING.
        let least = below(2) * 2;
        for _ in 0..below(12) {
            kernel.connection([below(2), below(4), least + below(5 - least)]);
        }
        let rows = kernel.rows();
        for state in State::GAUGES {
            let flow = kernel.flows.get(&state).copied().unwrap_or_default();
            let sums = (rows.entering(state), rows.leaving(state));
            assert_eq!(sums, signed(flow), "round {round}, {state}: {:#?}", rows.rows);
        }
        assert!(rows.rows.values().all(|&count| count >= 0), "{:#?}", rows.rows);
        let arrived = |from| rows.count((from, Some(TimeWait), Kind::Mini));
        let of_fin_wait2 = rows.entering(TimeWait) - kernel.of_closing;
        assert!(arrived(Some(Closing)) <= kernel.of_closing, "round {round}");
        assert!(arrived(Some(FinWait2)) <= of_fin_wait2, "round {round}");
        if arrived(None) == 0 {
            without_unknown += 1;
            assert_eq!(arrived(Some(Closing)), kernel.of_closing, "round {round}");
        } else {
            assert!(kernel.pairs.contains_key(&(Closing, Close)), "round {round}");
        }
    }
    assert!(without_unknown > 1000, "{without_unknown}");
}

#[test]
fn a_time_wait_socket_without_a_closed_full_socket_has_an_unknown_old_state() {
    let mut kernel = Kernel::default();
    kernel.enter(TimeWait);
    let rows = kernel.rows();
    assert_eq!(rows.rows, BTreeMap::from([((None, Some(TimeWait), Kind::Mini), 1)]));
}

#[test]
fn a_list_marks_births_stays_and_mini_sockets() {
    let mut kernel = Kernel::default();
    kernel.connection([0, 2, 3]);
    let moves: Vec<Move> = kernel
        .rows()
        .rows
        .into_iter()
        .map(|((from, to, kind), count)| Move { from, to, kind, count, in_interval: count })
        .collect();
    let list = list(&moves, 2.0);
    assert!(list.iter().all(|line| line.len() <= 80), "{list:#?}");
    let has = |row: &str| list.iter().any(|line| line.starts_with(row));
    assert!(has("LISTEN       -> SYN_RECV +                 1           0.5"), "{list:#?}");
    assert!(has("FIN_WAIT2    -> FIN_WAIT2 = "), "{list:#?}");
    assert!(has("CLOSE        -> SYN_RECV * "), "{list:#?}");
    assert!(has("FIN_WAIT2    -> TIME_WAIT * "), "{list:#?}");
    assert!(legend(&moves).len() <= 80, "{}", legend(&moves));
}
