//! Sums by key, of which a bounded number is kept: the largest ones, with a bound on what they can lack.
//!
//! When there is no more room, the smaller half goes (lossy counting). A key that comes again afterwards starts anew, and
//! knows how much at most it has lost; so does one that is not there.

use std::{
    collections::{HashMap, hash_map},
    hash::Hash,
};

/// How many keys are kept; at most some 20 MiB.
const MOST: usize = 1 << 16;

/// Something that counts sockets.
pub trait Sum: Default {
    /// How many.
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
    most: usize,
    lost: u64,
}

impl<K, S> Default for Groups<K, S> {
    fn default() -> Self {
        Self { sums: HashMap::new(), most: MOST, lost: 0 }
    }
}

impl<K: Eq + Hash, S: Sum> Groups<K, S> {
    /// The sum to which the next socket with this key is to be added.
    pub fn of(&mut self, key: K) -> &mut S {
        if self.sums.len() >= self.most && !self.sums.contains_key(&key) {
            self.make_room();
        }
        self.sums.entry(key).or_default()
    }

    fn make_room(&mut self) {
        let mut sizes: Vec<u64> = self.sums.values().map(Sum::sockets).collect();
        let middle = sizes.len() / 2;
        let median = *sizes.select_nth_unstable(middle).1;
        self.sums.retain(|_, sum| sum.sockets() > median);
        // Whatever went now may have lost as much before.
        self.lost += median;
    }

    /// All that are kept, in no order.
    #[must_use]
    pub fn iter(&self) -> hash_map::Iter<'_, K, S> {
        self.sums.iter()
    }

    /// The `top` largest ones, the largest first.
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

    /// How many keys are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether no socket came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// By how many sockets a sum can be too small, at most; one that is not kept, too. Zero: all sums are exact.
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
    fn of_many_keys_the_large_ones_stay_and_the_loss_is_bounded() {
        let mut groups: Groups<u32, u64> = Groups { most: 64, ..Groups::default() };
        for round in 0..1000 {
            *groups.of(7) += 1;
            // Each comes once.
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
