//! `cmsgpack`: MessagePack as lua-cmsgpack 0.4.0 reads and writes it.
//!
//! Its choices are visible in stored data, so they are kept: the smallest integer form, unsigned
//! for zero and above; a double as a float where nothing is lost; strings never as `bin`; a table
//! with exactly the keys 1 to n is an array, the empty one too; tables nested deeper than 16 are
//! nil. It reads neither `bin` nor extension types. Tables grow element by element as there,
//! because their history decides the order of `pairs`.

use super::sandbox::add_to_new;
use super::stack::{LuaKind, Raise, Returns, Stack, c_function};
use std::ffi::c_int;

pub(super) fn push_library(lua: Stack<'_>) {
    add_to_new(
        lua,
        [
            ("pack", c_function(pack)),
            ("unpack", c_function(|lua| unpack(lua, 0, 0))),
            ("unpack_one", c_function(|lua| unpack(lua, 1, lua.optional_int(2, 0)?))),
            ("unpack_limit", c_function(unpack_limit)),
        ],
    );
    for (name, value) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        lua.push_bytes(value.as_bytes());
        lua.set_field(-2, name);
    }
}

const NESTING_MAX: u32 = 16;

fn pack(lua: Stack<'_>) -> Returns {
    let count = lua.top();
    if count == 0 {
        return Err(lua.argument_error(0, format_args!("MessagePack pack needs input.")));
    }
    lua.push_built(|out| {
        for index in 1..=count {
            lua.push_copy(index);
            pack_top(lua, out, 0)?;
        }
        Ok(())
    })
}

/// Appends the value on top and pops it. Takes four stack slots per level, 16 levels deep.
///
/// # Errors
///
/// If the string becomes too long. So for the functions that this one calls.
fn pack_top(lua: Stack<'_>, out: &mut Vec<u8>, nesting: u32) -> Result<(), Raise> {
    lua.check_encoded(out.len())?;
    match lua.kind(-1) {
        // SAFETY: it is on top, and copied at once.
        LuaKind::String => pack_string(out, unsafe { lua.bytes(-1) }.unwrap_or_default()),
        LuaKind::Boolean => out.push(if lua.boolean(-1) { 0xc3 } else { 0xc2 }),
        LuaKind::Number => pack_number(out, lua.number(-1).unwrap_or_default()),
        LuaKind::Table if nesting < NESTING_MAX => {
            if !lua.reserve(4) {
                return Err(lua.error(format_args!("stack overflow (too deep to be packed)")));
            }
            match array_len(lua) {
                Some(count) => pack_array(lua, out, count, nesting + 1)?,
                None => pack_map(lua, out, nesting + 1)?,
            }
        }
        _ => out.push(0xc0),
    }
    lua.pop(1);
    Ok(())
}

/// The count of elements if the table on top has exactly the keys 1 to n, else None.
fn array_len(lua: Stack<'_>) -> Option<usize> {
    let (mut count, mut last) = (0, 0.0f64);
    lua.push_nil();
    while lua.next(-2) {
        lua.pop(1);
        let key = if lua.kind(-1) == LuaKind::Number { lua.number(-1) } else { None };
        let Some(key) = key.filter(|key| *key > 0.0 && key.fract() == 0.0) else {
            lua.pop(1);
            return None;
        };
        last = last.max(key);
        count += 1;
    }
    (last == count as f64).then_some(count)
}

fn pack_array(lua: Stack<'_>, out: &mut Vec<u8>, count: usize, nesting: u32) -> Result<(), Raise> {
    pack_header(out, count, [0x90, 0xdc, 0xdd]);
    for position in 1..=count {
        lua.get_index(-1, position as c_int);
        pack_top(lua, out, nesting)?;
    }
    Ok(())
}

fn pack_map(lua: Stack<'_>, out: &mut Vec<u8>, nesting: u32) -> Result<(), Raise> {
    let mut count = 0;
    lua.push_nil();
    while lua.next(-2) {
        lua.pop(1);
        count += 1;
    }
    pack_header(out, count, [0x80, 0xde, 0xdf]);
    lua.push_nil();
    while lua.next(-2) {
        lua.push_copy(-2);
        pack_top(lua, out, nesting)?;
        pack_top(lua, out, nesting)?;
    }
    Ok(())
}

/// The announcement of `count` elements: in the tag itself, in 16 bits, or in 32.
fn pack_header(out: &mut Vec<u8>, count: usize, [short, medium, long]: [u8; 3]) {
    match count {
        0..=15 => out.push(short | count as u8),
        16..=0xffff => tagged(out, medium, &(count as u16).to_be_bytes()),
        _ => tagged(out, long, &(count as u32).to_be_bytes()),
    }
}

fn pack_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let count = bytes.len();
    match count {
        0..=31 => out.push(0xa0 | count as u8),
        32..=0xff => tagged(out, 0xd9, &[count as u8]),
        0x100..=0xffff => tagged(out, 0xda, &(count as u16).to_be_bytes()),
        _ => tagged(out, 0xdb, &(count as u32).to_be_bytes()),
    }
    out.extend_from_slice(bytes);
}

fn pack_number(out: &mut Vec<u8>, number: f64) {
    let integer = number as i64;
    // 2^63 reads back equal from a saturated i64, but is none.
    if integer as f64 != number || integer == i64::MAX {
        let float = number as f32;
        return match f64::from(float) == number {
            true => tagged(out, 0xca, &float.to_be_bytes()),
            false => tagged(out, 0xcb, &number.to_be_bytes()),
        };
    }
    match integer {
        -32..=127 => out.push(integer as u8),
        128..=0xff => tagged(out, 0xcc, &[integer as u8]),
        0x100..=0xffff => tagged(out, 0xcd, &(integer as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => tagged(out, 0xce, &(integer as u32).to_be_bytes()),
        0x1_0000_0000.. => tagged(out, 0xcf, &integer.to_be_bytes()),
        -0x80..=-33 => tagged(out, 0xd0, &[integer as u8]),
        -0x8000..=-0x81 => tagged(out, 0xd1, &(integer as i16).to_be_bytes()),
        -0x8000_0000..=-0x8001 => tagged(out, 0xd2, &(integer as i32).to_be_bytes()),
        _ => tagged(out, 0xd3, &integer.to_be_bytes()),
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

const TOO_MANY: &str = "too many return values at once; use unpack_one or unpack_limit instead.";

fn unpack_limit(lua: Stack<'_>) -> Returns {
    let limit = lua.check_int(2)?;
    let offset = lua.optional_int(3, 0)?;
    unpack(lua, limit, offset)
}

/// Pushes `limit` values from `offset` on, and before them where the next one begins, or -1 at the
/// end. Limit and offset 0: all values, and only they.
fn unpack(lua: Stack<'_>, limit: i32, offset: i32) -> Returns {
    // SAFETY: it is an argument, which stays at 1: values are only pushed.
    let bytes = unsafe { lua.check_bytes(1) }?;
    let len = bytes.len();
    if limit < 0 || offset < 0 {
        return Err(lua.error(format_args!(
            "Invalid request to unpack with offset of {offset} and limit of {len}."
        )));
    }
    let Some(rest) = bytes.get(offset as usize..) else {
        return Err(
            lua.error(format_args!("Start offset {offset} greater than input length {len}."))
        );
    };
    let all = limit == 0 && offset == 0;
    let place = lua.top() + 1;
    if !all {
        lua.push_nil();
    }
    let mut reader = MessageReader { lua, rest };
    let mut count = 0;
    while !reader.rest.is_empty() && (all || count < limit) {
        reader.value()?;
        count += 1;
    }
    if all {
        return Ok(count);
    }
    if !lua.reserve(1) {
        return Err(lua.error(format_args!("stack overflow ({TOO_MANY})")));
    }
    let next = if reader.rest.is_empty() { -1.0 } else { (len - reader.rest.len()) as f64 };
    lua.push_number(next);
    lua.replace(place);
    Ok(count + 1)
}

/// Takes values from the front of a message. Each function fails with `Missing bytes` if the
/// message ends before, and says what else is wrong with it.
struct MessageReader<'a> {
    lua: Stack<'a>,
    rest: &'a [u8],
}

impl<'a> MessageReader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Raise> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.lua.error(format_args!("Missing bytes in input."))),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Raise> {
        self.take(N).map(|bytes| bytes.try_into().expect("take returns as many as asked"))
    }

    #[inline]
    fn length(&mut self, bytes: usize) -> Result<usize, Raise> {
        Ok(self.take(bytes)?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    #[inline]
    fn reserve(&self, count: c_int, place: &str) -> Result<(), Raise> {
        match self.lua.reserve(count) {
            true => Ok(()),
            false => Err(self.lua.error(format_args!("stack overflow ({place})"))),
        }
    }

    /// Pushes the next value.
    #[inline]
    fn value(&mut self) -> Result<(), Raise> {
        self.reserve(1, TOO_MANY)?;
        let [tag] = self.array()?;
        match tag {
            0x00..=0x7f => self.lua.push_number(f64::from(tag)),
            0x80..=0x8f => self.map(usize::from(tag & 0x0f))?,
            0x90..=0x9f => self.list(usize::from(tag & 0x0f))?,
            0xa0..=0xbf => self.string(usize::from(tag & 0x1f))?,
            0xc0 => self.lua.push_nil(),
            0xc2 | 0xc3 => self.lua.push_boolean(tag == 0xc3),
            0xca => self.number(f32::from_be_bytes)?,
            0xcb => self.number(f64::from_be_bytes)?,
            0xcc => self.number(u8::from_be_bytes)?,
            0xcd => self.number(u16::from_be_bytes)?,
            0xce => self.number(u32::from_be_bytes)?,
            0xd0 => self.number(i8::from_be_bytes)?,
            0xd1 => self.number(i16::from_be_bytes)?,
            0xd2 => self.number(i32::from_be_bytes)?,
            // An unsigned one wraps from 2^63 on.
            0xcf | 0xd3 => {
                let number = i64::from_be_bytes(self.array()?);
                self.lua.push_number(number as f64);
            }
            0xd9..=0xdb => {
                let count = self.length(1 << (tag - 0xd9))?;
                self.string(count)?;
            }
            0xdc | 0xdd => {
                let count = self.length(2 << (tag - 0xdc))?;
                self.list(count)?;
            }
            0xde | 0xdf => {
                let count = self.length(2 << (tag - 0xde))?;
                self.map(count)?;
            }
            0xe0..=0xff => self.lua.push_number(f64::from(tag as i8)),
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => {
                return Err(self.lua.error(format_args!("Bad data format in input.")));
            }
        }
        Ok(())
    }

    fn number<T: Into<f64>, const N: usize>(
        &mut self,
        read: fn([u8; N]) -> T,
    ) -> Result<(), Raise> {
        let number = read(self.array()?);
        self.lua.push_number(number.into());
        Ok(())
    }

    #[inline]
    fn string(&mut self, count: usize) -> Result<(), Raise> {
        let bytes = self.take(count)?;
        self.lua.push_bytes(bytes);
        Ok(())
    }

    fn list(&mut self, count: usize) -> Result<(), Raise> {
        self.reserve(2, "in function mp_decode_to_lua_array")?;
        self.lua.push_table(0, 0);
        for position in 1..=count {
            self.value()?;
            self.lua.set_index(-2, position as c_int);
        }
        Ok(())
    }

    /// A key without a value is not there; a value without a key is an error of Lua's, not of ours.
    fn map(&mut self, count: usize) -> Result<(), Raise> {
        self.reserve(3, "in function mp_decode_to_lua_hash")?;
        self.lua.push_table(0, 0);
        for _ in 0..count {
            self.value()?;
            let bad_key = match self.lua.kind(-1) {
                LuaKind::Nil => Some("table index is nil"),
                LuaKind::Number if self.lua.number(-1).is_some_and(f64::is_nan) => {
                    Some("table index is NaN")
                }
                _ => None,
            };
            self.value()?;
            if let Some(message) = bad_key {
                self.lua.pop(2);
                self.lua.push_bytes(message.as_bytes());
                return Err(Raise::Top);
            }
            self.lua.set(-3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::check;

    /// A C function of Lua's may have 8,000 values on the stack, and no more.
    #[test]
    fn a_full_stack_is_an_error() {
        let pack = "local deep = {} for _ = 1, 15 do deep = {k = deep} end
            for count = 7960, 7999 do
                local words = {} for n = 1, count - 1 do words[n] = n end
                words[count] = deep
                local is_packed, packed = pcall(cmsgpack.pack, unpack(words))
                if not is_packed then return count < 7999 and packed or 'late' end
            end";
        check(
            &format!("{pack} return 'never'"),
            r"$38\r\nstack overflow (too deep to be packed)\r\n",
        );
        check(
            "local many, failed = string.rep('\\1', 9000), 0
            for count = 7980, 8010 do
                if not pcall(cmsgpack.unpack_limit, many, count, 0) then failed = failed + 1 end
                pcall(cmsgpack.unpack, string.sub(many, 1, count) .. '\\129\\192\\1')
            end
            return failed > 5 and failed < 25",
            r":1\r\n",
        );
    }
}
