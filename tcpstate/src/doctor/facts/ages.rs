//! Sockets in one state, by age.

use std::time::Duration;

use super::groups::Sum;

/// Silence beyond an hour makes no difference.
const LONGEST_SILENCE: u64 = 3600;

/// Sockets by how long their peers have been silent, which is never more than they have been in
/// their state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// In each of the first seconds.
    seconds: Vec<u64>,
    /// Those of which it is not known.
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

    /// Those silent for at least so long, and those of which it is not known.
    #[must_use]
    pub fn at_least(&self, age: Duration) -> u64 {
        let first = usize::try_from(age.as_secs().min(LONGEST_SILENCE)).unwrap_or(0);
        self.seconds.iter().skip(first).sum::<u64>() + self.unknown
    }

    /// The longest silence, up to an hour.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        self.seconds.len().checked_sub(1).map(|second| Duration::from_secs(second as u64))
    }

    /// All of them.
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
    fn ages_count_those_at_least_so_old_and_those_unknown() {
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
