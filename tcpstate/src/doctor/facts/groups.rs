//! Sums by key, with a limit on the number of keys. The largest sums are kept, and
//! [`lost`](Groups::lost) is an upper bound of their error.
//!
//! When the limit is reached, the smaller half of the sums is removed (lossy counting). If a socket
//! with a removed key is added later, the sum of the key starts again at zero. `lost` is an upper
//! bound of the part that the sum lacks.

use std::{
    collections::{HashMap, hash_map},
    hash::Hash,
};

/// The maximum number of keys. This number of keys uses about 20 MiB.
const MAX_KEYS: usize = 1 << 16;

/// A sum of sockets.
pub trait Sum: Default {
    /// The number of sockets.
    fn sockets(&self) -> u64;
}

impl Sum for u64 {
    fn sockets(&self) -> u64 {
        *self
    }
}

/// Sums by key.
#[derive(Clone, Debug)]
pub struct Groups<K, S> {
    sums: HashMap<K, S>,
    max_keys: usize,
    lost: u64,
}

impl<K, S> Default for Groups<K, S> {
    fn default() -> Self {
        Self { sums: HashMap::new(), max_keys: MAX_KEYS, lost: 0 }
    }
}

impl<K: Eq + Hash, S: Sum> Groups<K, S> {
    /// Returns the sum of this key. The caller adds the next socket to the sum.
    pub fn of(&mut self, key: K) -> &mut S {
        if self.sums.len() >= self.max_keys && !self.sums.contains_key(&key) {
            self.make_room();
        }
        self.sums.entry(key).or_default()
    }

    fn make_room(&mut self) {
        let mut sizes: Vec<u64> = self.sums.values().map(Sum::sockets).collect();
        let middle = sizes.len() / 2;
        let median = *sizes.select_nth_unstable(middle).1;
        self.sums.retain(|_, sum| sum.sockets() > median);
        // A removed sum has at most `median` sockets, in addition to earlier losses of its key.
        self.lost += median;
    }

    /// Returns all sums, in no particular order.
    #[must_use]
    pub fn iter(&self) -> hash_map::Iter<'_, K, S> {
        self.sums.iter()
    }

    /// The `top` largest sums, largest first.
    #[must_use]
    pub fn largest(&self, top: usize) -> Vec<(&K, &S)>
    where
        K: Ord,
    {
        let mut all: Vec<(&K, &S)> = self.sums.iter().collect();
        all.sort_unstable_by(|a, b| b.1.sockets().cmp(&a.1.sockets()).then_with(|| a.0.cmp(b.0)));
        all.truncate(top);
        all
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Returns whether there are no sums, because no socket was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Returns an upper bound of the number of sockets that a kept or removed sum lacks. Zero means
    /// that all sums are exact.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl<'a, K: Eq + Hash, S: Sum> IntoIterator for &'a Groups<K, S> {
    type Item = (&'a K, &'a S);
    type IntoIter = hash_map::Iter<'a, K, S>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut groups: Groups<u32, u64> = Groups::default();
        for key in [1, 2, 1, 3, 1] {
            *groups.of(key) += 1;
        }
        assert_eq!(groups.largest(2), [(&1, &3), (&2, &1)]);
        assert_eq!((groups.len(), groups.lost()), (3, 0));
    }

    #[test]
    fn large_sums_stay_and_the_loss_is_bounded() {
        let mut groups: Groups<u32, u64> = Groups { max_keys: 64, ..Groups::default() };
        for round in 0..1000 {
            *groups.of(7) += 1;
            // Each of these keys is added only once.
            for key in 0..10 {
                *groups.of(1000 + round * 10 + key) += 1;
            }
        }
        let [(key, &sockets)] = groups.largest(1)[..] else { panic!("{groups:?}") };
        assert_eq!(*key, 7);
        assert!(sockets <= 1000 && sockets + groups.lost() >= 1000, "{sockets} {groups:?}");
        assert!(groups.len() <= 64 && groups.lost() < 500, "{}", groups.lost());
    }
}
