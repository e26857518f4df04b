//! The number of sockets in each state.

use std::{
    fmt,
    ops::{Add, Index, IndexMut},
};

use tcpstate_common::State;

/// The number of sockets in each state, for example `counts[State::Listen]`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; 16]);

impl Counts {
    /// Returns the number of sockets in all states together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns the counts with the count of one state set to 0.
    #[must_use]
    pub fn without(mut self, state: State) -> Self {
        self[state] = 0;
        self
    }
}

impl Index<State> for Counts {
    type Output = u64;

    fn index(&self, state: State) -> &u64 {
        &self.0[state.number()]
    }
}

impl IndexMut<State> for Counts {
    fn index_mut(&mut self, state: State) -> &mut u64 {
        &mut self.0[state.number()]
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|number| self.0[number] + other.0[number]))
    }
}

impl From<&[(State, u64)]> for Counts {
    fn from(pairs: &[(State, u64)]) -> Self {
        pairs.iter().fold(Self::default(), |mut counts, &(state, sockets)| {
            counts[state] += sockets;
            counts
        })
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inhabited = State::ALL.into_iter().filter(|&state| self[state] > 0);
        f.debug_map()
            .entries(inhabited.map(|state| (format_args!("{state}").to_string(), self[state])))
            .finish()
    }
}
