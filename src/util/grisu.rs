//! Digits of doubles, found with integers of 64 bits: Grisu2, after Florian Loitsch, "Printing
//! floating-point numbers quickly and accurately with integers" (2010).
//!
//! A double stands for all numbers that are nearer to it than to its neighbours. It is multiplied,
//! and so are the borders of those, by a power of ten that brings it to where its whole part has at
//! most ten digits. Then digits are taken from the upper border until what is left lies between the
//! borders, and the last one is lowered while that comes closer to the double itself. The power is
//! rounded to 64 bits, and so are the products. So the borders are drawn in by as much as they may
//! be wrong: what is found always reads back as the same double, and in one of 400 it has a digit
//! more than the fewest, or is not the closest. C servers print just these digits, which is what
//! this way is for.

/// A number of 64 bits times a power of two.
#[derive(Clone, Copy)]
struct Scaled {
    bits: u64,
    exponent: i32,
}

impl Scaled {
    /// The product, rounded to its upper 64 bits.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.bits) * u128::from(other.bits) + (1 << 63);
        Self { bits: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }

    /// The same with the exponent of another, which is as low.
    fn lowered_to(self, exponent: i32) -> Self {
        Self { bits: self.bits << (self.exponent - exponent), exponent }
    }
}

/// The least exponent of a product: its whole part then has 32 bits at most.
const EXPONENT_MIN: i32 = -60;

/// A number that reads back as a double above zero, as digits and the power of ten of the last.
pub fn digits_of(value: f64) -> (u64, i32) {
    const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const EXPONENT_OF_LEAST: i32 = f64::MIN_EXP - f64::MANTISSA_DIGITS as i32;
    let bits = value.to_bits();
    let (fraction, biased) = (bits & ((1 << FRACTION_BITS) - 1), (bits >> FRACTION_BITS) as i32);
    let own = match biased {
        0 => Scaled { bits: fraction, exponent: EXPONENT_OF_LEAST },
        _ => {
            Scaled { bits: fraction | 1 << FRACTION_BITS, exponent: EXPONENT_OF_LEAST + biased - 1 }
        }
    };
    // Half the way to each neighbour. Below a power of two they lie twice as close.
    let upper = Scaled { bits: 2 * own.bits + 1, exponent: own.exponent - 1 };
    let closer = 1 + u32::from(fraction == 0);
    let lower = Scaled { bits: (own.bits << closer) - 1, exponent: own.exponent - closer as i32 };
    let exponent = upper.exponent - upper.bits.leading_zeros() as i32;
    let (power, ten_exponent) = power_for(exponent);
    let [own, upper, lower] = [own, upper, lower].map(|it| it.lowered_to(exponent).times(power));
    let (digits, dropped) = take_digits(own.bits, upper.bits - 1, lower.bits + 1, -own.exponent);
    (digits, dropped - ten_exponent)
}

/// Digits between two borders, the nearest to a number between them of those that are as many; and
/// how many before the point were not needed, or less than none. All are counted in
/// 2^-`point` parts.
fn take_digits(own: u64, upper: u64, lower: u64, point: i32) -> (u64, i32) {
    let mut width = upper - lower;
    let one = 1u64 << point;
    let (whole, mut rest) = ((upper >> point) as u32, upper & (one - 1));
    let mut distance = upper - own;
    let mut unit = 1_000_000_000;
    for left in (0..10).rev() {
        let below = (u64::from(whole % unit) << point) + rest;
        if below <= width {
            let steps = steps_down(below, u64::from(unit) << point, width, distance);
            return (u64::from(whole / unit) - steps, left);
        }
        unit /= 10;
    }
    let (mut digits, mut left) = (u64::from(whole), 0);
    loop {
        rest *= 10;
        width *= 10;
        distance *= 10;
        digits = digits * 10 + (rest >> point);
        rest &= one - 1;
        left -= 1;
        if rest < width {
            return (digits - steps_down(rest, one, width, distance), left);
        }
    }
}

/// By how much the last digit is lowered. So much is between what was found and the upper border,
/// so much is a step, that far down lies the lower border, and that far the number itself.
fn steps_down(mut below: u64, step: u64, width: u64, distance: u64) -> u64 {
    let mut steps = 0;
    while below < distance
        && width - below >= step
        && (below + step < distance || distance - below > below + step - distance)
    {
        below += step;
        steps += 1;
    }
    steps
}

/// The least of the powers that brings a number of 64 bits with this exponent to `EXPONENT_MIN` at
/// least; and the power's exponent of ten.
fn power_for(exponent: i32) -> (Scaled, i32) {
    let reaches = |ten_exponent| two_exponent(ten_exponent) + exponent + 64 >= EXPONENT_MIN;
    // By log10(2), rounded down, and a step before to be sure.
    let about = (((EXPONENT_MIN - 1 - exponent) * 1233) >> 12) - POWER_MIN;
    let mut index = (about / POWER_STEP - 1).max(0);
    while !reaches(POWER_MIN + index * POWER_STEP) {
        index += 1;
    }
    let ten_exponent = POWER_MIN + index * POWER_STEP;
    let power = Scaled { bits: POWERS[index as usize], exponent: two_exponent(ten_exponent) };
    (power, ten_exponent)
}

/// Powers of ten that are kept: a product by the next is at most 27 bits longer.
const POWER_MIN: i32 = -348;
const POWER_STEP: i32 = 8;
const POWER_COUNT: usize = 87;

/// The upper 64 bits of each, rounded.
const POWERS: [u64; POWER_COUNT] = {
    let mut powers = [0; POWER_COUNT];
    let mut index = 0;
    while index < POWER_COUNT {
        powers[index] = upper_bits(POWER_MIN + index as i32 * POWER_STEP);
        index += 1;
    }
    powers
};

/// The exponent of two of a power of ten whose upper 64 bits are kept.
const fn two_exponent(ten_exponent: i32) -> i32 {
    // By log2(10), which is exact enough for exponents of up to 1,000.
    ((ten_exponent * 217_706) >> 16) - 63
}

/// The upper 64 bits of a power of ten, rounded: of the power of five, that is, or of what is left
/// when a power of two is divided by it.
const fn upper_bits(ten_exponent: i32) -> u64 {
    let mut five = Wide::of(1);
    let mut left = ten_exponent.unsigned_abs();
    while left > 0 {
        five = five.times(5);
        left -= 1;
    }
    let bit_count = five.bit_count();
    if ten_exponent >= 0 {
        let bits = five.bits_from(bit_count as i32 - 64);
        return bits + (bit_count > 64 && five.bit(bit_count - 65)) as u64;
    }
    // 2^(n-1) is less than the divisor of n bits, so that the first bit of the quotient is one.
    let mut rest = Wide::power_of_two(bit_count - 1);
    let (mut quotient, mut count) = (0u64, 0);
    while count < 64 {
        rest = rest.times(2);
        quotient <<= 1;
        if !rest.is_less(&five) {
            rest = rest.minus(&five);
            quotient |= 1;
        }
        count += 1;
    }
    quotient + !rest.times(2).is_less(&five) as u64
}

/// An integer of up to 832 bits, as 5^348 and twice that need.
#[derive(Clone, Copy)]
struct Wide([u64; Wide::WORDS]);

impl Wide {
    const WORDS: usize = 13;

    const fn of(number: u64) -> Self {
        let mut words = [0; Self::WORDS];
        words[0] = number;
        Self(words)
    }

    const fn power_of_two(bit: u32) -> Self {
        let mut words = [0; Self::WORDS];
        words[(bit / 64) as usize] = 1 << (bit % 64);
        Self(words)
    }

    const fn times(mut self, factor: u64) -> Self {
        let (mut at, mut carry) = (0, 0u128);
        while at < Self::WORDS {
            carry += self.0[at] as u128 * factor as u128;
            self.0[at] = carry as u64;
            carry >>= 64;
            at += 1;
        }
        self
    }

    const fn minus(mut self, other: &Self) -> Self {
        let (mut at, mut borrow) = (0, false);
        while at < Self::WORDS {
            let (less, is_under) = self.0[at].overflowing_sub(other.0[at]);
            let (less, is_again) = less.overflowing_sub(borrow as u64);
            self.0[at] = less;
            borrow = is_under || is_again;
            at += 1;
        }
        self
    }

    const fn is_less(&self, other: &Self) -> bool {
        let mut at = Self::WORDS;
        while at > 0 {
            at -= 1;
            if self.0[at] != other.0[at] {
                return self.0[at] < other.0[at];
            }
        }
        false
    }

    const fn bit_count(&self) -> u32 {
        let mut at = Self::WORDS;
        while at > 0 {
            at -= 1;
            if self.0[at] != 0 {
                return at as u32 * 64 + 64 - self.0[at].leading_zeros();
            }
        }
        0
    }

    const fn bit(&self, at: u32) -> bool {
        self.0[(at / 64) as usize] >> (at % 64) & 1 == 1
    }

    /// 64 bits from this one on; zeroes below the first.
    const fn bits_from(&self, first: i32) -> u64 {
        let (mut bits, mut at) = (0, 0);
        while at < 64 {
            if first + at >= 0 && self.bit((first + at) as u32) {
                bits |= 1 << at;
            }
            at += 1;
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    /// As far as doubles can tell.
    #[test]
    fn powers_are_those_of_ten() {
        for (index, bits) in POWERS.iter().enumerate() {
            let ten_exponent = POWER_MIN + index as i32 * POWER_STEP;
            assert!(*bits >> 63 == 1, "10^{ten_exponent} has a first bit");
            let exact: f64 = format!("1e{ten_exponent}").parse().unwrap();
            if exact.is_normal() && ten_exponent <= 300 {
                let own = *bits as f64 * 2f64.powi(two_exponent(ten_exponent).max(-1000));
                let own = own * 2f64.powi((two_exponent(ten_exponent) + 1000).min(0));
                let error = (own - exact).abs() / exact;
                assert!(error < 3e-16, "10^{ten_exponent}: {own:e}");
            }
        }
    }

    #[test]
    fn digits_read_back() {
        let mut rng = Rng::from_seed(23);
        let check = |value: f64| {
            let (digits, exponent) = digits_of(value);
            let text = format!("{digits}e{exponent}");
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{value:e} {text}");
            assert!(digits < 1_000_000_000_000_000_000, "{value:e} {text}");
        };
        for _ in 0..200_000 {
            let value = f64::from_bits(rng.next_u64() >> 1);
            if value.is_finite() && value > 0.0 {
                check(value);
            }
            check(rng.next_f64() * 1e5 + f64::MIN_POSITIVE);
        }
        for exponent in -1074..1024 {
            let power = 2f64.powi(exponent.max(-1022)) * 2f64.powi((exponent + 1022).min(0));
            [power, power.next_down(), power.next_up()]
                .into_iter()
                .filter(|it| *it > 0.0)
                .for_each(check);
        }
        check(f64::MAX);
    }
}
