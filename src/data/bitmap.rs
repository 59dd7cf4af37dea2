//! Strings as bits: counting, finding and combining them, and integers of any width among them.
//!
//! Bit 0 is the highest of the first byte. What lies behind the end of a string is zero.

use std::ops::{Deref, Range};

/// Bits that are set.
pub fn count(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor was just asked.
        return unsafe { count_by_popcnt(bytes) };
    }
    count_words(bytes)
}

/// One instruction per word, which not every processor has: four times as fast as the sums that the
/// compiler puts in its place.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn count_by_popcnt(bytes: &[u8]) -> u64 {
    count_words(bytes)
}

#[inline(always)]
fn count_words(bytes: &[u8]) -> u64 {
    let ones = |word: &[u8; 8]| u64::from(u64::from_ne_bytes(*word).count_ones());
    let (words, rest) = bytes.as_chunks();
    let (fours, others) = words.as_chunks::<4>();
    // Four sums, none of which waits for another.
    let mut sums = [0; 4];
    for four in fours {
        (0..4).for_each(|at| sums[at] += ones(&four[at]));
    }
    let rest = rest.iter().map(|byte| u64::from(byte.count_ones()));
    sums.iter().sum::<u64>() + others.iter().map(ones).sum::<u64>() + rest.sum::<u64>()
}

/// Bits that are set among these.
pub fn count_bits(bytes: &[u8], bits: Range<usize>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let before = bytes[first] & !(u8::MAX >> (bits.start % 8));
    let behind = bytes[last] & !keep_first((bits.end - 1) % 8 + 1);
    count(&bytes[first..=last]) - u64::from(before.count_ones() + behind.count_ones())
}

/// The first bit of this kind among these.
pub fn find(bytes: &[u8], bits: Range<usize>, is_set: bool) -> Option<usize> {
    if bits.is_empty() {
        return None;
    }
    let skipped = if is_set { 0 } else { u8::MAX };
    let wanted = |byte: u8| byte ^ skipped;
    let first = bits.start / 8;
    let start = wanted(bytes[first]) & (u8::MAX >> (bits.start % 8));
    let at = match start {
        0 => {
            let rest = &bytes[first + 1..(bits.end - 1) / 8 + 1];
            let (words, _) = rest.as_chunks::<8>();
            let words = words.iter().take_while(|word| **word == [skipped; 8]).count();
            let bytes = rest[words * 8..].iter().position(|&byte| byte != skipped)?;
            let at = words * 8 + bytes;
            (first + 1 + at) * 8 + wanted(rest[at]).leading_zeros() as usize
        }
        start => first * 8 + start.leading_zeros() as usize,
    };
    (at < bits.end).then_some(at)
}

/// The bit at a place.
pub fn get(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}

/// Sets a bit, which must be there, and returns what it was.
pub fn set(bytes: &mut [u8], at: usize, is_set: bool) -> bool {
    let (byte, bit) = (&mut bytes[at / 8], 0x80 >> (at % 8));
    let was_set = *byte & bit != 0;
    *byte = if is_set { *byte | bit } else { *byte & !bit };
    was_set
}

/// The highest bits of a byte, so many of them.
fn keep_first(count: usize) -> u8 {
    !(0xff_u16 >> count) as u8
}

/// What BITOP makes of several strings, bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// All have it.
    And,
    /// Any has it.
    Or,
    /// An odd number has it.
    Xor,
    /// The only one has it not.
    Not,
    /// The first has it, and none of the others.
    Diff,
    /// Any has it but the first.
    Diff1,
    /// The first has it, and any of the others.
    AndOr,
    /// Exactly one has it.
    One,
}

impl Operation {
    /// Writes the result, which is as long as the longest input and was zero before. There is at
    /// least one input; two where the first is none like the others.
    ///
    /// Takes one pass per input, sixteen bytes at a time: the loops are such that the compiler
    /// knows how.
    pub fn combine(self, inputs: &[impl Deref<Target = [u8]>], out: &mut [u8]) {
        let inputs: Vec<&[u8]> = inputs.iter().map(|input| &**input).collect();
        let (&first, others) = inputs.split_first().expect("there is an input");
        let any = |out: &mut [u8]| others.iter().for_each(|it| merge(out, it, |out, it| out | it));
        if !matches!(self, Operation::Diff1 | Operation::AndOr | Operation::One) {
            out[..first.len()].copy_from_slice(first);
        }
        match self {
            Operation::And => others.iter().for_each(|it| intersect(out, it)),
            Operation::Or => any(out),
            Operation::Xor => others.iter().for_each(|it| merge(out, it, |out, it| out ^ it)),
            Operation::Not => out.iter_mut().for_each(|byte| *byte = !*byte),
            Operation::Diff => others.iter().for_each(|it| merge(out, it, |out, it| out & !it)),
            Operation::Diff1 => {
                any(out);
                merge(out, first, |out, it| out & !it);
            }
            Operation::AndOr => {
                any(out);
                intersect(out, first);
            }
            Operation::One => {
                let mut several = vec![0; out.len()];
                for input in inputs {
                    for ((out, several), byte) in out.iter_mut().zip(&mut several).zip(input) {
                        *several |= *out & byte;
                        *out |= byte;
                    }
                }
                merge(out, &several, |out, it| out & !it);
            }
        }
    }
}

/// Whatever is behind the input stays.
fn merge(out: &mut [u8], input: &[u8], of: impl Fn(u8, u8) -> u8) {
    out.iter_mut().zip(input).for_each(|(out, &byte)| *out = of(*out, byte));
}

/// Nothing behind the input stays.
fn intersect(out: &mut [u8], input: &[u8]) {
    merge(out, input, |out, byte| out & byte);
    if let Some(behind) = out.get_mut(input.len()..) {
        behind.fill(0);
    }
}

/// An integer among the bits: `u8`, `i5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub is_signed: bool,
    /// From 1 to 63, or to 64 if it is signed.
    pub bits: u32,
}

/// What becomes of an integer that its field cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its lowest bits are kept.
    Wrap,
    /// It becomes the highest one, or the lowest.
    Saturate,
    /// It is not written.
    Fail,
}

impl Field {
    /// The integer whose highest bit is at a place.
    pub fn get(self, bytes: &[u8], at: usize) -> i64 {
        self.highest(Self::window(bytes, at) << (at % 8))
    }

    /// The integer that the highest bits of a window are.
    fn highest(self, window: u128) -> i64 {
        match self.is_signed {
            true => (window as i128 >> (128 - self.bits)) as i64,
            false => (window >> (128 - self.bits)) as i64,
        }
    }

    /// Writes the lowest bits of an integer to a place, which must be there.
    pub fn set(self, bytes: &mut [u8], at: usize, value: i64) {
        let shift = 128 - self.bits - (at % 8) as u32;
        let mask = (u128::MAX >> (128 - self.bits)) << shift;
        let window = Self::window(bytes, at) & !mask | (value as u128) << shift & mask;
        let bytes = &mut bytes[at / 8..];
        let len = bytes.len().min(16);
        bytes[..len].copy_from_slice(&window.to_be_bytes()[..len]);
    }

    /// Sixteen bytes from the one on that has this bit.
    fn window(bytes: &[u8], at: usize) -> u128 {
        let mut window = [0; 16];
        let bytes = bytes.get(at / 8..).unwrap_or_default();
        let len = bytes.len().min(16);
        window[..len].copy_from_slice(&bytes[..len]);
        u128::from_be_bytes(window)
    }

    /// What the field holds once it is given this integer; None if it refuses. Where it has no
    /// sign, neither has the integer: a negative one is very large.
    pub fn fit(self, value: i64, overflow: Overflow) -> Option<i64> {
        match self.is_signed {
            true => self.clip(i128::from(value), overflow),
            false => self.clip(i128::from(value as u64), overflow),
        }
    }

    /// As `fit`, of a sum.
    pub fn add(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.clip(i128::from(value) + i128::from(increment), overflow)
    }

    fn clip(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = match self.is_signed {
            true => (-1 << (self.bits - 1), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        };
        let clipped = value.clamp(min, max);
        match overflow {
            _ if clipped == value => Some(value as i64),
            Overflow::Saturate => Some(clipped as i64),
            Overflow::Fail => None,
            Overflow::Wrap => Some(self.highest((value as u128) << (128 - self.bits))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    fn random_bytes(rng: &mut Rng, len_max: usize) -> Vec<u8> {
        let len = rng.below(len_max + 1);
        // Runs of equal bytes, so that searches go far.
        let kinds = [0, 0xff, rng.below(256) as u8];
        let kind = rng.below(3);
        let mut byte = || if rng.below(30) == 0 { rng.below(256) as u8 } else { kinds[kind] };
        (0..len).map(|_| byte()).collect()
    }

    fn random_range(rng: &mut Rng, len: usize) -> Range<usize> {
        let end = rng.below(len + 1);
        rng.below(end + 1)..end
    }

    #[test]
    fn counts_and_places_agree_with_a_look_at_each_bit() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..2_000 {
            let bytes = random_bytes(&mut rng, 100);
            let bits = random_range(&mut rng, bytes.len() * 8);
            let ones = |bits: Range<usize>| bits.filter(|&at| get(&bytes, at)).count() as u64;
            assert_eq!(count(&bytes), ones(0..bytes.len() * 8));
            assert_eq!(count_words(&bytes), ones(0..bytes.len() * 8));
            assert_eq!(count_bits(&bytes, bits.clone()), ones(bits.clone()), "{bits:?} {bytes:?}");
            for is_set in [false, true] {
                let expect = bits.clone().find(|&at| get(&bytes, at) == is_set);
                assert_eq!(find(&bytes, bits.clone(), is_set), expect, "{bits:?} {bytes:?}");
            }
        }
    }

    #[test]
    fn a_bit_is_set_alone() {
        let mut bytes = [0; 2];
        assert!(!set(&mut bytes, 9, true));
        assert_eq!(bytes, [0, 0b0100_0000]);
        assert!(set(&mut bytes, 9, false));
        assert_eq!(bytes, [0, 0]);
        assert!(!get(&bytes, 99));
    }

    #[test]
    fn operations_agree_with_their_meaning_bit_by_bit() {
        use Operation::*;
        let mut rng = Rng::from_seed(2);
        for _ in 0..500 {
            let operation = [And, Or, Xor, Not, Diff, Diff1, AndOr, One][rng.below(8)];
            let count = if operation == Not { 1 } else { 2 + rng.below(4) };
            let inputs: Vec<Vec<u8>> = (0..count).map(|_| random_bytes(&mut rng, 40)).collect();
            let len = inputs.iter().map(Vec::len).max().unwrap();
            let mut out = vec![0; len];
            operation.combine(&inputs, &mut out);
            for at in 0..len * 8 {
                let have = inputs.iter().filter(|input| get(input, at)).count();
                let first = get(&inputs[0], at);
                let others = have - usize::from(first);
                let expect = match operation {
                    And => have == count,
                    Or => have > 0,
                    Xor => have % 2 == 1,
                    Not => !first,
                    Diff => first && others == 0,
                    Diff1 => !first && others > 0,
                    AndOr => first && others > 0,
                    One => have == 1,
                };
                assert_eq!(get(&out, at), expect, "{operation:?} {at} {inputs:?}");
            }
        }
    }

    #[test]
    fn fields_are_read_and_written_where_they_are() {
        let mut rng = Rng::from_seed(3);
        for _ in 0..2_000 {
            let is_signed = rng.below(2) == 0;
            let field =
                Field { is_signed, bits: 1 + rng.below(63 + usize::from(is_signed)) as u32 };
            let mut bytes: Vec<u8> = (0..20).map(|_| rng.below(256) as u8).collect();
            let before = bytes.clone();
            let at = rng.below(20 * 8 - field.bits as usize + 1);
            let value = field.fit(rng.next_u64() as i64, Overflow::Wrap).expect("it wraps");
            field.set(&mut bytes, at, value);
            assert_eq!(field.get(&bytes, at), value);
            let inside = at..at + field.bits as usize;
            let mut spelled: u64 = 0;
            for bit in 0..20 * 8 {
                if inside.contains(&bit) {
                    spelled = spelled << 1 | u64::from(get(&bytes, bit));
                } else {
                    assert_eq!(
                        get(&bytes, bit),
                        get(&before, bit),
                        "{bit} is outside of {inside:?}"
                    );
                }
            }
            assert_eq!(spelled, value as u64 & (u64::MAX >> (64 - field.bits)));
        }
        // What is behind the end is zero.
        let field = Field { is_signed: true, bits: 12 };
        assert_eq!(field.get(&[0xff], 0), 0xff0 - 0x1000);
        assert_eq!(field.get(&[0xff], 4), 0xf00 - 0x1000);
        assert_eq!(field.get(&[0xff], 800), 0);
    }

    #[test]
    fn overflow_is_handled_as_asked() {
        use Overflow::*;
        let check = |is_signed, bits, value, increment, overflow, expect| {
            let found = Field { is_signed, bits }.add(value, increment, overflow);
            assert_eq!(found, expect, "{is_signed} {bits} {value} {increment} {overflow:?}");
        };
        check(false, 8, 250, 10, Wrap, Some(4));
        check(false, 8, 250, 10, Saturate, Some(255));
        check(false, 8, 250, 10, Fail, None);
        check(false, 8, 250, 5, Fail, Some(255));
        check(false, 8, 1, -2, Wrap, Some(255));
        check(false, 8, 1, -2, Saturate, Some(0));
        check(true, 8, 127, 1, Wrap, Some(-128));
        check(true, 8, -128, -1, Saturate, Some(-128));
        check(true, 64, i64::MAX, i64::MAX, Wrap, Some(-2));
        check(true, 64, i64::MIN, -1, Saturate, Some(i64::MIN));
        check(true, 64, i64::MIN, -1, Fail, None);
        check(false, 63, i64::MAX, 1, Wrap, Some(0));
        check(false, 1, 0, i64::MIN, Saturate, Some(0));
        assert_eq!(Field { is_signed: false, bits: 8 }.fit(-1, Saturate), Some(255));
        assert_eq!(Field { is_signed: true, bits: 8 }.fit(-200, Saturate), Some(-128));
        assert_eq!(Field { is_signed: true, bits: 8 }.fit(-200, Wrap), Some(56));
    }
}
