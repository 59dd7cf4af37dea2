//! `math.random`: the generator that Redis gives its scripts, so that they draw the same numbers.

use std::cell::Cell;

/// `lrand48` of SVID: 48 bits of a linear congruence, the upper 31 of them drawn.
pub(super) struct Random(Cell<u64>);

const MULTIPLIER: u64 = 0x5_deec_e66d;
const INCREMENT: u64 = 0xb;
const MASK: u64 = (1 << 48) - 1;

/// What a seed does not reach: the low 16 bits.
const SEED_LOW: u64 = 0x330e;

impl Random {
    /// Not seeded: the state that Redis starts with.
    pub fn new() -> Self {
        Self(Cell::new(0x1234_abcd_330e))
    }

    pub fn seed(&self, seed: i32) {
        self.0.set(u64::from(seed as u32) << 16 | SEED_LOW);
    }

    /// At least 0, below 1.
    pub fn draw(&self) -> f64 {
        let state = self.0.get().wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
        self.0.set(state);
        let range = i32::MAX as u64;
        ((state >> 17) % range) as f64 / range as f64
    }
}
