//! Counts the sockets in one state for each duration of the peer's silence.

use std::time::Duration;

use super::groups::Sum;

/// The longest duration of silence that is counted, in seconds. A longer silence counts as 3,600
/// seconds.
const LONGEST_SILENCE: u64 = 3600;

/// The number of sockets for each duration of the peer's silence. The silence of a peer is the time
/// since the last ACK from the peer. The silence is never longer than the time that the socket has
/// spent in its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// Entry `n` is the number of sockets whose peer has been silent for `n` whole seconds.
    seconds: Vec<u64>,
    /// The number of sockets for which the peer's silence is unknown.
    unknown: u64,
}

impl Ages {
    /// Adds a socket.
    pub fn add(&mut self, silence: Option<Duration>) {
        let Some(silence) = silence else {
            self.unknown += 1;
            return;
        };
        let second = usize::try_from(silence.as_secs().min(LONGEST_SILENCE)).unwrap_or(0);
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, 0);
        }
        self.seconds[second] += 1;
    }

    /// Returns the number of sockets whose peer has been silent for at least this time, plus the
    /// number of sockets whose peer's silence is unknown.
    #[must_use]
    pub fn at_least(&self, age: Duration) -> u64 {
        let first = usize::try_from(age.as_secs().min(LONGEST_SILENCE)).unwrap_or(0);
        self.seconds.iter().skip(first).sum::<u64>() + self.unknown
    }

    /// Returns the longest silence. Silences above one hour count as one hour.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        self.seconds.len().checked_sub(1).map(|second| Duration::from_secs(second as u64))
    }

    /// Returns the number of all added sockets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.at_least(Duration::ZERO)
    }
}

impl Sum for Ages {
    fn sockets(&self) -> u64 {
        self.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_includes_sockets_of_unknown_age() {
        let mut ages = Ages::default();
        for millis in [0, 4999, 5000, 60_000, 10_000_000] {
            ages.add(Some(Duration::from_millis(millis)));
        }
        ages.add(None);
        let at_least = |seconds| ages.at_least(Duration::from_secs(seconds));
        assert_eq!([0, 5, 6, 60, 3600, 90_000].map(at_least), [6, 4, 3, 3, 2, 2]);
        assert_eq!(ages.oldest(), Some(Duration::from_secs(3600)));
    }
}
