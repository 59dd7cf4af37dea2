//! What a script returns becomes a reply; how it fails becomes an error.

use super::push::IS_COUNTED;
use super::run::Callable;
use super::stack::{LuaKind, Stack};
use super::vm::Vm;
use crate::config::REPLY_DEPTH_MAX;
use crate::proto::{Error, Protocol, Reply, Result};
use crate::util::number::truncate;
use mlua::ffi::{self, lua_Debug, lua_State};
use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;

/// The message handler of every script: remembers where the error was raised, leaves it as it is.
/// When a C function raised it, the place is where that was called.
pub(super) unsafe extern "C-unwind" fn note_place(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with a state that is alive until it returns.
    let lua = unsafe { Stack::new(state) };
    let vm = lua.vm();
    vm.failed_at.set(place(lua, 1).or_else(|| place(lua, 2)));
    1
}

/// Source and line of the Lua function at `level` of the call stack; the line is -1 where only C
/// is. None if there is no such level.
fn place(lua: Stack<'_>, level: c_int) -> Option<(String, c_int)> {
    let mut record = MaybeUninit::<lua_Debug>::zeroed();
    // SAFETY: `lua_getinfo` fills the fields that `Sl` names, the strings of which live as long as
    // the function; all-zero is a value of the others.
    unsafe {
        if ffi::lua_getstack(lua.state(), level, record.as_mut_ptr()) == 0 {
            return None;
        }
        ffi::lua_getinfo(lua.state(), c"Sl".as_ptr(), record.as_mut_ptr());
        let record = record.assume_init();
        let is_c = CStr::from_ptr(record.what) == c"C";
        if is_c && level == 1 {
            return None;
        }
        let source = CStr::from_ptr(record.source).to_string_lossy().into_owned();
        Some((source, record.currentline))
    }
}

/// Is told each error in a script's answer, and whether a command gave it: then it is counted.
pub type OnError<'a> = &'a mut dyn FnMut(&Error, bool);

/// The error that ended the script; it is on top of the stack.
pub(super) fn failure(vm: &Vm, callable: &Callable, status: c_int, on_error: OnError) -> Error {
    let lua = vm.main();
    // Out of memory, or a second error while one was handled: no handler ran.
    if status != ffi::LUA_ERRRUN {
        // SAFETY: the message stays on top until the error is made.
        let message = unsafe { lua.bytes(-1) }.unwrap_or_default();
        let error = Error::quoting(&format!("ERR Error running script {callable}, "), message, "");
        on_error(&error, false);
        return error;
    }
    let is_of_command = lua.kind(-1) == LuaKind::Table && is_of_command(lua);
    let mut text = error_text(lua);
    if let Some((source, line)) = vm.failed_at.take() {
        text.extend_from_slice(format!(" script: {callable}, on {source}:{line}.").as_bytes());
    }
    let error = Error::new(text);
    on_error(&error, is_of_command);
    error
}

/// Whether the error table on top came from a command, and nobody has taken the mark away.
fn is_of_command(lua: Stack<'_>) -> bool {
    lua.get_field(-1, IS_COUNTED);
    let is_marked = lua.kind(-1) == LuaKind::Boolean && lua.boolean(-1);
    lua.pop(1);
    is_marked
}

/// The text of the error value on top, code first.
pub(super) fn error_text(lua: Stack<'_>) -> Vec<u8> {
    match lua.kind(-1) {
        LuaKind::Table => {
            lua.get_field(-1, "err");
            // SAFETY: it is copied at once.
            match unsafe { text(lua) } {
                Some(text) => text.to_vec(),
                None => b"ERR unknown error".to_vec(), // Redis 7.4.1 crashes here.
            }
        }
        LuaKind::Nil | LuaKind::None => b"ERR nil".to_vec(),
        LuaKind::Boolean => format!("ERR {}", lua.boolean(-1)).into_bytes(),
        _ => {
            let name = lua.kind_name(-1).as_bytes();
            // SAFETY: it is copied at once.
            [b"ERR ", unsafe { text(lua) }.unwrap_or(name)].concat()
        }
    }
}

/// The text on top; None if there is no string. Redis takes errors and statuses for C strings,
/// which end at the first zero.
///
/// # Safety
///
/// As for `Stack::bytes`.
unsafe fn text<'vm>(lua: Stack<'vm>) -> Option<&'vm [u8]> {
    // SAFETY: the caller sees to it.
    unsafe { lua.bytes(-1) }?.split(|&byte| byte == 0).next()
}

/// Writes the value on top. What cannot be written is taken back whole.
///
/// # Errors
///
/// The error that the value is, or that it nests deeper than `REPLY_DEPTH_MAX`. Then nothing was
/// written.
pub(super) fn write(vm: &Vm, reply: &mut Reply<'_>, on_error: OnError) -> Result {
    let mark = reply.mark();
    let mut writer = AnswerWriter { lua: vm.main(), reply, protocol: vm.protocol.get(), on_error };
    let result = writer.value(0);
    if result.is_err() {
        reply.rollback(mark);
    }
    result
}

struct AnswerWriter<'a, 'r> {
    lua: Stack<'a>,
    reply: &'a mut Reply<'r>,
    /// What the script chose: booleans are booleans only in RESP3.
    protocol: Protocol,
    on_error: OnError<'a>,
}

impl AnswerWriter<'_, '_> {
    /// Writes the value on top and leaves it there. `depth` counts the tables around it.
    ///
    /// # Errors
    ///
    /// As `write`, but what was written before stays. So for the functions that this one calls.
    fn value(&mut self, depth: usize) -> Result {
        let lua = self.lua;
        match lua.kind(-1) {
            // SAFETY: it stays on top while it is written.
            LuaKind::String => self.reply.bulk(unsafe { lua.bytes(-1) }.unwrap_or_default()),
            LuaKind::Number => self.reply.int(truncate(lua.number(-1).unwrap_or_default())),
            LuaKind::Boolean => match (self.protocol, lua.boolean(-1)) {
                (Protocol::Resp3, value) => self.reply.boolean(value),
                (Protocol::Resp2, true) => self.reply.int(1),
                (Protocol::Resp2, false) => self.reply.null(),
            },
            LuaKind::Table => {
                if depth == REPLY_DEPTH_MAX || !lua.reserve(6) {
                    let error = Error::new("ERR reached lua stack limit");
                    (self.on_error)(&error, false);
                    return Err(error);
                }
                let top = lua.top();
                let result = self.table(depth);
                lua.set_top(top);
                return result;
            }
            _ => self.reply.null(),
        }
        Ok(())
    }

    /// A table is what its first known field says, else an array up to its first nil.
    fn table(&mut self, depth: usize) -> Result {
        let lua = self.lua;
        if lua.is_array(-1) {
            return self.array(depth);
        }
        if self.field("err", LuaKind::String) {
            // SAFETY: it stays on top until the error is made.
            let error = Error::new(unsafe { text(lua) }.unwrap_or_default());
            lua.pop(1);
            (self.on_error)(&error, is_of_command(lua));
            if depth == 0 {
                return Err(error);
            }
            self.reply.error(&error);
        } else if self.field("ok", LuaKind::String) {
            // SAFETY: it stays on top while it is written.
            self.reply.status(unsafe { text(lua) }.unwrap_or_default());
        } else if self.field("double", LuaKind::Number) {
            self.reply.double(lua.number(-1).unwrap_or_default());
        } else if self.field("big_number", LuaKind::String) {
            // One line, as RESP3 has it, in RESP2 too.
            // SAFETY: it stays on top while the line is made.
            let text = unsafe { lua.bytes(-1) }.unwrap_or_default();
            let line =
                text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
            self.reply.big_number(&line.collect::<Vec<_>>());
        } else if self.verbatim() {
        } else if self.field("map", LuaKind::Table) {
            self.reply.map(self.count());
            return self.entries(depth, true);
        } else if self.field("set", LuaKind::Table) {
            self.reply.set(self.count());
            return self.entries(depth, false);
        } else {
            return self.array(depth);
        }
        Ok(())
    }

    /// Pushes a field of the table on top if it has that kind.
    fn field(&self, name: &str, kind: LuaKind) -> bool {
        self.lua.get_field(-1, name);
        let found = self.lua.kind(-1) == kind;
        if !found {
            self.lua.pop(1);
        }
        found
    }

    /// `{verbatim_string = {format = "txt", string = "..."}}`.
    fn verbatim(&mut self) -> bool {
        let lua = self.lua;
        if !self.field("verbatim_string", LuaKind::Table) {
            return false;
        }
        if self.field("format", LuaKind::String) {
            // SAFETY: it stays on the stack until it is written.
            let format = unsafe { lua.bytes(-1) }.unwrap_or_default();
            lua.get_field(-2, "string");
            if lua.kind(-1) == LuaKind::String {
                // Three letters on the wire: Redis pads and cuts as much.
                let format = [format, b"   "].concat();
                // SAFETY: it stays on top while it is written.
                let text = unsafe { lua.bytes(-1) }.unwrap_or_default();
                self.reply.verbatim(&format[..3], text);
                return true;
            }
            lua.pop(2);
        }
        lua.pop(1);
        false
    }

    /// How many entries the table on top has.
    fn count(&self) -> usize {
        let mut count = 0;
        self.lua.push_nil();
        while self.lua.next(-2) {
            self.lua.pop(1);
            count += 1;
        }
        count
    }

    fn entries(&mut self, depth: usize, with_values: bool) -> Result {
        let lua = self.lua;
        lua.push_nil();
        while lua.next(-2) {
            lua.push_copy(-2);
            self.value(depth + 1)?;
            lua.pop(1);
            if with_values {
                self.value(depth + 1)?;
            }
            lua.pop(1);
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result {
        let lua = self.lua;
        let mut count = 0;
        while self.has_element(count + 1) {
            count += 1;
        }
        self.reply.array(count as usize);
        for position in 1..=count {
            if !self.plain_element(position) {
                lua.get_index(-1, position);
                self.value(depth + 1)?;
                lua.pop(1);
            }
        }
        Ok(())
    }

    /// Whether the table on top has an element at a position.
    fn has_element(&self, position: c_int) -> bool {
        let lua = self.lua;
        let kind = match lua.array_slot(-1, position) {
            Some(value) => value.kind(),
            None => {
                lua.get_index(-1, position);
                let kind = lua.kind(-1);
                lua.pop(1);
                kind
            }
        };
        kind != LuaKind::Nil
    }

    /// Writes an element of the table on top from where it lies; false if it does not lie in the
    /// table's array, or is neither string nor number.
    fn plain_element(&mut self, position: c_int) -> bool {
        let Some(value) = self.lua.array_slot(-1, position) else { return false };
        if let Some(number) = value.number() {
            self.reply.int(truncate(number));
            return true;
        }
        // SAFETY: the string stays in the table, and the table on top, while it is written.
        let text = unsafe { value.bytes() };
        if let Some(text) = text {
            self.reply.bulk(text);
        }
        text.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sha;
    use super::super::fake::{check, check_resp3};

    #[test]
    fn lua_values_become_replies_in_resp3() {
        check_resp3("return {map = {a = 1}}", r"%1\r\n$1\r\na\r\n:1\r\n");
        check_resp3("return {set = {a = 1}}", r"~1\r\n$1\r\na\r\n");
        check_resp3("return {double = 1.5}", r",1.5\r\n");
        check_resp3("return {big_number = '12'}", r"(12\r\n");
        check_resp3(
            "return {verbatim_string = {format = 'txt', string = 'a'}}",
            r"=5\r\ntxt:a\r\n",
        );
        check_resp3("return true", r":1\r\n");
        check_resp3("return nil", r"_\r\n");
    }

    #[test]
    fn a_big_number_is_one_line_in_both_protocols() {
        check(r"return {big_number = '1\r\n2'}", r"$4\r\n1  2\r\n");
        check_resp3(r"return {big_number = '1\r\n2'}", r"(1  2\r\n");
    }

    #[test]
    fn a_reply_too_deep_is_taken_back_whole() {
        let nest = "local t = {} for _ = 1, 2000 do t = {1, t} end return t";
        check(nest, "ERR reached lua stack limit");
    }

    #[test]
    fn errors_name_the_script_by_its_first_comment() {
        let source = "--[[\n  Move a job\n  Input: ...\n]]\nerror('x')";
        let sha = Sha::of(source.as_bytes());
        check(
            source,
            &format!("ERR user_script:5: x script: {sha} (Move a job), on @user_script:5."),
        );
        let source = format!("-- {}\nerror('x')", "y".repeat(70));
        let sha = Sha::of(source.as_bytes());
        let title = "y".repeat(60);
        let expect = format!("ERR user_script:2: x script: {sha} ({title}), on @user_script:2.");
        check(&source, &expect);
    }
}
