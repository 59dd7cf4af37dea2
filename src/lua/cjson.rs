//! `cjson`: JSON as lua-cjson 2.1.0 reads and writes it, Redis's settings at first.
//!
//! What it writes is stored and sent to clients, so its choices are kept: `/` and DEL are escaped,
//! other bytes pass as they are, UTF-8 or not; numbers have 14 digits; an empty table is an object;
//! a table with positive integers as its only keys is an array unless too sparse. What it reads is
//! as lenient: numbers are what `strtod` takes, a zero byte ends the text, control characters may
//! stand in strings. Objects grow member by member, because their history decides the order of
//! `pairs`.

use super::api::api;
use super::stack::{LuaKind, Raise, Returns, Stack, c_function, upvalue};
use crate::util::number;
use mlua::ffi::lua_CFunction;
use std::ffi::{c_char, c_double, c_int};
use std::ptr::{NonNull, null_mut};

unsafe extern "C" {
    fn strtod(text: *const c_char, end: *mut *mut c_char) -> c_double;
}

/// The settings of one `cjson` table: `cjson.new()` makes another with its own. Lua owns it as the
/// userdata that all functions of the table share as their upvalue.
#[derive(Clone, Copy)]
struct Settings {
    sparse_convert: bool,
    /// An array is too sparse if its last index exceeds this many times its count (0: never) ...
    sparse_ratio: i32,
    /// ... and this.
    sparse_safe: i32,
    encode_depth_max: i32,
    decode_depth_max: i32,
    encode_invalid_numbers: InvalidNumbers,
    decode_invalid_numbers: bool,
    precision: i32,
    keep_buffer: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum InvalidNumbers {
    Refuse,
    Write,
    Null,
}

const SETTINGS: Settings = Settings {
    sparse_convert: false,
    sparse_ratio: 2,
    sparse_safe: 10,
    encode_depth_max: 1000,
    decode_depth_max: 1000,
    encode_invalid_numbers: InvalidNumbers::Refuse,
    decode_invalid_numbers: true,
    precision: 14,
    keep_buffer: true,
};

const PRECISION_MAX: i32 = 14;

fn functions() -> [(&'static str, lua_CFunction); 10] {
    [
        ("encode", c_function(encode)),
        ("decode", c_function(decode)),
        ("encode_sparse_array", c_function(encode_sparse_array)),
        ("encode_max_depth", c_function(encode_max_depth)),
        ("decode_max_depth", c_function(decode_max_depth)),
        ("encode_number_precision", c_function(encode_number_precision)),
        ("encode_keep_buffer", c_function(encode_keep_buffer)),
        ("encode_invalid_numbers", c_function(encode_invalid_numbers)),
        ("decode_invalid_numbers", c_function(decode_invalid_numbers)),
        (
            "new",
            c_function(|lua| {
                push_library(lua);
                Ok(1)
            }),
        ),
    ]
}

/// Pushes a `cjson` table with settings of its own.
pub(super) fn push_library(lua: Stack<'_>) {
    lua.push_table(0, 16);
    let settings = api!(pushes::lua_newuserdata(lua, size_of::<Settings>()));
    // SAFETY: Lua aligns userdata for any type; `Settings` has no destructor that would be missed.
    unsafe { settings.cast::<Settings>().write(SETTINGS) };
    for (name, function) in functions() {
        lua.push_copy(-1);
        lua.push_closure(function, 1);
        lua.set_field(-3, name);
    }
    lua.pop(1);
    lua.push_null();
    lua.set_field(-2, "null");
    lua.push_bytes(b"cjson");
    lua.set_field(-2, "_NAME");
    lua.push_bytes(b"2.1.0");
    lua.set_field(-2, "_VERSION");
}

/// Where the settings of the running function's table are.
fn place_of_settings(lua: Stack<'_>) -> NonNull<Settings> {
    let settings = api!(reads::lua_touserdata(lua, upvalue(1)));
    NonNull::new(settings.cast()).expect("the functions of a cjson table share its settings")
}

fn settings(lua: Stack<'_>) -> Settings {
    // SAFETY: the upvalue of each function is the userdata that `push_library` has filled, and
    // lives as long as the function.
    unsafe { place_of_settings(lua).read() }
}

fn set_settings(lua: Stack<'_>, settings: Settings) {
    // SAFETY: as above; nobody has a reference to them.
    unsafe { place_of_settings(lua).write(settings) }
}

/// # Errors
///
/// If there are more than `count` arguments.
fn check_count(lua: Stack<'_>, count: c_int) -> Result<(), Raise> {
    match lua.top() {
        top if top > count => {
            Err(lua.argument_error(count + 1, format_args!("found too many arguments")))
        }
        _ => Ok(()),
    }
}

/// The argument at `index`.
///
/// # Errors
///
/// If it is no number, or not from `min` to `max`, both included.
fn check_range(lua: Stack<'_>, index: c_int, min: i32, max: i32) -> Result<i32, Raise> {
    let number = lua.check_int(index)?;
    if !(min..=max).contains(&number) {
        // Whichever argument it is, lua-cjson blames the first.
        let message = format_args!("expected integer between {min} and {max}");
        return Err(lua.argument_error(1, message));
    }
    Ok(number)
}

/// An integer setting: changed if an argument is given, answered in any case.
fn integer_setting(lua: Stack<'_>, setting: fn(&mut Settings) -> &mut i32, max: i32) -> Returns {
    check_count(lua, 1)?;
    let mut settings = settings(lua);
    let setting = setting(&mut settings);
    if !matches!(lua.kind(1), LuaKind::None | LuaKind::Nil) {
        *setting = check_range(lua, 1, 1, max)?;
    }
    lua.push_number(f64::from(*setting));
    set_settings(lua, settings);
    Ok(1)
}

/// An argument that is a boolean or one of `words`, if there is one: false and true are the first
/// two positions, words follow from the third.
///
/// # Errors
///
/// If it is anything else.
fn choice(lua: Stack<'_>, index: c_int, words: &[&str]) -> Result<Option<usize>, Raise> {
    match lua.kind(index) {
        LuaKind::None | LuaKind::Nil => return Ok(None),
        LuaKind::Boolean => return Ok(Some(usize::from(lua.boolean(index)))),
        _ => {}
    }
    // SAFETY: it is an argument, which stays where it is: values are only pushed.
    let word = unsafe { lua.check_bytes(index) }?;
    if let Some(position) = words.iter().position(|candidate| candidate.as_bytes() == word) {
        return Ok(Some(position));
    }
    lua.push_bytes(&[b"invalid option '", word, b"'"].concat());
    Err(Raise::Argument(index))
}

/// An argument from 0 up, if there is one.
///
/// # Errors
///
/// As `check_range`.
fn count_setting(lua: Stack<'_>, index: c_int) -> Result<Option<i32>, Raise> {
    match lua.kind(index) {
        LuaKind::None | LuaKind::Nil => Ok(None),
        _ => check_range(lua, index, 0, i32::MAX).map(Some),
    }
}

fn encode_sparse_array(lua: Stack<'_>) -> Returns {
    check_count(lua, 3)?;
    let mut settings = settings(lua);
    if let Some(convert) = choice(lua, 1, &["off", "on"])? {
        settings.sparse_convert = convert == 1;
        set_settings(lua, settings);
    }
    // What stands before a wrong argument counts.
    if let Some(ratio) = count_setting(lua, 2)? {
        settings.sparse_ratio = ratio;
        set_settings(lua, settings);
    }
    if let Some(safe) = count_setting(lua, 3)? {
        settings.sparse_safe = safe;
        set_settings(lua, settings);
    }
    lua.push_boolean(settings.sparse_convert);
    lua.push_number(f64::from(settings.sparse_ratio));
    lua.push_number(f64::from(settings.sparse_safe));
    Ok(3)
}

fn encode_max_depth(lua: Stack<'_>) -> Returns {
    integer_setting(lua, |settings| &mut settings.encode_depth_max, i32::MAX)
}

fn decode_max_depth(lua: Stack<'_>) -> Returns {
    integer_setting(lua, |settings| &mut settings.decode_depth_max, i32::MAX)
}

fn encode_number_precision(lua: Stack<'_>) -> Returns {
    integer_setting(lua, |settings| &mut settings.precision, PRECISION_MAX)
}

/// Remembered and answered, nothing else: the buffer belongs to the VM here.
fn encode_keep_buffer(lua: Stack<'_>) -> Returns {
    check_count(lua, 1)?;
    let mut settings = settings(lua);
    if let Some(keep) = choice(lua, 1, &["off", "on"])? {
        settings.keep_buffer = keep == 1;
    }
    set_settings(lua, settings);
    lua.push_boolean(settings.keep_buffer);
    Ok(1)
}

fn encode_invalid_numbers(lua: Stack<'_>) -> Returns {
    check_count(lua, 1)?;
    let mut settings = settings(lua);
    if let Some(chosen) = choice(lua, 1, &["off", "on", "null"])? {
        settings.encode_invalid_numbers =
            [InvalidNumbers::Refuse, InvalidNumbers::Write, InvalidNumbers::Null][chosen];
    }
    set_settings(lua, settings);
    match settings.encode_invalid_numbers {
        InvalidNumbers::Null => lua.push_bytes(b"null"),
        chosen => lua.push_boolean(chosen == InvalidNumbers::Write),
    }
    Ok(1)
}

fn decode_invalid_numbers(lua: Stack<'_>) -> Returns {
    check_count(lua, 1)?;
    let mut settings = settings(lua);
    if let Some(chosen) = choice(lua, 1, &["off", "on"])? {
        settings.decode_invalid_numbers = chosen == 1;
    }
    set_settings(lua, settings);
    lua.push_boolean(settings.decode_invalid_numbers);
    Ok(1)
}

/// # Errors
///
/// If there is not one argument.
fn check_single(lua: Stack<'_>) -> Result<(), Raise> {
    match lua.top() {
        1 => Ok(()),
        _ => Err(lua.argument_error(1, format_args!("expected 1 argument"))),
    }
}

fn encode(lua: Stack<'_>) -> Returns {
    check_single(lua)?;
    let settings = settings(lua);
    lua.push_built(|out| Encoder { lua, settings: &settings, out }.value(0))
}

struct Encoder<'a> {
    lua: Stack<'a>,
    settings: &'a Settings,
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    /// Appends the value on top, which stays there. `depth` counts the tables around it.
    ///
    /// # Errors
    ///
    /// What cannot be written, or is too long or too deep. So for the functions that this one
    /// calls.
    fn value(&mut self, depth: i32) -> Result<(), Raise> {
        // A table may stand in many places: what comes of it can be longer than any memory.
        self.lua.check_encoded(self.out.len())?;
        match self.lua.kind(-1) {
            LuaKind::String => self.string(-1),
            LuaKind::Number => self.number(-1)?,
            LuaKind::Boolean if self.lua.boolean(-1) => self.out.extend_from_slice(b"true"),
            LuaKind::Boolean => self.out.extend_from_slice(b"false"),
            LuaKind::Table => {
                let depth = depth + 1;
                if depth > self.settings.encode_depth_max || !self.lua.reserve(4) {
                    let message = format_args!("Cannot serialise, excessive nesting ({depth})");
                    return Err(self.lua.error(message));
                }
                match self.array_len()? {
                    0 => self.object(depth)?,
                    len => self.array(len, depth)?,
                }
            }
            LuaKind::Nil => self.out.extend_from_slice(b"null"),
            LuaKind::LightUserdata if api!(reads::lua_touserdata(self.lua, -1)).is_null() => {
                self.out.extend_from_slice(b"null");
            }
            _ => return Err(self.refusal(-1, "type not supported")),
        }
        Ok(())
    }

    fn refusal(&self, index: c_int, reason: &str) -> Raise {
        let kind = self.lua.kind_name(index);
        self.lua.error(format_args!("Cannot serialise {kind}: {reason}"))
    }

    /// The last index of the table on top if it is to be an array, else 0.
    fn array_len(&mut self) -> Result<c_int, Raise> {
        let (mut count, mut last) = (0i32, 0i32);
        self.lua.push_nil();
        while self.lua.next(-2) {
            self.lua.pop(1);
            let key = match self.lua.kind(-1) {
                LuaKind::Number => self.lua.number(-1),
                _ => None,
            };
            let Some(key) = key.filter(|key| *key >= 1.0 && key.fract() == 0.0) else {
                self.lua.pop(1);
                return Ok(0);
            };
            // Beyond `int` C on x86-64 makes of it the least one: then the table is an object.
            if key > f64::from(last) {
                last = if key > f64::from(i32::MAX) { i32::MIN } else { key as i32 };
            }
            count += 1;
        }
        let (ratio, safe) = (self.settings.sparse_ratio, self.settings.sparse_safe);
        if ratio > 0 && last > count.saturating_mul(ratio) && last > safe {
            return match self.settings.sparse_convert {
                true => Ok(0),
                false => Err(self.refusal(-1, "excessively sparse array")),
            };
        }
        Ok(last.max(0))
    }

    fn array(&mut self, len: c_int, depth: i32) -> Result<(), Raise> {
        self.out.push(b'[');
        for position in 1..=len {
            if position > 1 {
                self.out.push(b',');
            }
            self.lua.get_index(-1, position);
            self.value(depth)?;
            self.lua.pop(1);
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: i32) -> Result<(), Raise> {
        self.out.push(b'{');
        let start = self.out.len();
        self.lua.push_nil();
        while self.lua.next(-2) {
            if self.out.len() > start {
                self.out.push(b',');
            }
            match self.lua.kind(-2) {
                LuaKind::String => self.string(-2),
                LuaKind::Number => {
                    self.out.push(b'"');
                    self.number(-2)?;
                    self.out.push(b'"');
                }
                _ => return Err(self.refusal(-2, "table key must be a number or string")),
            }
            self.out.push(b':');
            self.value(depth)?;
            self.lua.pop(1);
        }
        self.out.push(b'}');
        Ok(())
    }

    fn string(&mut self, index: c_int) {
        // SAFETY: it stays there while it is written.
        let bytes: &[u8] = unsafe { self.lua.bytes(index) }.unwrap_or_default();
        self.out.reserve(bytes.len() + 2);
        self.out.push(b'"');
        let mut written = 0;
        for (position, &byte) in bytes.iter().enumerate() {
            if PLAIN[usize::from(byte)] {
                continue;
            }
            self.out.extend_from_slice(&bytes[written..position]);
            written = position + 1;
            match byte {
                b'"' | b'\\' | b'/' => self.out.extend_from_slice(&[b'\\', byte]),
                8 => self.out.extend_from_slice(b"\\b"),
                9 => self.out.extend_from_slice(b"\\t"),
                10 => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                13 => self.out.extend_from_slice(b"\\r"),
                _ => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
        }
        self.out.extend_from_slice(&bytes[written..]);
        self.out.push(b'"');
    }

    fn number(&mut self, index: c_int) -> Result<(), Raise> {
        let number = self.lua.number(index).unwrap_or_default();
        if !number.is_finite() {
            match self.settings.encode_invalid_numbers {
                InvalidNumbers::Refuse => return Err(self.refusal(index, "must not be NaN or Inf")),
                InvalidNumbers::Null => self.out.extend_from_slice(b"null"),
                InvalidNumbers::Write if number.is_nan() => self.out.extend_from_slice(b"nan"),
                InvalidNumbers::Write if number > 0.0 => self.out.extend_from_slice(b"inf"),
                InvalidNumbers::Write => self.out.extend_from_slice(b"-inf"),
            }
            return Ok(());
        }
        let text = number::format_g(number, self.settings.precision as usize);
        self.out.extend_from_slice(&text);
        Ok(())
    }
}

/// Bytes that stand for themselves in a string.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 32 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain[b'/' as usize] = false;
    plain[127] = false;
    plain
};

fn decode(lua: Stack<'_>) -> Returns {
    check_single(lua)?;
    // SAFETY: it is an argument, which stays at 1: values are only pushed.
    let text = unsafe { lua.check_bytes(1) }?;
    if let [first, second, ..] = *text
        && (first == 0 || second == 0)
    {
        return Err(lua.error(format_args!("JSON parser does not support UTF-16 or UTF-32")));
    }
    let mut scratch = lua.vm().scratch.take();
    let settings = &settings(lua);
    let mut decoder = Decoder { lua, settings, text, at: 0, scratch: &mut scratch };
    let result = decoder.document();
    lua.keep_scratch(scratch);
    result.map(|()| 1)
}

#[derive(Clone, Copy)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// The text lies in the scratch buffer, or unescaped in the source between two positions.
    String(Option<(usize, usize)>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(what) => what,
        }
    }
}

struct Decoder<'a> {
    lua: Stack<'a>,
    settings: &'a Settings,
    /// A Lua string: a zero byte stands behind its end.
    text: &'a [u8],
    at: usize,
    scratch: &'a mut Vec<u8>,
}

impl Decoder<'_> {
    /// Pushes the value that the whole text is.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, with the number of the byte, from 1. So for the functions that
    /// this one calls; what they have pushed stays.
    fn document(&mut self) -> Result<(), Raise> {
        let token = self.token();
        self.value(token, 0)?;
        match self.token() {
            (Token::End, _) => Ok(()),
            found => Err(self.unexpected("the end", found)),
        }
    }

    fn unexpected(&self, expected: &str, (token, at): (Token, usize)) -> Raise {
        let (found, at) = (token.name(), at + 1);
        self.lua.error(format_args!("Expected {expected} but found {found} at character {at}"))
    }

    /// Pushes the value that begins with `token`.
    fn value(&mut self, token: (Token, usize), depth: i32) -> Result<(), Raise> {
        match token.0 {
            Token::String(place) => self.push_string(place),
            Token::Number(number) => self.lua.push_number(number),
            Token::Boolean(value) => self.lua.push_boolean(value),
            Token::Null => self.lua.push_null(),
            Token::ObjectBegin => self.object(depth + 1)?,
            Token::ArrayBegin => self.array(depth + 1)?,
            _ => return Err(self.unexpected("value", token)),
        }
        Ok(())
    }

    fn descend(&mut self, depth: i32) -> Result<(), Raise> {
        if depth > self.settings.decode_depth_max || !self.lua.reserve(3) {
            return Err(self.lua.error(format_args!(
                "Found too many nested data structures ({depth}) at character {}",
                self.at
            )));
        }
        Ok(())
    }

    fn object(&mut self, depth: i32) -> Result<(), Raise> {
        self.descend(depth)?;
        self.lua.push_table(0, 0);
        let mut token = self.token();
        if matches!(token.0, Token::ObjectEnd) {
            return Ok(());
        }
        loop {
            let (Token::String(place), _) = token else {
                return Err(self.unexpected("object key string", token));
            };
            self.push_string(place);
            token = self.token();
            if !matches!(token.0, Token::Colon) {
                return Err(self.unexpected("colon", token));
            }
            token = self.token();
            self.value(token, depth)?;
            self.lua.set(-3);
            token = self.token();
            match token.0 {
                Token::ObjectEnd => return Ok(()),
                Token::Comma => token = self.token(),
                _ => return Err(self.unexpected("comma or object end", token)),
            }
        }
    }

    fn array(&mut self, depth: i32) -> Result<(), Raise> {
        self.descend(depth)?;
        self.lua.push_table(0, 0);
        let mut token = self.token();
        if matches!(token.0, Token::ArrayEnd) {
            return Ok(());
        }
        for position in 1.. {
            self.value(token, depth)?;
            self.lua.set_index(-2, position);
            token = self.token();
            match token.0 {
                Token::ArrayEnd => break,
                Token::Comma => token = self.token(),
                _ => return Err(self.unexpected("comma or array end", token)),
            }
        }
        Ok(())
    }

    fn push_string(&self, place: Option<(usize, usize)>) {
        match place {
            Some((start, end)) => self.lua.push_bytes(&self.text[start..end]),
            None => self.lua.push_bytes(self.scratch),
        }
    }

    /// The byte at `at`, zero behind the end as in the C string that the text is.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    /// The next token and where it begins; an error where it went wrong.
    fn token(&mut self) -> (Token, usize) {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let start = self.at;
        let single = match self.byte(start) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return (Token::End, start),
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => return (self.number(), start),
            b't' if self.accept(b"true") => return (Token::Boolean(true), start),
            b'f' if self.accept(b"false") => return (Token::Boolean(false), start),
            b'n' if self.accept(b"null") => return (Token::Null, start),
            b'+' | b'i' | b'I' | b'n' | b'N'
                if self.settings.decode_invalid_numbers && self.is_odd_number(start) =>
            {
                return (self.number(), start);
            }
            _ => return (Token::Error("invalid token"), start),
        };
        self.at += 1;
        (single, start)
    }

    fn accept(&mut self, word: &[u8]) -> bool {
        let accepted = self.text[self.at..].starts_with(word);
        self.at += if accepted { word.len() } else { 0 };
        accepted
    }

    /// Whether `strtod` might take what stands at `at`, but JSON does not: a plus sign, leading
    /// zeros, hexadecimal digits, infinities and NaN.
    fn is_odd_number(&self, at: usize) -> bool {
        if self.byte(at) == b'+' {
            return true;
        }
        let at = at + usize::from(self.byte(at) == b'-');
        match (self.byte(at), self.byte(at + 1)) {
            (b'0', second) => matches!(second, b'x' | b'X' | b'0'..=b'9'),
            (first, _) if first <= b'9' => false,
            _ => {
                let word = self.text.get(at..at + 3).unwrap_or_default();
                word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn number(&mut self) -> Token {
        if !self.settings.decode_invalid_numbers && self.is_odd_number(self.at) {
            return Token::Error("invalid number");
        }
        if let Some(integer) = self.short_integer() {
            return Token::Number(integer);
        }
        let mut end = null_mut();
        let start = self.text[self.at..].as_ptr();
        // SAFETY: Lua ends its strings with a zero byte, behind which `strtod` does not read.
        let number = unsafe { strtod(start.cast(), &mut end) };
        match end as usize - start as usize {
            0 => Token::Error("invalid number"),
            len => {
                self.at += len;
                Token::Number(number)
            }
        }
    }

    /// Up to 15 digits and nothing that could continue a number: exact without `strtod`. None if
    /// there is anything else; then nothing is taken.
    fn short_integer(&mut self) -> Option<f64> {
        let negative = self.byte(self.at) == b'-';
        let start = self.at + usize::from(negative);
        let mut at = start;
        let mut integer = 0u64;
        while let digit @ b'0'..=b'9' = self.byte(at) {
            integer = integer.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            at += 1;
        }
        let continues = matches!(self.byte(at), b'.' | b'e' | b'E' | b'x' | b'X');
        if continues || !(1..=15).contains(&(at - start)) {
            return None;
        }
        self.at = at;
        Some(if negative { -(integer as f64) } else { integer as f64 })
    }

    /// A string whose opening quote is next. Without escapes it is taken from the text as it is.
    fn string(&mut self) -> (Token, usize) {
        let start = self.at;
        self.at += 1;
        let mut copied = self.at;
        self.scratch.clear();
        let mut is_plain = true;
        loop {
            let rest = &self.text[self.at..];
            let Some(length) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0)) else {
                return (Token::Error("unexpected end of string"), self.text.len());
            };
            self.at += length;
            match self.byte(self.at) {
                b'"' if is_plain => {
                    self.at += 1;
                    return (Token::String(Some((copied, self.at - 1))), start);
                }
                b'"' => {
                    self.scratch.extend_from_slice(&self.text[copied..self.at]);
                    self.at += 1;
                    return (Token::String(None), start);
                }
                b'\\' => {
                    is_plain = false;
                    self.scratch.extend_from_slice(&self.text[copied..self.at]);
                    if let Err(what) = self.escape() {
                        return (Token::Error(what), self.at);
                    }
                    copied = self.at;
                }
                _ => return (Token::Error("unexpected end of string"), self.at),
            }
        }
    }

    /// Appends what an escape stands for, whose backslash is next.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn escape(&mut self) -> Result<(), &'static str> {
        let byte = match self.byte(self.at + 1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'u' => {
                let (character, len) =
                    self.unicode_escape().ok_or("invalid unicode escape code")?;
                self.scratch.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += len;
                return Ok(());
            }
            _ => return Err("invalid escape code"),
        };
        self.scratch.push(byte);
        self.at += 2;
        Ok(())
    }

    /// The character of `\uXXXX`, or of a surrogate pair of them, and its length in the
    /// text, in bytes. None if it is no character.
    fn unicode_escape(&self) -> Option<(char, usize)> {
        let unit = self.hex4(self.at + 2)?;
        if !matches!(unit, 0xd800..=0xdfff) {
            return Some((char::from_u32(unit)?, 6));
        }
        let low = match (self.byte(self.at + 6), self.byte(self.at + 7)) {
            (b'\\', b'u') => self.hex4(self.at + 8)?,
            _ => return None,
        };
        let is_pair = matches!((unit, low), (0xd800..=0xdbff, 0xdc00..=0xdfff));
        let code = 0x10000 + ((unit & 0x3ff) << 10 | low & 0x3ff);
        is_pair.then(|| char::from_u32(code)).flatten().map(|character| (character, 12))
    }

    /// Four hexadecimal digits; None if they are not there.
    fn hex4(&self, at: usize) -> Option<u32> {
        (at..at + 4)
            .try_fold(0, |code, at| Some(code << 4 | char::from(self.byte(at)).to_digit(16)?))
    }
}
