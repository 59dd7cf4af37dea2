//! Numbers as text, both ways, byte for byte as C servers and Lua write and accept them.
//!
//! Integers have one spelling only. Doubles are read as `strtod` reads the whole text, and printed
//! in two styles: `format_double` takes as many digits as read back as the same double
//! (`grisu.rs`), `format_g` a given number of them, as `printf("%.17g")`.

use std::fmt::{self, Write};
use std::ops::Deref;

use super::{extended, grisu};

/// A number's text, on the stack.
#[derive(Clone, Copy)]
pub struct NumberText {
    bytes: [u8; NumberText::LEN_MAX],
    len: u8,
}

impl NumberText {
    /// 17 digits, a sign, a point and an exponent take 24; 17 digits and 7 zeros with a sign 25.
    const LEN_MAX: usize = 32;

    fn new() -> Self {
        Self { bytes: [0; Self::LEN_MAX], len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    fn push_zeros(&mut self, count: usize) {
        self.push(&[b'0'; Self::LEN_MAX][..count]);
    }
}

impl From<&str> for NumberText {
    fn from(text: &str) -> Self {
        let mut it = Self::new();
        it.push(text.as_bytes());
        it
    }
}

impl Deref for NumberText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Write for NumberText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// As C on x86-64 converts a double to an integer: what does not fit, NaN too, becomes the least.
pub fn truncate(number: f64) -> i64 {
    match number as i64 {
        i64::MAX => i64::MIN,
        0 if number.is_nan() => i64::MIN,
        integer => integer,
    }
}

/// Reads an integer that is spelled as `format_i64` spells it: no spaces, no plus, no leading
/// zeros, no minus zero. So a text that parses can be stored as its number.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        // 19 digits cannot overflow a u64.
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads what `strtoull` reads, where nobody asks for one spelling: blanks and a plus may lead, and
/// zeros; a negative number stands for 2^64 less, unless its spelling is that of `parse_i64`.
pub fn parse_u64_loosely(text: &[u8]) -> Option<u64> {
    let text = before_nul(text);
    if let Some(integer) = parse_i64(text) {
        return u64::try_from(integer).ok();
    }
    let (is_negative, digits) = match *skip_spaces(text) {
        [b'-', ref digits @ ..] => (true, digits),
        [b'+', ref digits @ ..] => (false, digits),
        ref digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if is_negative { magnitude.wrapping_neg() } else { magnitude })
}

/// What a C string that begins with these bytes holds: words end there for functions that know no
/// other end.
pub fn before_nul(text: &[u8]) -> &[u8] {
    memchr::memchr(0, text).map_or(text, |end| &text[..end])
}

/// Without what `isspace` calls so at the begin.
#[inline]
pub fn skip_spaces(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    &text[text.iter().take_while(|byte| is_space(byte)).count()..]
}

/// Reads a double as `strtod` reads the whole text: decimal, hexadecimal or infinity, in any case.
/// Refused are spaces, NaN, and what is too large or, not being zero, too small for a double.
#[inline]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value = round_f64(text)?;
    let (_, magnitude) = extended::split_sign(text);
    // Out of range, Rust rounds to infinity or zero where `strtod` reports an error.
    let refused = if value.is_infinite() {
        magnitude[0].is_ascii_digit() || magnitude[0] == b'.'
    } else if value == 0.0 {
        let digits = if is_hex(magnitude) { &magnitude[2..] } else { magnitude };
        let mut mantissa = digits.iter().take_while(|byte| !b"eEpP".contains(byte));
        mantissa.any(|byte| !b"0.".contains(byte))
    } else {
        value.is_nan()
    };
    (!refused).then_some(value)
}

/// As `parse_f64` where nobody looks at what `strtod` reports: spaces may lead, no text is zero, a
/// NUL ends it, and what is too large or too small is infinity or zero.
pub fn parse_f64_loosely(text: &[u8]) -> Option<f64> {
    let text = before_nul(text);
    let value = if text.is_empty() { Some(0.0) } else { round_f64(skip_spaces(text)) };
    value.filter(|value| !value.is_nan())
}

#[inline]
fn round_f64(text: &[u8]) -> Option<f64> {
    if let Some(whole) = parse_digits(text) {
        // The nearest double, as the text itself would become.
        return Some(whole as f64);
    }
    let (negative, magnitude) = extended::split_sign(text);
    if is_hex(magnitude) {
        let value = extended::parse_hex_f64(magnitude)?;
        return Some(if negative { -value } else { value });
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// Digits alone, as most scores are; zeros may lead.
#[inline]
fn parse_digits(text: &[u8]) -> Option<i64> {
    const DIGITS_MAX: usize = 18;
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    let (mut number, mut is_odd) = (0i64, false);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        is_odd |= digit > 9;
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
    }
    (!is_odd).then_some(number)
}

fn is_hex(magnitude: &[u8]) -> bool {
    matches!(magnitude, [b'0', b'x' | b'X', ..])
}

#[inline]
pub fn format_i64(value: i64) -> NumberText {
    itoa::Buffer::new().format(value).into()
}

/// The digits that C servers print, which read back as the same double. Whole numbers up to 2^62
/// are printed in full, larger ones with up to six zeros; fractions with up to six digits after the
/// point, and those between 0.001 and 10,000, as decimals; the rest as `1e+21`.
#[inline]
pub fn format_double(value: f64) -> NumberText {
    const WHOLE_MAX: f64 = (1u64 << 62) as f64;
    if value != 0.0 && value.abs() <= WHOLE_MAX && value == value.trunc() {
        return format_i64(value as i64);
    }
    format_briefly(value)
}

/// As `format_double`, but for whole numbers that end in more than six zeros, which are printed as
/// `1.7e+12`: as DEBUG DIGEST counts scores.
pub fn format_briefly(value: f64) -> NumberText {
    if value == 0.0 {
        return signed(value, "0", "-0").into();
    }
    if !value.is_finite() {
        return if value.is_nan() { "nan" } else { signed(value, "inf", "-inf") }.into();
    }
    // With the power of ten of the last digit.
    let (digits, unit) = grisu::digits_of(value.abs());
    let digits = NumberText::from(itoa::Buffer::new().format(digits));
    let exponent = unit + digits.len() as i32 - 1;
    let decimal = Decimal { negative: value.is_sign_negative(), digits, exponent };
    let is_plain = if unit >= 0 {
        decimal.exponent.abs() < decimal.digits.len() as i32 + 7
    } else {
        unit > -7 || decimal.exponent.abs() < 4
    };
    if is_plain { decimal.plain() } else { decimal.scientific(1) }
}

/// As `printf("%.*g")`, with 1 to 17 digits.
pub fn format_g(value: f64, digits: usize) -> NumberText {
    debug_assert!((1..=17).contains(&digits));
    // Almost every number in JSON is a small integer: those have their own digits only.
    if value == 0.0 {
        return signed(value, "0", "-0").into();
    }
    if value.abs() < 10f64.powi(digits.min(15) as i32) && value == value.trunc() {
        return format_i64(value as i64);
    }
    if value.is_nan() {
        return signed(value, "nan", "-nan").into();
    }
    if value.is_infinite() {
        return signed(value, "inf", "-inf").into();
    }
    let mut text = NumberText::new();
    let _ = write!(text, "{value:.*e}", digits - 1);
    let decimal = Decimal::read(str::from_utf8(&text).unwrap_or_default());
    let is_plain = (-4..digits as i32).contains(&decimal.exponent);
    if is_plain { decimal.plain() } else { decimal.scientific(2) }
}

fn signed(value: f64, positive: &'static str, negative: &'static str) -> &'static str {
    if value.is_sign_negative() { negative } else { positive }
}

/// `d.ddd × 10^exponent`, without zeros at either end; zero is one digit.
struct Decimal {
    negative: bool,
    digits: NumberText,
    exponent: i32,
}

impl Decimal {
    /// Takes apart what a Rust printer wrote: `-0.00123`, `1.5e-7`, `120000000000000000.0`.
    fn read(text: &str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut exponent = exponent.parse().unwrap_or(0) + whole.len() as i32 - 1;
        let mut digits = NumberText::new();
        digits.push(whole.as_bytes());
        digits.push(fraction.as_bytes());
        let leading_zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        let trailing_zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
        if leading_zeros == digits.len() {
            return Self { negative, digits: "0".into(), exponent: 0 };
        }
        exponent -= leading_zeros as i32;
        let mut trimmed = NumberText::new();
        trimmed.push(&digits[leading_zeros..digits.len() - trailing_zeros]);
        Self { negative, digits: trimmed, exponent }
    }

    fn plain(&self) -> NumberText {
        let mut out = self.sign();
        if self.exponent < 0 {
            out.push(b"0.");
            out.push_zeros(-self.exponent as usize - 1);
            out.push(&self.digits);
            return out;
        }
        let whole_len = self.exponent as usize + 1;
        if self.digits.len() <= whole_len {
            out.push(&self.digits);
            out.push_zeros(whole_len - self.digits.len());
        } else {
            out.push(&self.digits[..whole_len]);
            out.push(b".");
            out.push(&self.digits[whole_len..]);
        }
        out
    }

    fn scientific(&self, exponent_digits_min: usize) -> NumberText {
        let mut out = self.sign();
        out.push(&self.digits[..1]);
        if self.digits.len() > 1 {
            out.push(b".");
            out.push(&self.digits[1..]);
        }
        let sign = if self.exponent < 0 { '-' } else { '+' };
        let magnitude = self.exponent.unsigned_abs();
        let _ = write!(out, "e{sign}{magnitude:0exponent_digits_min$}");
        out
    }

    fn sign(&self) -> NumberText {
        if self.negative { "-".into() } else { NumberText::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        for value in [0, 7, -7, 10, i64::MAX, i64::MIN, i64::MAX - 1] {
            assert_eq!(parse_i64(&format_i64(value)), Some(value));
        }
        for text in ["", "-", "-0", "00", "01", "-01", "+1", " 1", "1 ", "1.0", "0x1", "--1", "1a"]
        {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        for text in ["9223372036854775808", "-9223372036854775809", "99999999999999999999"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    /// Recorded from the first oracle, as scores of sorted sets.
    #[test]
    fn doubles_are_read_as_strtod_reads_and_printed_as_c_servers_do() {
        fn check(text: &str, expect: &str) {
            let printed = parse_f64(text.as_bytes()).map(format_double);
            let printed =
                printed.as_deref().map_or("refused", |text| str::from_utf8(text).unwrap());
            assert_eq!(printed, expect, "{text:?}");
        }
        for text in ["", ".", "e5", "1e", "1e+", "++1", "1_0", " 1", "1 ", "1d", "0b1", "1e5.5"] {
            check(text, "refused");
        }
        for text in ["nan", "-nan", "nan(1)", "infinit", "0x", "0x.p1", "0x1p", "0x-1", "1\0"] {
            check(text, "refused");
        }
        for text in ["1e400", "-1e400", "1e-400", "2.4703282292062327e-324", "0x1p-1075"] {
            check(text, "refused");
        }
        for text in ["0x1p2000", "0x1.fffffffffffff8p1023", "0x1p-99999999999999999999"] {
            check(text, "refused");
        }
        for (text, expect) in [
            ("+1", "1"),
            ("1.", "1"),
            (".5", "0.5"),
            ("00012", "12"),
            ("1e00005", "100000"),
            ("0e-400", "0"),
            ("-0", "-0"),
            ("INFINITY", "inf"),
            ("-inf", "-inf"),
            ("0x10", "16"),
            ("-0X1p3", "-8"),
            ("0x1.8e3", "1.555419921875"),
            ("0x.8", "0.5"),
            ("0x0p2000", "0"),
            ("0x1.fffffffffffff8p0", "2"),
            ("0x1.00000000000008p0", "1"),
            ("0x1.00000000000018p0", "1.0000000000000004"),
            ("0x1.000000000000080001p0", "1.0000000000000002"),
            ("0x1p-1074", "5e-324"),
            ("0x1p-1022", "2.2250738585072014e-308"),
            ("0x1.fffffffffffff7p1023", "1.7976931348623157e+308"),
            ("4e-324", "5e-324"),
            ("1e16", "10000000000000000"),
            ("9007199254740993", "9007199254740992"),
            ("4611686018427387904", "4611686018427387904"),
            ("4611686018427388928", "4611686018427389000"),
            ("1e18", "1000000000000000000"),
            ("1e20", "1e+20"),
            ("12345678901234567e5", "1234567890123456800000"),
            ("1e-5", "0.00001"),
            ("1e-6", "0.000001"),
            ("1e-7", "1e-7"),
            ("1.5e-6", "1.5e-6"),
            ("0.00001234", "1.234e-5"),
            ("0.0001234567890123", "1.234567890123e-4"),
            ("246545916.5114746", "2.465459165114746e+8"),
            ("9193.960518823367", "9193.960518823367"),
            ("-0.3690010590488205", "-0.3690010590488205"),
            ("0.007130503266567002", "0.007130503266567002"),
            ("1626983080611305.75", "1626983080611305.7"),
        ] {
            check(text, expect);
        }
    }

    /// Recorded from C's `printf("%.*g")`.
    /// Recorded from the first oracle: cursors.
    #[test]
    fn whole_numbers_are_read_loosely_where_any_spelling_does() {
        for (text, expect) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-00", Some(0)),
            ("-007", Some(7u64.wrapping_neg())),
            ("-1", None),
            ("-9223372036854775808", None),
            ("-9223372036854775809", Some(i64::MAX as u64)),
            ("-18446744073709551615", Some(1)),
            ("-18446744073709551616", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+5", Some(5)),
            ("+-5", None),
            (" 5", Some(5)),
            ("\t\n\x0b\x0c\r5", Some(5)),
            ("5 ", None),
            ("- 5", None),
            ("1\0", Some(1)),
            ("1\0x", Some(1)),
            ("\0", None),
            ("", None),
            (" ", None),
            ("-", None),
            ("0x5", None),
        ] {
            assert_eq!(parse_u64_loosely(text.as_bytes()), expect, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_read_loosely_where_errors_do_not_count() {
        fn check(text: &str, expect: Option<f64>) {
            assert_eq!(parse_f64_loosely(text.as_bytes()), expect, "{text:?}");
        }
        check("", Some(0.0));
        check(" \t\n+1.5", Some(1.5));
        check("-1e400", Some(f64::NEG_INFINITY));
        check("1e-400", Some(0.0));
        check("0x10", Some(16.0));
        check("inf", Some(f64::INFINITY));
        for text in [" ", "1 ", "1x", "nan", "-nan", ".", "- 1"] {
            check(text, None);
        }
    }

    #[test]
    fn g_keeps_the_digits_it_is_given() {
        fn check(digits: usize, value: f64, expect: &str) {
            assert_eq!(str::from_utf8(&format_g(value, digits)).unwrap(), expect);
        }
        check(14, 0.1, "0.1");
        check(17, 0.1, "0.10000000000000001");
        check(14, 3.0, "3");
        check(14, -0.0, "-0");
        check(14, 1e14, "1e+14");
        check(17, 1e14, "100000000000000");
        check(14, 99_999_999_999_999.5, "1e+14");
        check(14, 0.0001, "0.0001");
        check(14, 0.00001, "1e-05");
        check(14, 1.0 / 3.0, "0.33333333333333");
        check(1, 2.5, "2");
        check(17, 5e-324, "4.9406564584124654e-324");
        check(14, f64::INFINITY, "inf");
        check(14, f64::NEG_INFINITY, "-inf");
        check(14, f64::NAN.copysign(-1.0), "-nan");
    }
}
