//! Groups of sockets, with one sum per key and at most 65,536 keys. The largest sums are kept, and
//! [`lost`](Groups::lost) is an upper bound of their error.
//!
//! If a new key would exceed the limit, the smaller half of the sums is removed (lossy counting).
//! If a removed key is added again, the sum of the key starts at zero and may be too low. `lost` is
//! the largest number of sockets by which a sum may be too low.

use std::{
    collections::{HashMap, hash_map},
    hash::Hash,
};

/// The maximum number of keys in a `Groups`. 65,536 keys and their sums use about 20 MiB.
const MAX_KEYS: usize = 1 << 16;

/// The totals of the sockets that have one key.
pub trait Sum: Default {
    /// Returns the number of sockets in this sum.
    fn sockets(&self) -> u64;
}

impl Sum for u64 {
    fn sockets(&self) -> u64 {
        *self
    }
}

/// Groups of sockets: one sum for each key.
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
    /// Returns the sum of this key, so that the caller can add a socket to the sum.
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
        // A removed sum has at most `median` sockets. The sockets of the key that were lost earlier
        // are already in `lost`.
        self.lost += median;
    }

    /// Returns all sums, in no particular order.
    #[must_use]
    pub fn iter(&self) -> hash_map::Iter<'_, K, S> {
        self.sums.iter()
    }

    /// Returns the `top` largest sums, in descending order of their number of sockets.
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

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Returns whether no socket was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Returns the largest number of sockets by which a sum may be too low. Zero means that all
    /// sums are exact.
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
            // Each key from 0 to 9 gets only one socket.
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
