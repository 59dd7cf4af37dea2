//! The 80-bit floating point of x86 (C's `long double` there), in software, so that every machine
//! adds alike. A number is a sign, 64 bits of mantissa, an exponent of 15 bits.
//!
//! Reading, adding and printing are each exact and then rounded once, half to even, as glibc's
//! `strtold`, the processor and `printf("%.17Lf")` do. A decimal numeral is a fraction of two big
//! naturals; its quotient is taken bit by bit, which costs about a microsecond at everyday sizes.

use std::cmp::Ordering;

/// Longer numerals are refused, which bounds the work on one.
const NUMERAL_LEN_MAX: usize = 5 * 1024 - 1;

const MANTISSA_BITS: u32 = 64;
const EXPONENT_MIN: i32 = -16_445;
const EXPONENT_MAX: i32 = 16_320;

/// Digits after the decimal point in print.
const DECIMALS: usize = 17;

/// `mantissa × 2^exponent`. The mantissa's top bit is set, except below the normal range, where the
/// exponent is `EXPONENT_MIN`. An exponent above `EXPONENT_MAX` means infinity.
#[derive(Clone, Copy, Debug)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl Extended {
    /// Reads the whole text as `strtold` would: decimal, hexadecimal or infinity, in any case.
    /// Refused are spaces, NaN, and what is too large or, not being zero, too small.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > NUMERAL_LEN_MAX {
            return None;
        }
        let (negative, magnitude) = split_sign(text);
        if is_infinity(magnitude) {
            return Some(Self { negative, mantissa: 0, exponent: i32::MAX });
        }
        let exact = Exact::parse_hex(magnitude).or_else(|| Exact::parse_decimal(magnitude))?;
        let rounded = Self::round(negative, exact);
        let in_range = rounded.is_finite() && (rounded.mantissa != 0 || exact.mantissa == 0);
        in_range.then_some(rounded)
    }

    pub fn is_finite(&self) -> bool {
        self.exponent <= EXPONENT_MAX
    }

    /// About the same as a double: infinity beyond all doubles, and what is not zero stays so.
    pub fn to_f64(self) -> f64 {
        let magnitude = self.mantissa as f64 * 2f64.powi(self.exponent);
        let magnitude = if self.mantissa == 0 { 0.0 } else { magnitude.max(f64::MIN_POSITIVE) };
        if self.negative { -magnitude } else { magnitude }
    }

    /// The sum; not finite if a term is not, or if it is too large.
    pub fn plus(self, other: Self) -> Self {
        if !self.is_finite() || !other.is_finite() {
            return if self.is_finite() { other } else { self };
        }
        let (high, low) =
            if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 62 guard bits below, one bit above for the carry. Only when the exponents are further
        // apart than the guard bits does anything of `low` drop, and then one sticky bit tells all.
        const GUARD_BITS: u32 = 62;
        let augend = u128::from(high.mantissa) << GUARD_BITS;
        let addend = shift_right_sticky(
            u128::from(low.mantissa) << GUARD_BITS,
            high.exponent.abs_diff(low.exponent),
        );
        let exponent = high.exponent - GUARD_BITS as i32;
        let (negative, mantissa) = if high.negative == low.negative {
            (high.negative, augend + addend)
        } else if augend >= addend {
            (high.negative && augend > addend, augend - addend)
        } else {
            (low.negative, addend - augend)
        };
        Self::round(negative, Exact { mantissa, exponent })
    }

    /// Appends a finite number as `printf("%.17Lf")` prints it, without trailing zeros.
    pub fn write(&self, out: &mut Vec<u8>) {
        debug_assert!(self.is_finite());
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        if self.exponent >= 0 {
            let mut whole = Natural::from(self.mantissa);
            whole.shift_left(self.exponent as u32);
            whole.write_decimal(out);
        } else {
            // 64 bits times 57 bits of 10^17 fit.
            let scaled = u128::from(self.mantissa) * 10u128.pow(DECIMALS as u32);
            let scaled = shift_right_half_even(scaled, self.exponent.unsigned_abs());
            let text = format!("{scaled:0width$}", width = DECIMALS + 1);
            let (whole, fraction) = text.split_at(text.len() - DECIMALS);
            out.extend_from_slice(whole.as_bytes());
            let fraction = fraction.trim_end_matches('0');
            if !fraction.is_empty() {
                out.push(b'.');
                out.extend_from_slice(fraction.as_bytes());
            }
        }
        if out[start..] == *b"-0" {
            out.remove(start);
        }
    }

    fn round(negative: bool, exact: Exact) -> Self {
        let (mantissa, exponent) = exact.round(MANTISSA_BITS, EXPONENT_MIN);
        Self { negative, mantissa, exponent }
    }
}

/// Reads the magnitude of a hexadecimal numeral (`0x1.8p3`) as a double: `None` if it is not one;
/// too large is infinite, too small zero.
pub(super) fn parse_hex_f64(magnitude: &[u8]) -> Option<f64> {
    const STORED_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const EXPONENT_MIN: i32 = -1074;
    const EXPONENT_MAX: i32 = 971;
    let (mantissa, exponent) =
        Exact::parse_hex(magnitude)?.round(f64::MANTISSA_DIGITS, EXPONENT_MIN);
    if exponent > EXPONENT_MAX {
        return Some(f64::INFINITY);
    }
    // The mantissa's top bit, which a double does not store, carries into the exponent's field;
    // where it is missing the double is subnormal, and its field is zero.
    Some(f64::from_bits(mantissa + (((exponent - EXPONENT_MIN) as u64) << STORED_BITS)))
}

pub(super) fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn is_infinity(magnitude: &[u8]) -> bool {
    magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity")
}

/// `mantissa × 2^exponent`, with at least two bits more than any format keeps; the last bit is
/// also set if anything below it was dropped ("sticky"), so that what rounds as a tie is one.
#[derive(Clone, Copy)]
struct Exact {
    mantissa: u128,
    exponent: i32,
}

impl Exact {
    /// Stand for "too large" and "too small, but not zero", whatever the format.
    const HUGE: Self = Self { mantissa: 1, exponent: 100_000 };
    const TINY: Self = Self { mantissa: 1, exponent: -100_000 };

    fn parse_decimal(magnitude: &[u8]) -> Option<Self> {
        let numeral = Numeral::split(magnitude, 10, b'e')?;
        let digits = [numeral.whole, numeral.fraction].concat();
        let leading_zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        let digits = &digits[leading_zeros..];
        let power = numeral.exponent.saturating_sub(numeral.fraction.len() as i64);
        if digits.is_empty() {
            return Some(Self { mantissa: 0, exponent: 0 });
        }
        match power.saturating_add(digits.len() as i64) {
            5_000.. => return Some(Self::HUGE),
            ..-5_000 => return Some(Self::TINY),
            _ => {}
        }
        let mut numerator = Natural::from(0);
        for chunk in digits.chunks(POWER_OF_TEN_MAX) {
            let value = chunk.iter().fold(0, |value, &digit| value * 10 + u64::from(digit - b'0'));
            numerator.multiply_add(10u64.pow(chunk.len() as u32), value);
        }
        let mut denominator = Natural::from(1);
        let scaled = if power >= 0 { &mut numerator } else { &mut denominator };
        scaled.multiply_power_of_ten(power.unsigned_abs() as usize);
        Some(Self::quotient(numerator, denominator))
    }

    fn parse_hex(magnitude: &[u8]) -> Option<Self> {
        let [b'0', b'x' | b'X', magnitude @ ..] = magnitude else {
            return None;
        };
        let numeral = Numeral::split(magnitude, 16, b'p')?;
        let (mut mantissa, mut dropped_digits) = (0u128, 0i64);
        for &digit in numeral.whole.iter().chain(numeral.fraction) {
            let digit = char::from(digit).to_digit(16)?;
            if mantissa >> 124 == 0 {
                mantissa = mantissa << 4 | u128::from(digit);
            } else {
                mantissa |= u128::from(digit != 0);
                dropped_digits += 1;
            }
        }
        let exponent = (numeral.exponent)
            .saturating_add(4 * (dropped_digits - numeral.fraction.len() as i64))
            .clamp(Self::TINY.exponent.into(), Self::HUGE.exponent.into());
        Some(Self { mantissa, exponent: exponent as i32 })
    }

    fn quotient(mut numerator: Natural, mut denominator: Natural) -> Self {
        const STEPS: u32 = MANTISSA_BITS + 3;
        // Aligned, their ratio lies between 1/2 and 2, so at most the first step yields a zero.
        let exponent = numerator.bit_len() as i32 - denominator.bit_len() as i32;
        let lower = if exponent > 0 { &mut denominator } else { &mut numerator };
        lower.shift_left(exponent.unsigned_abs());
        let mut mantissa = 0;
        for _ in 0..STEPS {
            let fits = numerator.cmp(&denominator) != Ordering::Less;
            if fits {
                numerator.subtract(&denominator);
            }
            mantissa = mantissa << 1 | u128::from(fits);
            numerator.shift_left(1);
        }
        mantissa = mantissa << 1 | u128::from(numerator.bit_len() != 0);
        Self { mantissa, exponent: exponent - STEPS as i32 }
    }

    /// Rounds to a mantissa of `bits` bits, or fewer where the exponent would pass below its bound.
    fn round(self, bits: u32, exponent_min: i32) -> (u64, i32) {
        if self.mantissa == 0 {
            return (0, exponent_min);
        }
        let len = u128::BITS - self.mantissa.leading_zeros();
        let drop = (len as i32 - bits as i32).max(exponent_min - self.exponent);
        let exponent = self.exponent + drop;
        if drop <= 0 {
            return ((self.mantissa << -drop) as u64, exponent);
        }
        let rounded = shift_right_half_even(self.mantissa, drop as u32);
        if rounded >> bits != 0 {
            return ((rounded >> 1) as u64, exponent + 1);
        }
        (rounded as u64, exponent)
    }
}

/// `value / 2^bits`, where the last bit is set if anything was dropped.
fn shift_right_sticky(value: u128, bits: u32) -> u128 {
    match value.checked_shr(bits) {
        Some(kept) => kept | u128::from(kept << bits != value),
        None => u128::from(value != 0),
    }
}

/// `value / 2^bits`, rounded half to even.
fn shift_right_half_even(value: u128, bits: u32) -> u128 {
    if bits == 0 {
        return value;
    }
    if bits > u128::BITS {
        return 0;
    }
    let kept = value.checked_shr(bits).unwrap_or(0);
    let dropped = value & (u128::MAX >> (u128::BITS - bits));
    let half = 1 << (bits - 1);
    kept + u128::from(dropped > half || dropped == half && kept & 1 == 1)
}

/// The parts of `12.5e3`, checked.
struct Numeral<'a> {
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Numeral<'a> {
    /// `mark` is the lower-case letter before the exponent, which is always decimal.
    fn split(text: &'a [u8], radix: u32, mark: u8) -> Option<Self> {
        let digits_len =
            |text: &[u8]| text.iter().take_while(|&&byte| char::from(byte).is_digit(radix)).count();
        let (whole, rest) = text.split_at(digits_len(text));
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => rest.split_at(digits_len(rest)),
            _ => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [letter, rest @ ..] if letter.to_ascii_lowercase() == mark => {
                let (negative, digits) = split_sign(rest);
                if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                let magnitude = digits.iter().fold(0i64, |value, digit| {
                    value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
                });
                if negative { -magnitude } else { magnitude }
            }
            _ => return None,
        };
        Some(Self { whole, fraction, exponent })
    }
}

/// The largest power of ten in a limb is 10^19.
const POWER_OF_TEN_MAX: usize = 19;

/// A natural number of any size, in limbs of 64 bits, the lowest first, the highest not zero.
struct Natural(Vec<u64>);

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        Self(if value == 0 { Vec::new() } else { vec![value] })
    }
}

impl Natural {
    fn bit_len(&self) -> u32 {
        self.0.last().map_or(0, |top| self.0.len() as u32 * 64 - top.leading_zeros())
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let by_len = self.0.len().cmp(&other.0.len());
        by_len.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in &mut self.0 {
            (*limb, carry) = limb.carrying_mul(factor, carry);
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn multiply_power_of_ten(&mut self, mut power: usize) {
        while power > 0 {
            let step = power.min(POWER_OF_TEN_MAX);
            self.multiply_add(10u64.pow(step as u32), 0);
            power -= step;
        }
    }

    fn shift_left(&mut self, bits: u32) {
        if self.0.is_empty() {
            return;
        }
        self.multiply_add(1 << (bits % 64), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, bits as usize / 64));
    }

    /// `other` is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let subtrahend = other.0.get(index).copied().unwrap_or(0);
            (*limb, borrow) = limb.borrowing_sub(subtrahend, borrow);
        }
        debug_assert!(!borrow);
        self.trim();
    }

    fn write_decimal(mut self, out: &mut Vec<u8>) {
        let divisor = 10u128.pow(POWER_OF_TEN_MAX as u32);
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            let mut remainder = 0u128;
            for limb in self.0.iter_mut().rev() {
                let dividend = remainder << 64 | u128::from(*limb);
                *limb = (dividend / divisor) as u64;
                remainder = dividend % divisor;
            }
            self.trim();
            chunks.push(remainder);
        }
        let mut chunks = chunks.into_iter().rev();
        out.extend_from_slice(chunks.next().unwrap_or(0).to_string().as_bytes());
        for chunk in chunks {
            out.extend_from_slice(format!("{chunk:0POWER_OF_TEN_MAX$}").as_bytes());
        }
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from the first oracle on x86-64, as increments by floats.
    #[test]
    fn sums_are_those_of_x87() {
        fn check(augend: &str, addend: &str, expect: &str) {
            let parse = |text: &str| Extended::parse(text.as_bytes());
            let sum = parse(augend).zip(parse(addend)).map(|(augend, addend)| augend.plus(addend));
            let mut text = Vec::new();
            match sum {
                None => text.extend_from_slice(b"refused"),
                Some(sum) if !sum.is_finite() => text.extend_from_slice(b"not finite"),
                Some(sum) => sum.write(&mut text),
            }
            assert_eq!(str::from_utf8(&text).unwrap(), expect, "{augend} + {addend}");
        }
        for text in ["", " 1", "1 ", "nan", "1e", "0x", "1e5000", "1e-5000", "0x1p16384"] {
            check(text, "0", "refused");
        }
        check(&"0".repeat(NUMERAL_LEN_MAX), "1", "1");
        check(&"0".repeat(NUMERAL_LEN_MAX + 1), "1", "refused");
        check("inf", "1", "not finite");
        check("inf", "-inf", "not finite");
        check("1.18973149535723176502e4932", "1e4932", "not finite");

        check("0.1", "0.2", "0.3");
        check("10.5", "0.1", "10.6");
        check("5.0e3", "2.0e2", "5200");
        check("3", "-3", "0");
        check("-0", "-0", "0");
        check("0", "0x1.fffffffffffff8p0", "1.99999999999999989");
        check("0", "1e-400", "0");
        check("-1e-30", "0", "0");
        check("1e18", "0.1", "1000000000000000000.125");
        check("9223372036854775807", "1", "9223372036854775808");
        check("18446744073709551615", "0.5", "18446744073709551616");
        check("18446744073709551614", "0.5", "18446744073709551614");
        check("0", "123456789012345678901234567890", "123456789012345678899921813504");
        check("1e22", "-1", "10000000000000000000000");
        check("0x1p-16445", "0x1p-16445", "0");
    }

    /// From 2^64 to 2^65 mantissas count in twos, so that odd numbers are ties.
    #[test]
    fn ties_go_to_even_unless_a_late_digit_decides() {
        let check = |text: &str, expect: u64| {
            assert_eq!(Extended::parse(text.as_bytes()).unwrap().mantissa - (1 << 63), expect);
        };
        let late_digit = format!(".{}1", "0".repeat(60));
        for (text, tie, decided) in [
            ("18446744073709551617", 0, 1),
            ("18446744073709551618", 1, 1),
            ("18446744073709551619", 2, 2),
            ("18446744073709551621", 2, 3),
        ] {
            check(text, tie);
            check(&format!("{text}{late_digit}"), decided);
        }
    }
}
