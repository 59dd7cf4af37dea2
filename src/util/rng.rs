//! Pseudo-random numbers: xoshiro256**, seeded through SplitMix64. A seed replays a run; nothing
//! here is secret.

use std::collections::BTreeSet;

#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    pub fn from_seed(mut seed: u64) -> Self {
        Self { state: std::array::from_fn(|_| split_mix(&mut seed)) }
    }

    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let c = c ^ a;
        let d = d ^ b;
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        b.wrapping_mul(5).rotate_left(7).wrapping_mul(9)
    }

    /// 40 hexadecimal digits.
    pub fn hex_name(&mut self) -> String {
        (0..5).map(|_| format!("{:08x}", self.next_u64() as u32)).collect()
    }

    /// Uniform below `bound`, which is not zero. The high half of a product maps the whole range
    /// onto the bound; the few products that would favour some results are drawn again.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= unfair {
                return (product >> 64) as usize;
            }
        }
    }

    /// `count` different numbers below `bound`, or all of them: every choice is equally likely
    /// (R. Floyd's algorithm). In ascending order, so that a walk can pick them up.
    pub fn distinct_below(&mut self, bound: usize, count: usize) -> BTreeSet<usize> {
        let mut chosen = BTreeSet::new();
        for last in bound - count.min(bound)..bound {
            let number = self.below(last + 1);
            if !chosen.insert(number) {
                chosen.insert(last);
            }
        }
        chosen
    }

    /// Uniform from 0 to below 1.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test vectors of both generators.
    #[test]
    fn numbers_are_those_of_the_papers() {
        let mut seed = 1_234_567;
        let seeds = [(); 3].map(|()| split_mix(&mut seed));
        let expect =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(seeds, expect);

        let mut rng = Rng { state: [1, 2, 3, 4] };
        let numbers = [(); 4].map(|()| rng.next_u64());
        assert_eq!(numbers, [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn below_is_uniform() {
        let mut rng = Rng::from_seed(7);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[rng.below(counts.len())] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert_eq!(rng.below(1), 0);
        assert!(rng.below(usize::MAX) < usize::MAX);
    }

    #[test]
    fn different_numbers_are_chosen_alike() {
        let mut rng = Rng::from_seed(3);
        let mut counts = [0u32; 5];
        for _ in 0..30_000 {
            let chosen = rng.distinct_below(counts.len(), 2);
            assert_eq!(chosen.len(), 2);
            chosen.iter().for_each(|&number| counts[number] += 1);
        }
        assert!(counts.iter().all(|count| (11_500..12_500).contains(count)), "{counts:?}");
        assert!(rng.distinct_below(5, 9).iter().eq(&[0, 1, 2, 3, 4]));
        assert!(rng.distinct_below(0, 1).is_empty() && rng.distinct_below(5, 0).is_empty());
    }

    #[test]
    fn fractions_fill_the_unit_interval() {
        let mut rng = Rng::from_seed(1);
        let sum: f64 = (0..10_000).map(|_| rng.next_f64()).sum();
        assert!((4_800.0..5_200.0).contains(&sum));
    }
}
