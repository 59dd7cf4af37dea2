//! Scripts: their names, first lines and flags, and how they become functions.

use super::api::api;
use super::chunk::{CompiledChunk, Function, Opcode};
use super::hoist;
use super::stack::Stack;
use crate::proto::{Error, Result};
use mlua::ffi;
use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::slice;

/// Longest source that is compiled: the lexer of Lua 5.1 counts the `=` of a long bracket in an
/// `int` and doubles it (CVE-2025-46819).
pub(super) const SOURCE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The name of every script in Lua's messages.
const CHUNK_NAME: &str = "@user_script";

const TITLE_CHARS_MAX: usize = 60;

/// The SHA1 of a script's source: its name in EVALSHA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha([u8; 20]);

impl Sha {
    pub fn of(source: &[u8]) -> Self {
        Self(sha1_smol::Sha1::from(source).digest().bytes())
    }

    /// Reads forty hexadecimal digits in any case; None if that is not what the text is.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits: &[u8; 40] = text.try_into().ok()?;
        let mut bytes = [0; 20];
        let mut wrong = 0;
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks().0) {
            let [high, low] = pair.map(|digit| HEX_VALUES[usize::from(digit)]);
            *byte = high << 4 | low & 15;
            wrong |= high | low;
        }
        if wrong & NO_DIGIT != 0 {
            return None;
        }
        Some(Self(bytes))
    }

    /// Forty digits in lower case.
    pub fn hex(&self) -> [u8; 40] {
        let mut text = [0; 40];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }
}

/// What each byte counts as a hexadecimal digit: every request for a script has forty of them.
const HEX_VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let digit = DIGITS[value];
        values[digit as usize] = value as u8;
        values[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0x80;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn digit(value: u8) -> u8 {
    DIGITS[usize::from(value)]
}

impl fmt::Display for Sha {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

/// What a script says about itself in a first line `#!lua flags=no-writes,allow-oom`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags {
    /// There is such a line: then what it does not allow is refused.
    pub declared: bool,
    pub no_writes: bool,
    pub allow_oom: bool,
    pub allow_stale: bool,
    pub no_cluster: bool,
    pub allow_cross_slot_keys: bool,
}

impl ScriptFlags {
    /// The flag of that name; None if there is none.
    pub(super) fn named(&mut self, name: &[u8]) -> Option<&mut bool> {
        let mut flags = self.by_name().into_iter();
        flags.find(|(its, _)| its.as_bytes() == name).map(|(_, flag)| flag)
    }

    fn by_name(&mut self) -> [(&'static str, &mut bool); 5] {
        [
            ("no-writes", &mut self.no_writes),
            ("allow-oom", &mut self.allow_oom),
            ("allow-stale", &mut self.allow_stale),
            ("no-cluster", &mut self.no_cluster),
            ("allow-cross-slot-keys", &mut self.allow_cross_slot_keys),
        ]
    }

    /// The names of those that are set.
    pub fn names(mut self) -> impl Iterator<Item = &'static str> {
        let flags = self.by_name().map(|(name, flag)| flag.then_some(name));
        flags.into_iter().flatten()
    }

    /// What a script's source declares; None if it does not, or wrongly.
    pub fn declared_by(source: &[u8]) -> Option<Self> {
        shebang(source).ok().map(|(flags, _)| flags).filter(|flags| flags.declared)
    }
}

/// A compiled script. It stays usable while somebody holds it, also after it left the cache.
#[derive(Debug)]
pub struct Script {
    pub sha: Sha,
    pub flags: ScriptFlags,
    /// The first line of the comment that the source opens with.
    pub title: Option<Box<str>>,
    /// Length of the source.
    pub source_size: usize,
    /// The registry's key of the function.
    pub(super) function: c_int,
    /// The function assigns to globals, so it runs in the guarded environment.
    pub(super) assigns_globals: bool,
    /// The registry's keys of the tables that `KEYS` and `ARGV` were last time.
    pub(super) words: [Cell<c_int>; 2],
    /// When it was last used, counted in uses of any script.
    pub(super) used: Cell<u64>,
}

/// Compiles `source`; the function goes into the registry.
///
/// # Errors
///
/// What is wrong with its first line, or what Lua's compiler says.
pub(super) fn compile(lua: Stack<'_>, source: &[u8], sha: Sha) -> Result<Script> {
    let (flags, body) = shebang(source)?;
    if let Err(message) = load(lua, body, CHUNK_NAME) {
        return Err(Error::quoting("ERR Error compiling script (new function): ", &message, ""));
    }
    let dump = dump(lua);
    let chunk = CompiledChunk::parse(&dump);
    let assigns_globals = chunk.as_ref().is_none_or(|chunk| assigns_globals(&chunk.main));
    if let Some(chunk) = chunk.filter(|_| !assigns_globals) {
        hoist::hoist(lua, &chunk);
    }
    Ok(Script {
        sha,
        flags,
        title: title(body).map(Into::into),
        source_size: source.len(),
        assigns_globals,
        function: lua.keep(),
        words: [Cell::new(ffi::LUA_NOREF), Cell::new(ffi::LUA_NOREF)],
        used: Cell::new(0),
    })
}

/// Pushes the function that `source` is.
///
/// # Errors
///
/// Lua's message, with the line, if it is none.
pub(super) fn load(lua: Stack<'_>, source: &[u8], name: &str) -> std::result::Result<(), Vec<u8>> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("script is longer than {SOURCE_BYTES_MAX} bytes").into_bytes());
    }
    let source: Cow<'_, [u8]> = match is_compiled(source) {
        true => [b" ", source].concat().into(),
        false => source.into(),
    };
    // The parser does not hold the chunk's name (CVE-2025-49844), so the stack does.
    lua.push_bytes(name.as_bytes());
    let name = api!(pushes::lua_tostring(lua, -1));
    let status = api!(runs::luaL_loadbuffer(lua, source.as_ptr().cast(), source.len(), name));
    if status == ffi::LUA_OK {
        lua.remove(-2);
        return Ok(());
    }
    // SAFETY: it is on top, and copied at once.
    let message = unsafe { lua.bytes(-1) }.unwrap_or_default().to_vec();
    lua.pop(2);
    Err(message)
}

/// Compiled chunks would run unchecked. With a blank before it the lexer refuses the signature,
/// with the message that Redis has for it.
pub(super) fn is_compiled(source: &[u8]) -> bool {
    source.first() == ffi::LUA_SIGNATURE.first()
}

/// Reads the first line if it says what runs the script. The rest keeps its line end, so that lines
/// count from the first one.
///
/// # Errors
///
/// If the line names another engine, an unknown option or flag, or has no end.
fn shebang(source: &[u8]) -> Result<(ScriptFlags, &[u8])> {
    if !source.starts_with(b"#!") {
        return Ok((ScriptFlags::default(), source));
    }
    let Some(end) = memchr::memchr(b'\n', source) else {
        return Err(Error::new("ERR Invalid script shebang"));
    };
    let (line, body) = source.split_at(end);
    let mut words = line.split(|&byte| byte == b' ');
    let engine = words.next().unwrap_or_default();
    if engine != b"#!lua" {
        return Err(Error::quoting("ERR Unexpected engine in script shebang: ", engine, ""));
    }
    let mut flags = ScriptFlags { declared: true, ..ScriptFlags::default() };
    for word in words.filter(|word| !word.is_empty()) {
        let Some(names) = word.strip_prefix(b"flags=") else {
            return Err(Error::quoting("ERR Unknown lua shebang option: ", word, ""));
        };
        for name in names.split(|&byte| byte == b',').filter(|_| !names.is_empty()) {
            // Upstash's, whose libraries send it: says what may run beside it. Here nothing runs
            // beside a script.
            if name == b"allow-key-locking" {
                continue;
            }
            *flags.named(name).ok_or_else(|| {
                Error::quoting("ERR Unexpected flag in script shebang: ", name, "")
            })? = true;
        }
    }
    Ok((flags, body))
}

/// As `Script::title`, of a source that is not compiled.
pub fn title_of(source: &[u8]) -> Option<String> {
    shebang(source).ok().and_then(|(_, body)| title(body))
}

/// The first line with words of the comment that `body` opens with, at most `TITLE_CHARS_MAX`
/// characters of it. None if there is none.
fn title(body: &[u8]) -> Option<String> {
    let body = String::from_utf8_lossy(body);
    let comment = body.trim_start().strip_prefix("--")?;
    let level =
        comment.strip_prefix('[').map(|rest| rest.len() - rest.trim_start_matches('=').len());
    let block = level.and_then(|level| {
        let text = comment[1 + level..].strip_prefix('[')?;
        Some(text.split(&format!("]{}]", "=".repeat(level))).next().unwrap_or(text))
    });
    let line = match block {
        Some(block) => block.lines().map(str::trim).find(|line| !line.is_empty())?,
        None => comment.lines().next()?.trim_start_matches('-').trim(),
    };
    let title: String =
        line.chars().filter(|letter| !letter.is_control()).take(TITLE_CHARS_MAX).collect();
    let title = title.trim_end();
    (!title.is_empty()).then(|| title.to_owned())
}

/// The function on top as `lua_dump` writes it.
fn dump(lua: Stack<'_>) -> Vec<u8> {
    unsafe extern "C-unwind" fn append(
        _: *mut ffi::lua_State,
        bytes: *const c_void,
        len: usize,
        out: *mut c_void,
    ) -> c_int {
        // SAFETY: `lua_dump` passes on the vector given to it, and `len` readable bytes.
        unsafe {
            (*out.cast::<Vec<u8>>()).extend_from_slice(slice::from_raw_parts(bytes.cast(), len));
        }
        0
    }
    let mut dump: Vec<u8> = Vec::new();
    api!(runs::lua_dump_(lua, append, (&raw mut dump).cast()));
    dump
}

/// Pushes the function that a dump of our own is; false if Lua refuses it.
pub(super) fn load_compiled(lua: Stack<'_>, dump: &[u8]) -> bool {
    let name = c"=".as_ptr(); // Of no use: a dump says where it is from.
    let status = api!(runs::luaL_loadbuffer(lua, dump.as_ptr().cast(), dump.len(), name));
    if status != ffi::LUA_OK {
        lua.pop(1);
    }
    status == ffi::LUA_OK
}

/// Whether a function, or one inside it, assigns to a global variable. One that does not may run in
/// the true table of globals, where reads are direct: it cannot change it.
fn assigns_globals(main: &Function<'_>) -> bool {
    main.any(&mut |function| {
        function.instructions().any(|(_, it)| it.opcode() == Opcode::SETGLOBAL)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Lua;
    use super::*;

    #[test]
    fn a_sha_is_read_in_any_case() {
        let sha = Sha::of(b"abc");
        assert_eq!(sha.to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(Sha::parse(b"A9993E364706816ABA3E25717850C26C9CD0D89D"), Some(sha));
        assert_eq!(Sha::parse(b"a9993e"), None);
        assert_eq!(Sha::parse(b"x9993e364706816aba3e25717850c26c9cd0d89d"), None);
    }

    #[test]
    fn a_title_is_the_first_line_with_words() {
        let check = |body: &str, expect: Option<&str>| {
            assert_eq!(title(body.as_bytes()).as_deref(), expect, "{body}");
        };
        check("--[[\n\n  Adds a job.\n  More.\n]]\nreturn 1", Some("Adds a job."));
        check("--[==[ Adds ]] a job ]==] return 1", Some("Adds ]] a job"));
        check("\n-- Adds a job\n-- More", Some("Adds a job"));
        check("--- Adds\t a job", Some("Adds a job"));
        check("--[[]] return 1", None);
        check("--", None);
        check("return 1 -- Adds a job", None);
    }

    #[test]
    fn a_first_line_declares_flags() {
        let (flags, body) = shebang(b"#!lua flags=no-writes,allow-stale\nreturn 1").unwrap();
        let expect = ScriptFlags { declared: true, no_writes: true, allow_stale: true, ..flags };
        assert_eq!((flags, body), (expect, &b"\nreturn 1"[..]));
        assert!(!flags.allow_oom && !flags.no_cluster && !flags.allow_cross_slot_keys);
        let (flags, _) = shebang(b"#!lua flags=allow-key-locking\n").unwrap();
        assert_eq!(flags, ScriptFlags { declared: true, ..ScriptFlags::default() });
        assert_eq!(shebang(b"return 1").unwrap(), (ScriptFlags::default(), &b"return 1"[..]));
    }

    #[test]
    fn assignments_to_globals_are_found_at_any_depth() {
        let mut lua = Lua::new(1 << 24);
        for (source, expect) in [
            ("return 1", false),
            ("local x = 1 x = 2 return function() x = 3 end", false),
            ("_G.x = 1", false),
            ("x = 1", true),
            ("local a, b = 1.5, 'text' return function() return function() y = nil end end", true),
            ("function f() end", true),
        ] {
            let script = lua.eval(source.as_bytes()).unwrap();
            assert_eq!(script.assigns_globals, expect, "{source}");
        }
        assert!(CompiledChunk::parse(b"\x1bLua").is_none());
    }
}
