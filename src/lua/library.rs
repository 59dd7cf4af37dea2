//! Libraries of functions: what FUNCTION LOAD is given, and where FCALL finds it.
//!
//! A library is run once, in globals of its own: there is nothing in them but a `redis` that
//! registers functions and logs. From then on the same globals show what scripts see. So a library
//! can keep state in its variables, but cannot call a command before it is loaded. A library that
//! fails, or clashes with another, leaves nothing behind.

use super::answer;
use super::api::api;
use super::fiber;
use super::sandbox::functions::{self, Seen};
use super::script::{self, SOURCE_BYTES_MAX, ScriptFlags};
use super::stack::Stack;
use super::vm::Vm;
use crate::proto::{Error, Result};
use crate::util::words;
use mlua::ffi::{self, lua_Debug, lua_State};
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_int;
use std::rc::Rc;

/// The name of every library in Lua's messages.
const CHUNK_NAME: &str = "@user_function";

/// What a library may take to run, about half a second: it only registers its functions.
const LOAD_INSTRUCTIONS_MAX: c_int = 50_000_000;

/// What libraries and functions may be called.
pub(super) const WRONG_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) \
    and must be at least one character long";

/// A library as it was loaded.
#[derive(Debug)]
pub struct Library {
    pub name: Box<[u8]>,
    /// With its first line.
    pub source: Box<[u8]>,
    pub functions: Vec<Rc<LibraryFunction>>,
}

/// A function that a library has registered.
#[derive(Debug)]
pub struct LibraryFunction {
    pub name: Box<[u8]>,
    pub description: Option<Box<[u8]>>,
    /// They count as declared, also if there are none.
    pub flags: ScriptFlags,
    /// The registry's key of it.
    pub(super) callback: c_int,
}

/// The libraries of one machine.
#[derive(Default)]
pub(super) struct Libraries {
    by_name: BTreeMap<Box<[u8]>, Library>,
    functions: HashMap<Box<[u8]>, Rc<LibraryFunction>, ahash::RandomState>,
}

impl Libraries {
    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Library> {
        self.by_name.values()
    }

    pub fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// The function of that name, in any case.
    pub fn function(&self, name: &[u8]) -> Option<&Rc<LibraryFunction>> {
        self.functions.get(name).or_else(|| {
            let mut all = self.functions.values();
            all.find(|function| function.name.eq_ignore_ascii_case(name))
        })
    }

    /// Runs a library, and takes it up; returns its name.
    ///
    /// # Errors
    ///
    /// What is wrong with its first line or its functions, or that there is such a library already,
    /// unless it `replaces` that, or a function of such a name in another one. Then all is as it
    /// was before.
    pub fn load(&mut self, vm: &Vm, source: &[u8], replaces: bool) -> Result<Box<[u8]>> {
        let name = name_in(source)?;
        if !replaces && self.by_name.contains_key(&name) {
            return Err(exists("Library '", &name, "'"));
        }
        let library = run(vm, name.clone(), source)?;
        self.add(vm, vec![library], replaces)?;
        Ok(name)
    }

    /// Runs and takes up all of these libraries, or none.
    ///
    /// # Errors
    ///
    /// As `load`, of any of them.
    pub fn load_all(&mut self, vm: &Vm, sources: &[Vec<u8>], replaces: bool) -> Result {
        let mut libraries: Vec<Library> = Vec::new();
        let result = sources.iter().try_for_each(|source| {
            let name = name_in(source)?;
            if libraries.iter().any(|library| library.name == name) {
                return Err(exists("Library '", &name, "'"));
            }
            libraries.push(run(vm, name, source)?);
            Ok(())
        });
        match result {
            Ok(()) => self.add(vm, libraries, replaces),
            Err(error) => {
                libraries.iter().for_each(|library| forget(vm, library));
                Err(error)
            }
        }
    }

    /// Takes up all of these libraries, or none.
    fn add(&mut self, vm: &Vm, libraries: Vec<Library>, replaces: bool) -> Result {
        if let Err(error) = self.check(&libraries, replaces) {
            libraries.iter().for_each(|library| forget(vm, library));
            return Err(error);
        }
        // All of them before any is added: one of the new may have a function of another's name.
        libraries.iter().for_each(|library| _ = self.remove(vm, &library.name));
        for library in libraries {
            for function in &library.functions {
                // Names that differ in case alone may stand in one library; the first is called.
                if self.function(&function.name).is_none() {
                    self.functions.insert(function.name.clone(), function.clone());
                }
            }
            self.by_name.insert(library.name.clone(), library);
        }
        Ok(())
    }

    /// Libraries that are there already come first among the errors, as in Redis.
    fn check(&self, libraries: &[Library], replaces: bool) -> Result {
        let is_there = |library: &&Library| self.by_name.contains_key(&library.name);
        if let Some(library) = libraries.iter().find(is_there).filter(|_| !replaces) {
            return Err(exists("Library ", &library.name, ""));
        }
        let is_new = |name: &[u8]| libraries.iter().any(|library| *library.name == *name);
        let others = self.iter().filter(|library| !is_new(&library.name));
        // By a function's name in small letters, the library that it is in.
        let mut owners: HashMap<Vec<u8>, &[u8]> = HashMap::new();
        for library in others.chain(libraries) {
            for function in &library.functions {
                let name = function.name.to_ascii_lowercase();
                if *owners.entry(name).or_insert(&library.name) != &*library.name {
                    return Err(exists("Function ", &function.name, ""));
                }
            }
        }
        Ok(())
    }

    /// Whether there was such a library.
    pub fn remove(&mut self, vm: &Vm, name: &[u8]) -> bool {
        let Some(library) = self.by_name.remove(name) else { return false };
        self.functions.retain(|_, it| !library.functions.iter().any(|of| Rc::ptr_eq(of, it)));
        forget(vm, &library);
        true
    }

    /// Bytes of the sources.
    pub fn source_bytes(&self) -> usize {
        self.iter().map(|library| library.source.len()).sum()
    }
}

fn exists(what: &str, name: &[u8], quote: &str) -> Error {
    Error::quoting(&format!("ERR {what}"), name, &format!("{quote} already exists"))
}

/// Lets go of a library's functions. One that runs stays alive on the stack.
fn forget(vm: &Vm, library: &Library) {
    library.functions.iter().for_each(|function| vm.main().forget(function.callback));
}

/// The name in the first line of a library: `#!lua name=jobs`.
///
/// # Errors
///
/// What is wrong with the line.
fn name_in(source: &[u8]) -> Result<Box<[u8]>> {
    let Some(line) = source.strip_prefix(b"#!") else {
        return Err(Error::new("ERR Missing library metadata"));
    };
    let end = memchr::memchr(b'\n', line);
    let words = end.and_then(|end| words::split(&source[..2 + end]));
    let Some((bytes, spans)) = words else {
        return Err(Error::new("ERR Invalid library metadata"));
    };
    let mut words = spans.iter().map(|&(start, end)| &bytes[start..end]);
    let language = &words.next().unwrap_or_default()[2..];
    let mut name = None;
    for word in words {
        let Some(given) = strip_prefix_ignoring_case(word, b"name=") else {
            return Err(Error::quoting("ERR Invalid metadata value given: ", word, ""));
        };
        if name.replace(given).is_some() {
            return Err(Error::new(
                "ERR Invalid metadata value, name argument was given multiple times",
            ));
        }
    }
    let name = name.ok_or_else(|| Error::new("ERR Library name was not given"))?;
    if !is_name(name) {
        return Err(Error::new(format!("ERR {WRONG_NAME}")));
    }
    if !language.eq_ignore_ascii_case(b"lua") {
        return Err(Error::quoting("ERR Engine '", language, "' not found"));
    }
    Ok(name.into())
}

fn strip_prefix_ignoring_case<'a>(word: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = word.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Runs a library, and returns it with the functions that it has registered.
fn run(vm: &Vm, name: Box<[u8]>, source: &[u8]) -> Result<Library> {
    let lua = vm.main();
    if source.len() > SOURCE_BYTES_MAX {
        return Err(Error::new(format!("ERR a library has at most {SOURCE_BYTES_MAX} bytes")));
    }
    let body = &source[memchr::memchr(b'\n', source).unwrap_or(source.len())..];
    lua.push_function(answer::note_place);
    if let Err(message) = script::load(lua, body, CHUNK_NAME) {
        lua.set_top(0);
        return Err(Error::quoting("ERR Error compiling function: ", &message, ""));
    }
    functions::push_environment(lua);
    api!(tables::lua_setfenv(lua, -2));
    vm.registered.set(Some(Vec::new()));
    functions::show(lua, Seen::Registration);
    api!(machine::lua_sethook(lua, Some(end_load), ffi::LUA_MASKCOUNT, LOAD_INSTRUCTIONS_MAX));
    vm.heap.leave();
    let status = api!(runs::lua_pcall(lua, 0, 0, -2));
    vm.heap.enter();
    fiber::watch(lua);
    functions::show(lua, Seen::Globals);
    let functions = vm.registered.take().unwrap_or_default();
    let library = Library { name, source: source.into(), functions };
    let failure = match status {
        ffi::LUA_OK if library.functions.is_empty() => {
            Some(Error::new("ERR No functions registered"))
        }
        ffi::LUA_OK => None,
        _ => {
            vm.failed_at.take();
            let text = answer::error_text(lua);
            Some(Error::quoting("ERR Error registering functions: ", &text, ""))
        }
    };
    lua.set_top(0);
    vm.pace();
    match failure {
        None => Ok(library),
        Some(error) => {
            forget(vm, &library);
            Err(error)
        }
    }
}

unsafe extern "C-unwind" fn end_load(state: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: Lua calls this with a state that is alive until it returns.
    let lua = unsafe { Stack::new(state) };
    fiber::raise(lua, b"ERR FUNCTION LOAD timeout")
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, MEMORY_BYTES_MAX};
    use super::super::{Callable, Lua, Progress};
    use crate::proto::{Protocol, Reply, Result};

    fn load(lua: &mut Lua, body: &str) -> Result<Fake> {
        let mut fake = Fake::default();
        lua.load_library(format!("#!lua name=a\n{body}").as_bytes(), true, &mut fake)?;
        Ok(fake)
    }

    fn call(lua: &mut Lua, name: &str, argv: &[&[u8]]) -> String {
        let function = lua.function(name.as_bytes()).expect("it was registered").clone();
        let (mut fake, mut out) = (Fake::default(), Vec::new());
        let progress = lua.start(Callable::Function(function), &[b"k"], argv, &mut fake);
        assert_eq!(progress, Progress::Done);
        let mut reply = Reply::bytes(&mut out, Protocol::Resp2);
        match lua.finish(&mut reply, &mut |_, _| {}) {
            Ok(()) => out.escape_ascii().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_library_may_log_while_it_is_loaded() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let body = "redis.log(redis.LOG_WARNING, 'x') redis.register_function('f', function() end)";
        assert_eq!(load(&mut lua, body).unwrap().log, ["Warning x"]);
    }

    #[test]
    fn a_library_that_runs_for_long_is_not_loaded() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let body = "redis.register_function('f', function() end) while true do end";
        let error = load(&mut lua, body).unwrap_err();
        assert_eq!(error.to_string(), "ERR Error registering functions: ERR FUNCTION LOAD timeout");
        assert_eq!((lua.function_count(), lua.libraries().count()), (0, 0));
        // The next one has its own time.
        load(&mut lua, "redis.register_function('f', function() return 1 end)").unwrap();
        assert_eq!(call(&mut lua, "f", &[]), r":1\r\n");
    }

    #[test]
    fn a_library_that_fails_leaves_nothing_behind() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let keep = "local n = 0 redis.register_function('f', function() n = n + 1 return n end)";
        load(&mut lua, keep).unwrap();
        assert_eq!(call(&mut lua, "f", &[]), r":1\r\n");
        for body in [
            "redis.register_function('g', function() end) nosuch()",
            "redis.register_function('g', function() end) redis.call('ok')",
            "redis.register_function('g', function() end) redis.register_function('g', 1)",
            "x = 1",
            "return (",
        ] {
            assert!(load(&mut lua, body).is_err(), "{body}");
            assert!(lua.function(b"g").is_none(), "{body}");
        }
        assert_eq!(call(&mut lua, "f", &[]), r":2\r\n");
        assert_eq!(call(&mut lua, "F", &[]), r":3\r\n");
    }

    #[test]
    fn a_function_is_registered_while_its_library_is_loaded_and_never_after() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let body = "local register = redis.register_function \
            register('f', function() return redis.pcall(function() end) end) \
            register('late', function() register('g', function() end) end)";
        load(&mut lua, body).unwrap();
        let answer = call(&mut lua, "late", &[]);
        assert!(
            answer.starts_with("ERR redis.register_function can only be called on FUNCTION LOAD"),
            "{answer}"
        );
        assert!(lua.function(b"g").is_none());
    }

    #[test]
    fn nothing_that_a_function_does_reaches_the_globals() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        for attack in [
            "x = 1",
            "string.len = nil",
            "_G.string = nil",
            "rawset(_G, 'string', 1)",
            "rawset(getfenv(), 'string', 1)",
            "setmetatable(getfenv(), {})",
            "getmetatable(getfenv()).__index.string = nil",
            "getmetatable('').__index = nil",
            "setfenv(0, {})",
        ] {
            let body = format!(
                "redis.register_function('attack', function() {attack} end) \
                 redis.register_function('probe', function(keys, args) \
                 return ('abc'):len() + string.len('abc') + #keys + #args end)"
            );
            load(&mut lua, &body).unwrap();
            call(&mut lua, "attack", &[]);
            assert_eq!(call(&mut lua, "probe", &[b"a", b"b"]), r":9\r\n", "{attack}");
        }
    }
}
