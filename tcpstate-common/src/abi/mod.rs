//! The memory that user space and the BPF programs share: the configuration that user space sets
//! before the load, and the counters that the programs keep.
//!
//! All types of this module are `repr(C)` without padding. The length of every array is a power of
//! two, so that a masked index satisfies the verifier.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | the frozen configuration: flags, and offsets of kernel fields |
//! | [`control`] | the word that changes while the programs run |
//! | [`counters`] | counts per CPU and per network namespace |
//! | [`sockets`] | the state of one socket between its events |
//! | [`events`] | the records of `trace --events`, and their losses |
//! | [`connections`] | the records of `trace --connections` |
//! | [`owners`] | the counters of each owner, for `trace --by` |

pub mod config;
pub mod connections;
pub mod control;
pub mod counters;
pub mod events;
pub mod owners;
pub mod sockets;

pub use self::{
    config::*, connections::*, control::*, counters::*, events::*, owners::*, sockets::*,
};
use crate::State;

/// Number of slots of an array that is indexed by a state's kernel number: the number of states,
/// rounded up to a power of two.
pub const STATE_SLOTS: usize = 16;

/// Number of slots of a transition matrix: one slot for each pair of states.
pub const TRANSITION_SLOTS: usize = STATE_SLOTS * STATE_SLOTS;

/// Returns the slot of a transition in [`Counters::transitions`]. State numbers of [`STATE_SLOTS`]
/// or more wrap around.
#[must_use]
pub const fn transition_slot(from: usize, to: usize) -> usize {
    ((from & (STATE_SLOTS - 1)) * STATE_SLOTS) | (to & (STATE_SLOTS - 1))
}

/// Returns whether an event is the birth of a socket. A newborn socket enters a counted state
/// without leaving a counted state.
///
/// `inet_csk_clone_lock` reports a child as `LISTEN -> SYN_RECV`, or as `CLOSE -> SYN_RECV` if the
/// listener was closed meanwhile. The birth of a child does not change the state of the listener.
/// CLOSE is not a gauge, so every transition from CLOSE is a birth.
#[must_use]
#[inline]
pub const fn is_birth(from: usize, to: usize) -> bool {
    from == State::Close as usize
        || (from == State::Listen as usize && to == State::SynRecv as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_states_has_a_slot_of_its_own() {
        let mut seen = [false; TRANSITION_SLOTS];
        for from in 0..STATE_SLOTS {
            for to in 0..STATE_SLOTS {
                let slot = transition_slot(from, to);
                assert!(!seen[slot], "{from} -> {to} shares slot {slot}");
                seen[slot] = true;
            }
        }
    }

    #[test]
    fn a_clone_of_a_listener_is_a_birth_and_a_closing_listener_is_not() {
        let number = State::number;
        assert!(is_birth(number(State::Listen), number(State::SynRecv)));
        assert!(is_birth(number(State::Close), number(State::SynRecv)));
        assert!(is_birth(number(State::Close), number(State::SynSent)));
        assert!(!is_birth(number(State::Listen), number(State::Close)));
        assert!(!is_birth(number(State::SynSent), number(State::SynRecv)));
    }
}
