//! `KEYS` and `ARGV`.
//!
//! Each script keeps the tables that it had last time, with the words in them: most keys of a queue
//! repeat, and a string that is compared need not be hashed. A table that its script has changed in
//! any way that the next run could notice is made anew.

use super::super::stack::Stack;
use super::push_globals;
use mlua::ffi;
use std::cell::Cell;
use std::ffi::c_int;

/// Makes `KEYS` or `ARGV`, in the table that `kept` is the registry's key of, as far as that still
/// holds the same words. Returns the bytes in it.
pub(in crate::lua) fn set(
    lua: Stack<'_>,
    kept: &Cell<c_int>,
    name: &str,
    words: &[&[u8]],
) -> usize {
    push_globals(lua);
    lua.push_kept(kept.get());
    if !refill(lua, words) {
        lua.pop(1);
        lua.forget(kept.get());
        push(lua, words);
        lua.push_copy(-1);
        kept.set(lua.keep());
    }
    lua.set_field(-2, name);
    lua.pop(1);
    words.iter().map(|word| word.len()).sum()
}

/// Pushes a table of words.
pub(in crate::lua) fn push(lua: Stack<'_>, words: &[&[u8]]) {
    lua.push_table(words.len(), 0);
    for (position, word) in (1..).zip(words) {
        lua.push_bytes(word);
        lua.set_index(-2, position);
    }
}

/// Makes the table on top hold `words` and nothing else, if it still is what was made for as many.
fn refill(lua: Stack<'_>, words: &[&[u8]]) -> bool {
    if !lua.is_array_of(-1, words.len()) {
        return false;
    }
    for (position, &word) in (1..).zip(words) {
        let kept = lua.array_slot(-1, position);
        // SAFETY: the string stays in the table while it is compared.
        let kept = kept.and_then(|value| unsafe { value.bytes() });
        if kept != Some(word) {
            lua.push_bytes(word);
            lua.set_index(-2, position);
        }
    }
    true
}

/// Lets go of `KEYS` and `ARGV`, which were too large to keep.
pub(in crate::lua) fn release(lua: Stack<'_>, kept: &[Cell<c_int>; 2]) {
    push_globals(lua);
    for (kept, name) in kept.iter().zip(["KEYS", "ARGV"]) {
        lua.forget(kept.replace(ffi::LUA_NOREF));
        lua.push_table(0, 0);
        lua.set_field(-2, name);
    }
    lua.pop(1);
}

#[cfg(test)]
mod tests {
    use super::super::super::Lua;
    use super::super::super::fake::{MEMORY_BYTES_MAX, run};
    use crate::proto::Protocol;

    #[test]
    fn words_are_fresh_in_every_run() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let spoil = "KEYS[1] = 5 ARGV[4] = 'x' ARGV.y = 1 setmetatable(KEYS, {})";
        let show = "local n = 0 for k, v in pairs(ARGV) do n = n + 1 end \
            local answer = KEYS[1] .. n .. ARGV[#ARGV] .. tostring(getmetatable(KEYS))";
        let source = format!("{show} {spoil} return answer");
        for words in [&[&b"a"[..], b"b"][..], &[b"a", b"c"], &[b"a"], &[b"x", b"y", b"z"]] {
            let last = words[words.len() - 1].escape_ascii();
            let text = format!("{}{}{last}nil", words[0].escape_ascii(), words.len());
            let expect = format!(r"${}\r\n{text}\r\n", text.len());
            assert_eq!(run(&mut lua, &source, words, Protocol::Resp2, false), expect);
        }
        assert_eq!(run(&mut lua, "return #ARGV + #KEYS", &[], Protocol::Resp2, false), r":0\r\n");
    }

    #[test]
    fn words_are_laid_out_anew_after_a_script_has_put_something_beside_them() {
        for spoil in [
            "for i = 1, 15 do KEYS['x' .. i] = 1 end
             for i = 1, 15 do if i ~= 4 then KEYS['x' .. i] = nil end end",
            "for i = 1, 15 do KEYS['x' .. i] = 1 end for i = 1, 15 do KEYS['x' .. i] = nil end",
            "KEYS[7] = 1 KEYS[7] = nil",
            "KEYS.x4 = 1 KEYS.x4 = nil",
            "KEYS[1] = nil KEYS.y = 1 KEYS.y = nil",
        ] {
            // How many fields a table has room for shows in where `#` finds its border.
            let show = "local answer = tostring(KEYS.x4) for i = 2, 6 do KEYS[i] = i end \
                KEYS[3] = nil KEYS[5] = nil answer = answer .. #KEYS \
                for k in pairs(KEYS) do answer = answer .. k end for i = 2, 6 do KEYS[i] = nil end";
            let source = format!("{show} {spoil} KEYS[1] = KEYS[1] or 'a' return answer");
            let mut lua = Lua::new(MEMORY_BYTES_MAX);
            let first = run(&mut lua, &source, &[b"a"], Protocol::Resp2, false);
            let second = run(&mut lua, &source, &[b"a"], Protocol::Resp2, false);
            assert_eq!(first, second, "{spoil}");
        }
    }
}
