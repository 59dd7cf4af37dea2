//! Hashing of bytes that clients choose: seeded, so that nobody can craft collisions.

use std::sync::OnceLock;

use ahash::RandomState;
use std::hash::{BuildHasher, Hasher};

use super::rng::Rng;

/// What makes hashes unforeseeable. Equal seeds give equal hashes, so that a seed replays a run.
#[derive(Clone, Debug)]
pub struct Seed(RandomState);

impl Seed {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed);
        let mut next = || rng.next_u64();
        Self(RandomState::with_seeds(next(), next(), next(), next()))
    }

    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

/// The one seed of all collections in the process: it would cost each of them 8 bytes to keep its
/// own, and every place that makes one a parameter.
static COLLECTIONS: OnceLock<Seed> = OnceLock::new();

/// To be called once, before the first collection grows; without it the seed is 0, as in tests.
pub fn seed_collections(seed: u64) {
    COLLECTIONS.get_or_init(|| Seed::new(seed));
}

/// The hash of an element inside a collection.
#[inline]
pub fn hash(bytes: &[u8]) -> u64 {
    COLLECTIONS.get_or_init(|| Seed::new(0)).hash(bytes)
}

/// Hashes bytes in maps of Rust's library, as `hash` does: several times as fast as their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seeded;

impl BuildHasher for Seeded {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> Self::Hasher {
        COLLECTIONS.get_or_init(|| Seed::new(0)).0.build_hasher()
    }
}

/// Brings what tells numbers apart into the high bits (Fibonacci hashing: the multiplier is 2^64
/// over the golden ratio). Enough where nobody can choose the numbers.
#[inline]
pub fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Hashes numbers that the program itself counts up: nobody can choose them, so that one
/// multiplication spreads them well enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountedUp(u64);

impl BuildHasher for CountedUp {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for CountedUp {
    fn write(&mut self, _: &[u8]) {
        unreachable!("what is counted up is a number");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = spread(number);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_decide_hashes() {
        assert_eq!(Seed::new(1).hash(b"a"), Seed::new(1).hash(b"a"));
        assert_ne!(Seed::new(1).hash(b"a"), Seed::new(2).hash(b"a"));
        assert_ne!(Seed::new(1).hash(b"a"), Seed::new(1).hash(b"a\0"));
    }
}
