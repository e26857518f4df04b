//! Sets of transitions, such as `listen:syn_recv,established:,:close`.

use std::str::FromStr;

use tcpstate_common::{State, abi::STATE_SLOTS};

use super::{States, list};

/// A set of transitions. Each transition is a pair of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves([u16; STATE_SLOTS]);

impl Moves {
    /// All transitions.
    const ALL: Self = Self([u16::MAX; STATE_SLOTS]);
    const NONE: Self = Self([0; STATE_SLOTS]);

    /// Returns the transitions into or out of one of these states.
    #[must_use]
    pub fn touching(states: States) -> Self {
        let mut moves = Self::NONE;
        for state in State::ALL.into_iter().filter(|&state| states.contain(state)) {
            moves.add(Some(state), None);
            moves.add(None, Some(state));
        }
        moves
    }

    /// Returns the transitions that are in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|from| self.0[from] & other.0[from]))
    }

    /// Returns whether the set contains the transition.
    #[must_use]
    pub const fn contain(&self, from: State, to: State) -> bool {
        self.0[from.number()] & 1 << to.number() != 0
    }

    /// Returns an array that contains one word for each old state. The index of a word is the
    /// kernel's state number of the old state. Each word has one bit for each new state.
    pub(super) fn bits(self) -> [u16; STATE_SLOTS] {
        self.0
    }

    /// Adds the transitions between two states. The argument `None` means any state.
    fn add(&mut self, from: Option<State>, to: Option<State>) {
        let bits = to.map_or(u16::MAX, |to| 1 << to.number());
        match from {
            Some(from) => self.0[from.number()] |= bits,
            None => self.0.iter_mut().for_each(|row| *row |= bits),
        }
    }
}

impl Default for Moves {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for Moves {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut moves = Self::NONE;
        for (from, to) in list::parse(text, ends)? {
            moves.add(from, to);
        }
        Ok(moves)
    }
}

fn ends(word: &str) -> Result<(Option<State>, Option<State>), String> {
    let Some((from, to)) = word.split_once("->").or_else(|| word.split_once(':')) else {
        return Err(
            "is not a transition: expected FROM:TO, such as listen:syn_recv or :close".into()
        );
    };
    match (end(from)?, end(to)?) {
        (None, None) => {
            Err("names no state: expected FROM:TO, of which one may be left out".into())
        }
        ends => Ok(ends),
    }
}

fn end(word: &str) -> Result<Option<State>, String> {
    match word.trim() {
        "" | "*" => Ok(None),
        word => word.parse().map(Some).map_err(|_| {
            let names = State::GAUGES.map(State::label).join(" ");
            format!("has no state '{}': expected one of {names} close", word.escape_debug())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_are_read_with_either_end_left_out() {
        let moves: Moves = "LISTEN:syn-recv, estab->, :close".parse().expect("transitions");
        for from in State::ALL {
            for to in State::ALL {
                let expected = (from, to) == (State::Listen, State::SynRecv)
                    || from == State::Established
                    || to == State::Close;
                assert_eq!(moves.contain(from, to), expected, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn touching_selects_transitions_into_and_out_of_a_state() {
        let touching = Moves::touching("time_wait".parse().expect("a state"));
        assert!(touching.contain(State::FinWait2, State::TimeWait));
        assert!(touching.contain(State::TimeWait, State::Close));
        assert!(!touching.contain(State::FinWait2, State::Close));
        let both = touching.and(":close".parse().expect("transitions"));
        assert!(both.contain(State::TimeWait, State::Close));
        assert!(!both.contain(State::FinWait2, State::TimeWait));
    }

    #[test]
    fn invalid_transitions_are_refused_with_their_position() {
        for (text, reason) in [
            ("listen:,estab", "at character 9: 'estab' is not a transition"),
            (":", "at character 1: ':' names no state"),
            ("close:open", "at character 1: 'close:open' has no state 'open'"),
        ] {
            let error = text.parse::<Moves>().expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
