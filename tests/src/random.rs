//! A pseudo-random generator whose sequence depends only on its seed.

use std::time::Duration;

/// A pseudo-random generator (xorshift).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator. Equal seeds give equal sequences.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // The sequence of the state 0 contains only zeros.
        Self(if seed == 0 { 0x9e37_79b9_7f4a_7c15 } else { seed })
    }

    /// Creates the generator of one part of a test, such as a single connection. The sequence of a
    /// part does not depend on the use of the other parts' generators.
    #[must_use]
    pub fn part(seed: u64, number: u64) -> Self {
        let mut mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Without these multiplications, the sequences of neighbouring numbers begin alike
        // (splitmix64).
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self::new(mixed ^ (mixed >> 31))
    }

    /// Returns a number from 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Returns `true` once in `number` calls on average.
    pub fn once_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    /// Returns one of the elements.
    ///
    /// # Panics
    /// Panics if there is no element.
    pub fn pick<T: Copy>(&mut self, elements: &[T]) -> T {
        let index = self.below(elements.len() as u64);
        elements[usize::try_from(index).expect("the index is smaller than the length")]
    }

    /// Returns a random duration with an exponential distribution, in nanoseconds.
    pub fn about(&mut self, average: u64) -> u64 {
        let uniform = (self.below(1 << 20) + 1) as f64 / f64::from(1 << 20);
        let nanos = Duration::from_nanos(average).mul_f64(-uniform.ln()).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_seed_repeat_and_differ() {
        let sequence = |seed, number| {
            let mut random = Random::part(seed, number);
            (0..8).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(sequence(7, 1), sequence(7, 1));
        assert_ne!(sequence(7, 1), sequence(7, 2));
        assert_ne!(sequence(7, 1), sequence(8, 1));
    }
}
