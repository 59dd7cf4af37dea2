//! `bit`: operations on 32-bit integers, as LuaBitOp's.

use super::stack::{LuaKind, Raise, Returns, Stack, c_function};
use mlua::ffi::lua_CFunction;
use std::ffi::c_int;

pub(super) fn functions() -> [(&'static str, lua_CFunction); 12] {
    [
        ("tobit", c_function(|lua| push(lua, argument(lua, 1)?))),
        ("bnot", c_function(|lua| push(lua, !argument(lua, 1)?))),
        ("band", c_function(|lua| fold(lua, |a, b| a & b))),
        ("bor", c_function(|lua| fold(lua, |a, b| a | b))),
        ("bxor", c_function(|lua| fold(lua, |a, b| a ^ b))),
        ("lshift", c_function(|lua| shift(lua, |bits, by| bits << by))),
        ("rshift", c_function(|lua| shift(lua, |bits, by| bits >> by))),
        ("arshift", c_function(|lua| shift(lua, |bits, by| (bits as i32 >> by) as u32))),
        ("rol", c_function(|lua| shift(lua, u32::rotate_left))),
        ("ror", c_function(|lua| shift(lua, u32::rotate_right))),
        ("bswap", c_function(|lua| push(lua, argument(lua, 1)?.swap_bytes()))),
        ("tohex", c_function(to_hex)),
    ]
}

/// Rounds to the nearest integer, halves to even, and keeps the low 32 bits: adding 2^52 + 2^51
/// moves exactly those to the end of the mantissa. Beyond 2^51 the bits are as arbitrary as in
/// LuaBitOp.
///
/// # Errors
///
/// If the argument is no number.
fn argument(lua: Stack<'_>, index: c_int) -> Result<u32, Raise> {
    Ok((lua.check_number(index)? + 6_755_399_441_055_744.0).to_bits() as u32)
}

fn push(lua: Stack<'_>, bits: u32) -> Returns {
    lua.push_number(f64::from(bits as i32));
    Ok(1)
}

fn fold(lua: Stack<'_>, operation: fn(u32, u32) -> u32) -> Returns {
    let mut bits = argument(lua, 1)?;
    for index in (2..=lua.top()).rev() {
        bits = operation(bits, argument(lua, index)?);
    }
    push(lua, bits)
}

/// Of the distance only the low five bits count.
fn shift(lua: Stack<'_>, operation: fn(u32, u32) -> u32) -> Returns {
    push(lua, operation(argument(lua, 1)?, argument(lua, 2)? & 31))
}

/// `n` digits, at most 8; upper case if `n` is negative.
fn to_hex(lua: Stack<'_>) -> Returns {
    let bits = argument(lua, 1)?;
    let digits = match lua.kind(2) {
        LuaKind::None => 8,
        _ => argument(lua, 2)? as i32,
    };
    let text = if digits < 0 { format!("{bits:08X}") } else { format!("{bits:08x}") };
    let count = digits.unsigned_abs().min(8) as usize;
    lua.push_bytes(&text.as_bytes()[8 - count..]);
    Ok(1)
}
