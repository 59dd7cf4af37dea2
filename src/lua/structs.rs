//! `struct`: C structures as strings, in the formats of Roberto Ierusalimschy's library:
//!
//! | option | meaning |
//! |---|---|
//! | `<` `>` | little or big endian from here on (little at first) |
//! | `!n` | align to at most `n`, a power of 2; 8 without `n`, 1 at first |
//! | `b` `h` `l` `i`n | signed integer of 1, 2, 8, `n` bytes (4 without `n`); a capital: unsigned |
//! | `f` `d` | float, double |
//! | `s` | text and a zero byte |
//! | `c`n | `n` bytes; `c0`: all of them, or as many as the number unpacked before says |
//! | `x` | a byte of padding; blanks mean nothing |

use super::stack::{Raise, Returns, Stack, c_function};
use mlua::ffi::lua_CFunction;
use std::ffi::c_int;

pub(super) fn functions() -> [(&'static str, lua_CFunction); 3] {
    [("pack", c_function(pack)), ("unpack", c_function(unpack)), ("size", c_function(size))]
}

/// The widest integer. Bytes beyond the eighth are zeros, or lost.
const INTEGER_BYTES_MAX: usize = 32;

/// What `!` without a number aligns to: the alignment of a double.
const ALIGN_DEFAULT: usize = 8;

/// A format string while it is read. Each function fails with what is wrong with the format.
struct Format<'a> {
    lua: Stack<'a>,
    rest: &'a [u8],
    big_endian: bool,
    align: usize,
}

impl<'a> Format<'a> {
    /// The format is argument 1. It ends at a zero byte, being a C string.
    fn new(lua: Stack<'a>) -> Result<Self, Raise> {
        // SAFETY: it is an argument, which all that have a format leave at 1.
        let format: &[u8] = unsafe { lua.check_bytes(1) }?;
        let rest = format.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(Self { lua, rest, big_endian: false, align: 1 })
    }

    /// The next option with its size and the padding that it needs at `position`, all in bytes.
    /// None at the end.
    fn next(&mut self, position: usize) -> Result<Option<(u8, usize, usize)>, Raise> {
        let Some((&option, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'd' | b'T' => 8,
            b'f' => 4,
            b'c' => self.count(1)?,
            b'i' | b'I' => match self.count(4)? {
                size if size > INTEGER_BYTES_MAX => {
                    return Err(self.lua.error(format_args!(
                        "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
                    )));
                }
                size => size,
            },
            _ => 0,
        };
        let padding = match (option, size.min(self.align)) {
            (b'c', _) | (_, 0) => 0,
            (_, align) => align.wrapping_sub(position & (align - 1)) & (align - 1),
        };
        Ok(Some((option, size, padding)))
    }

    /// The number that follows an option, or `default`.
    fn count(&mut self, default: usize) -> Result<usize, Raise> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let number = number.iter().try_fold(0i32, |number, digit| {
            number.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
        });
        match number {
            Some(number) => Ok(number as usize),
            None => Err(self.lua.error(format_args!("integral size overflow"))),
        }
    }

    /// An option that stands for no value.
    fn control(&mut self, option: u8) -> Result<(), Raise> {
        match option {
            b' ' => {}
            b'<' => self.big_endian = false,
            b'>' => self.big_endian = true,
            b'!' => match self.count(ALIGN_DEFAULT)? {
                align if align.is_power_of_two() => self.align = align,
                align => {
                    let message = format_args!("alignment {align} is not a power of 2");
                    return Err(self.lua.error(message));
                }
            },
            _ => {
                let message = [b"invalid format option '", &[option][..], b"'"].concat();
                self.lua.push_bytes(&message);
                return Err(Raise::Argument(1));
            }
        }
        Ok(())
    }
}

fn pack(lua: Stack<'_>) -> Returns {
    let mut format = Format::new(lua)?;
    lua.push_nil(); // What the first missing argument is said to be.
    lua.push_built(|out| {
        let mut argument = 2..;
        let mut argument = || argument.next().unwrap_or(c_int::MAX);
        let mut total = 0;
        while let Some((option, size, padding)) = format.next(total)? {
            out.resize(out.len() + padding, 0);
            let start = out.len();
            match option {
                b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                    let value = to_u64(lua.check_number(argument())?).to_le_bytes();
                    let count = size.min(value.len());
                    out.extend_from_slice(&value[..count]);
                    out.resize(start + size, 0);
                }
                b'x' => out.push(0),
                b'f' => out.extend((lua.check_number(argument())? as f32).to_le_bytes()),
                b'd' => out.extend(lua.check_number(argument())?.to_le_bytes()),
                b'c' | b's' => {
                    let index = argument();
                    // SAFETY: it is an argument, and copied at once.
                    let bytes = unsafe { lua.check_bytes(index) }?;
                    let size = if size == 0 { bytes.len() } else { size };
                    let Some(bytes) = bytes.get(..size) else {
                        // Redis's library blames the argument behind it.
                        let message = format_args!("string too short");
                        return Err(lua.argument_error(index + 1, message));
                    };
                    out.extend_from_slice(bytes);
                    if option == b's' {
                        out.push(0);
                    }
                }
                _ => format.control(option)?,
            }
            if format.big_endian && !matches!(option, b'c' | b's') {
                out[start..].reverse();
            }
            total = out.len();
            lua.check_len(total)?;
        }
        Ok(())
    })
}

fn unpack(lua: Stack<'_>) -> Returns {
    let mut format = Format::new(lua)?;
    // SAFETY: it is an argument, which stays at 2: values are only pushed above it.
    let data = unsafe { lua.check_bytes(2) }?;
    let mut position = match lua.top() {
        0..=2 => 1,
        _ if lua.optional_int(3, 1)? == 0 => {
            return Err(lua.argument_error(3, format_args!("offset must be 1 or greater")));
        }
        _ => lua.number(3).unwrap_or(1.0) as i64 as usize,
    };
    position = position.wrapping_sub(1); // A negative offset becomes one beyond any string.
    lua.set_top(2);
    let too_short = || lua.argument_error(2, format_args!("data string too short"));
    let field = |position: usize, size: usize| {
        position.checked_add(size).and_then(|end| data.get(position..end)).ok_or_else(too_short)
    };
    let mut count = 0;
    while let Some((option, mut size, padding)) = format.next(position)? {
        position = position.wrapping_add(padding);
        let bytes = field(position, size)?;
        if !lua.reserve(2) {
            return Err(lua.error(format_args!("stack overflow (too many results)")));
        }
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                lua.push_number(integer(bytes, format.big_endian, option.is_ascii_lowercase()));
            }
            b'x' => count -= 1,
            b'f' => lua.push_number(f64::from(f32::from_le_bytes(native(bytes, &format)))),
            b'd' => lua.push_number(f64::from_le_bytes(native(bytes, &format))),
            b'c' if size == 0 => {
                let length = (count > 0).then(|| lua.number(-1)).flatten();
                let Some(length) = length else {
                    return Err(lua.error(format_args!("format 'c0' needs a previous size")));
                };
                lua.pop(1);
                count -= 1;
                size = to_u64(length) as usize;
                lua.push_bytes(field(position, size)?);
            }
            b'c' => lua.push_bytes(bytes),
            b's' => {
                let rest = data.get(position..).unwrap_or_default();
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(lua.error(format_args!("unfinished string in data")));
                };
                lua.push_bytes(&rest[..end]);
                size = end + 1;
            }
            _ => {
                format.control(option)?;
                count -= 1;
            }
        }
        count += 1;
        position = position.wrapping_add(size);
    }
    lua.push_number(position.wrapping_add(1) as i64 as f64);
    Ok(count + 1)
}

fn size(lua: Stack<'_>) -> Returns {
    let mut format = Format::new(lua)?;
    let mut total = 0;
    while let Some((option, size, padding)) = format.next(total)? {
        let unsized_option = match (option, size) {
            (b's', _) => Some("s"),
            (b'c', 0) => Some("c0"),
            _ => None,
        };
        if let Some(option) = unsized_option {
            let message = format_args!("option '{option}' has no fixed size");
            return Err(lua.argument_error(1, message));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option)?;
        }
        total += padding + size;
    }
    lua.push_number(total as f64);
    Ok(1)
}

/// The low 64 bits of an integer of any width.
fn integer(bytes: &[u8], big_endian: bool, signed: bool) -> f64 {
    let append = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = match big_endian {
        true => bytes.iter().fold(0, append),
        false => bytes.iter().rev().fold(0, append),
    };
    if !signed {
        return value as f64;
    }
    let sign = u64::MAX << (bytes.len().wrapping_mul(8).wrapping_sub(1) & 63);
    let extended = if value & sign != 0 { value | sign } else { value };
    extended as i64 as f64
}

fn native<const N: usize>(bytes: &[u8], format: &Format<'_>) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    if format.big_endian {
        array.reverse();
    }
    array
}

/// As C on x86-64 converts a double to an unsigned integer by way of a signed one: what fits
/// neither becomes 2^63, from 2^64 on 0.
fn to_u64(number: f64) -> u64 {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    match number {
        _ if number >= 2.0 * TWO_TO_63 => 0,
        _ if number >= TWO_TO_63 => number as u64,
        _ if number >= -TWO_TO_63 => number as i64 as u64,
        _ => 1 << 63,
    }
}
