//! Sets of states, such as `established,TIME-WAIT`. The parser accepts every common spelling of a
//! state.

use std::str::FromStr;

use tcpstate_common::State;

use super::list;

/// A set of states that have a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u16);

impl States {
    /// Returns whether the set contains the state.
    #[must_use]
    pub const fn contain(self, state: State) -> bool {
        self.0 & 1 << state.number() != 0
    }

    /// Returns a word that contains one bit for each state. The index of a bit is the kernel's
    /// state number.
    pub(crate) fn bits(self) -> u32 {
        self.0.into()
    }
}

impl Default for States {
    /// Returns the set of all ten states.
    fn default() -> Self {
        State::GAUGES.into_iter().collect()
    }
}

impl FromIterator<State> for States {
    fn from_iter<T: IntoIterator<Item = State>>(states: T) -> Self {
        Self(states.into_iter().fold(0, |bits, state| bits | 1 << state.number()))
    }
}

impl FromStr for States {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        list::parse(text, state).map(|states| states.into_iter().collect())
    }
}

fn state(word: &str) -> Result<State, String> {
    match word.parse() {
        // tcpstate shows half-open connections as SYN_RECV everywhere.
        Ok(State::NewSynRecv) => Ok(State::SynRecv),
        Ok(State::Close | State::BoundInactive) => {
            Err("is not counted: a socket has this state only before its first and after its last state".into())
        }
        Ok(state) => Ok(state),
        Err(_) => {
            let names = State::GAUGES.map(State::label).join(" ");
            Err(format!("is not a state: expected one of {names}, in the spelling of the kernel, ss or RFC 9293"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_in_any_spelling() {
        let states: States = "ESTAB,FIN-WAIT-1,time_wait,new_syn_recv".parse().expect("states");
        let among = State::ALL.into_iter().filter(|&state| states.contain(state));
        let expected = [State::Established, State::SynRecv, State::FinWait1, State::TimeWait];
        assert_eq!(among.collect::<Vec<_>>(), expected);
        assert_eq!(states.bits(), 0b101_1010);
    }

    #[test]
    fn all_states_match_by_default_and_close_is_not_among_them() {
        let all = States::default();
        assert!(State::GAUGES.into_iter().all(|state| all.contain(state)));
        assert!(!all.contain(State::Close) && !all.contain(State::BoundInactive));
    }

    #[test]
    fn invalid_states_are_refused_with_their_position() {
        for (text, reason) in [
            (
                "estab,open",
                "at character 7: 'open' is not a state: expected one of listen syn_sent",
            ),
            ("CLOSED", "at character 1: 'CLOSED' is not counted"),
            ("estab,", "at character 7: an item is missing"),
        ] {
            let error = text.parse::<States>().expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }
}
