//! Hoisting: functions that a script defines anew at each run are made once.
//!
//! A script of BullMQ opens with up to forty `local function`s. Lua makes a closure of each one at
//! every run, finds the variables it captures, and collects all of it afterwards: a seventh of what
//! such a script costs. A function can be made once if every variable that it captures holds the
//! same value at every run: `redis.call` and its like, and other such functions. So a script
//! becomes two chunks: one is run once and returns these functions; in the other they are upvalues,
//! and each `CLOSURE` reads one.
//!
//! Nobody can tell: a function is equal to none of another run; what is assigned to a captured
//! variable, by anybody, rules the variable out; a definition in a loop makes a function each time
//! round; and a script that could lay hands on functions' environments is left alone.

use super::api::api;
use super::chunk::{CompiledChunk, Function, Instruction, Local, Opcode};
use super::stack::Stack;
use super::{fiber, sandbox, script};
use mlua::ffi;
use std::ffi::c_int;

/// Without one of these names no script can reach `setfenv`, which changes a function for good:
/// what is compiled at run time may name anything.
const REACHES: [&[u8]; 5] = [b"setfenv", b"getfenv", b"_G", b"load", b"loadstring"];

/// A table that no script can change; what its fields hold is the same at every run.
const LIBRARY: &[u8] = b"redis";

/// A function's upvalues are counted in a byte.
const HOISTED_MAX: usize = u8::MAX as usize;

/// Puts a script of the same meaning in place of the one on top, if it has functions to make once.
pub(super) fn hoist(lua: Stack<'_>, chunk: &CompiledChunk<'_>) {
    let Some(split) = split(chunk) else { return };
    let top = lua.top();
    if run_maker(lua, &split) && script::load_compiled(lua, &split.script) {
        for (upvalue, register) in (1..).zip(&split.registers) {
            lua.push_copy(top + 1 + *register as c_int);
            api!(tables::lua_setupvalue(lua, -2, upvalue));
        }
        lua.replace(top);
    }
    lua.set_top(top);
}

/// Leaves what it returns on the stack.
fn run_maker(lua: Stack<'_>, split: &Split) -> bool {
    if !lua.reserve(split.returns as c_int + STACK_SPARE)
        || !script::load_compiled(lua, &split.maker)
    {
        return false;
    }
    sandbox::push_globals(lua);
    api!(tables::lua_setfenv(lua, -2));
    // It is no script, whose time is counted.
    fiber::unwatch(lua);
    let status = api!(runs::lua_pcall(lua, 0, split.returns as c_int, 0));
    fiber::watch(lua);
    status == ffi::LUA_OK
}

const STACK_SPARE: c_int = 8;

struct Split {
    /// Returns the values of the first so many registers.
    maker: Vec<u8>,
    returns: usize,
    /// The script, whose upvalues are to be those values, ...
    script: Vec<u8>,
    /// ... of these registers in this order.
    registers: Vec<usize>,
}

/// None if there is no function to make once.
fn split(chunk: &CompiledChunk<'_>) -> Option<Split> {
    let main = &chunk.main;
    let is_plain = main.upvalues == 0
        && !main.any(&mut |function| REACHES.iter().any(|name| function.names(name)));
    if !is_plain {
        return None;
    }
    let definitions = definitions(main);
    let functions = || definitions.iter().filter(|definition| definition.is_function(main));
    if functions().next().is_none() || functions().count() > HOISTED_MAX {
        return None;
    }
    let returns = 1 + definitions.iter().map(|definition| definition.register).max()?;

    let mut made = Vec::new();
    for definition in &definitions {
        made.extend_from_slice(&main.code[definition.at..definition.end]);
    }
    made.push(Instruction::abc(Opcode::RETURN, 0, returns + 1, 0));
    // Lua wants the last instruction to return, whatever comes before.
    made.push(Instruction::abc(Opcode::RETURN, 0, 1, 0));

    let mut script = main.clone();
    for (upvalue, definition) in functions().enumerate() {
        let Definition { at, end, register } = *definition;
        script.functions[main.code[at].bx()] = main.functions[main.code[at].bx()].emptied();
        script.code[at] = Instruction::abc(Opcode::GETUPVAL, register, upvalue, 0);
        if end > at + 1 {
            script.code[at + 1] = Instruction::skip(end - at - 2);
        }
    }
    script.upvalues = functions().count() as u8;
    script.upvalue_names = vec![b"function"; functions().count()];
    Some(Split {
        maker: chunk.dump(&main.with_code(made)),
        returns,
        script: chunk.dump(&script),
        registers: functions().map(|definition| definition.register).collect(),
    })
}

/// The code that gives a variable the value which it has for good, at every run the same.
#[derive(Clone, Copy)]
struct Definition {
    at: usize,
    end: usize,
    register: usize,
}

impl Definition {
    /// Otherwise it is a field of a library, which takes two instructions and captures nothing.
    fn is_function(&self, main: &Function<'_>) -> bool {
        main.code[self.at].opcode() == Opcode::CLOSURE
    }
}

fn definitions(main: &Function<'_>) -> Vec<Definition> {
    let mut found: Vec<Definition> = Vec::new();
    let last = main.code.len() - 1;
    let lasting: Vec<&Local> = main.locals.iter().filter(|local| local.to >= last).collect();
    let jumps = jumps(main);
    for (at, instruction) in main.instructions() {
        let register = instruction.a();
        let end = match instruction.opcode() {
            Opcode::CLOSURE => {
                let Some((_, captures)) = main.closure(at) else { continue };
                let is_constant = |capture: &Instruction| {
                    capture.opcode() == Opcode::MOVE
                        && (capture.b() == register
                            || found.iter().any(|it| it.register == capture.b()))
                };
                if !captures.iter().all(is_constant) {
                    continue;
                }
                at + 1 + captures.len()
            }
            Opcode::GETGLOBAL if main.text(instruction.bx()) == Some(LIBRARY) => {
                let Some(field) = main.code.get(at + 1) else { continue };
                let is_field = field.opcode() == Opcode::GETTABLE
                    && (field.a(), field.b()) == (register, register)
                    && field.c_constant().is_some_and(|place| main.text(place).is_some());
                if !is_field {
                    continue;
                }
                at + 2
            }
            _ => continue,
        };
        // There are few that last, and of all others none needs another look.
        let is_constant = lasting.iter().any(|local| local.from == end)
            && is_variable(main, register, end)
            && !jumps.iter().any(|jump| jump.repeats(at) || jump.lands_behind(at, end))
            && !is_assigned(main, register, end);
        if is_constant {
            found.push(Definition { at, end, register });
        }
    }
    found
}

/// Where code goes on elsewhere than at the next instruction.
struct Jump {
    from: usize,
    to: usize,
}

impl Jump {
    /// Whether it leads back over an instruction, which may run again then.
    fn repeats(&self, at: usize) -> bool {
        (self.to..=self.from).contains(&at)
    }

    /// Whether it comes into a definition, or to where it has just ended, from elsewhere. Then
    /// something else may have given the variable its value: `local f = x and redis.call`.
    fn lands_behind(&self, at: usize, end: usize) -> bool {
        (at + 1..=end).contains(&self.to)
    }
}

fn jumps(main: &Function<'_>) -> Vec<Jump> {
    let jumps = main.instructions().filter_map(|(from, instruction)| {
        let distance = match instruction.opcode() {
            Opcode::JMP | Opcode::FORLOOP | Opcode::FORPREP => instruction.distance(),
            Opcode::EQ..=Opcode::TESTSET | Opcode::TFORLOOP => 1,
            Opcode::LOADBOOL if instruction.c() != 0 => 1,
            _ => return None,
        };
        Some(Jump { from, to: usize::try_from(from as i64 + 1 + distance).unwrap_or(0) })
    });
    jumps.collect()
}

/// Whether a register is a variable's whose life begins at `from` and ends with the script.
fn is_variable(main: &Function<'_>, register: usize, from: usize) -> bool {
    let is_alive = |local: &&Local| local.from <= from && from < local.to;
    let last = main.code.len() - 1;
    main.locals
        .iter()
        .filter(is_alive)
        .nth(register)
        .is_some_and(|local| local.from == from && local.to >= last)
}

/// Whether somebody may give the variable in a register another value from `from` on.
fn is_assigned(main: &Function<'_>, register: usize, from: usize) -> bool {
    main.instructions().any(|(at, instruction)| at >= from && writes(instruction, register))
        || is_assigned_inside(main, Opcode::MOVE, register)
}

/// Whether a function in this one assigns to a variable that it captures: from a register of this
/// one (`MOVE`), or from what this one has captured itself (`GETUPVAL`).
fn is_assigned_inside(function: &Function<'_>, how: u32, captured: usize) -> bool {
    let closures = function.instructions().filter_map(|(at, _)| function.closure(at));
    let mut captures = closures.flat_map(|(inner, captures)| {
        captures.iter().enumerate().map(move |(upvalue, capture)| (inner, upvalue, capture))
    });
    captures.any(|(inner, upvalue, capture)| {
        let assigns = |it: Instruction| (it.opcode(), it.b()) == (Opcode::SETUPVAL, upvalue);
        (capture.opcode(), capture.b()) == (how, captured)
            && (inner.instructions().any(|(_, it)| assigns(it))
                || is_assigned_inside(inner, Opcode::GETUPVAL, upvalue))
    })
}

/// Whether an instruction may write a register; said of too many rather than too few.
fn writes(instruction: Instruction, register: usize) -> bool {
    let a = instruction.a();
    match instruction.opcode() {
        Opcode::LOADNIL => (a..=instruction.b()).contains(&register),
        Opcode::SELF => (a..=a + 1).contains(&register),
        Opcode::CALL | Opcode::TAILCALL | Opcode::VARARG => a <= register,
        Opcode::FORLOOP | Opcode::FORPREP | Opcode::TFORLOOP => a <= register,
        Opcode::MOVE..=Opcode::GETTABLE | Opcode::NEWTABLE..=Opcode::CONCAT => a == register,
        Opcode::TESTSET | Opcode::CLOSURE => a == register,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lua;
    use super::super::fake::run_once;
    use super::*;

    /// How many functions a script has that are made once.
    fn hoisted(source: &str) -> usize {
        let mut lua = Lua::new(1 << 24);
        let script = lua.eval(source.as_bytes()).unwrap();
        let stack: Stack = lua.main();
        stack.push_kept(script.function);
        let count = (1..).take_while(|&at| {
            // SAFETY: the function is on top, and each upvalue that exists is popped.
            let exists = !api!(pushes::lua_getupvalue(stack, -1, at)).is_null();
            stack.pop(exists.into());
            exists
        });
        let count = count.count();
        stack.pop(1);
        count
    }

    #[test]
    fn functions_of_constants_are_made_once() {
        for (source, expect) in [
            ("local function f() return 1 end return f()", 1),
            ("local f = function() return 1 end return f()", 1),
            ("local call = redis.call local function f() return call('x') end return f()", 1),
            (
                "local function f() end local function g() f() end local function h() g() f() end h()",
                3,
            ),
            ("local function f(n) if n > 0 then return f(n - 1) end end f(3)", 1),
            ("local x = KEYS[1] local function f() return 1 end return f() .. x", 1),
            ("local x = KEYS[1] or 1 local function f() return 1 end return f() .. x", 1),
            ("local x = KEYS[1] == 1 local f = redis.call local g = function() f() end g()", 1),
            ("if KEYS[1] then local function f() return 1 end return f() end", 1),
            ("local function f() return function() return 1 end end return f()()", 1),
            ("if #KEYS == 0 then return 1 end local function f() return 2 end return f()", 1),
        ] {
            assert_eq!(hoisted(source), expect, "{source}");
        }
    }

    #[test]
    fn functions_of_what_changes_are_not() {
        for source in [
            "return 1",
            "local x = KEYS[1] local function f() return x end return f()",
            "local x = 1 local function f() return x end return f()",
            "local x = {} local function f() return x end return f()",
            "local f f = function() return 1 end return f()",
            "local f = function() return 1 end f = nil return f",
            "local f = function() return 1 end f = function() return 2 end return f()",
            "local a, f = 1, function() return 1 end f = a return f",
            "local function f() end local function g() f = 1 end return g()",
            "local function f() end local function g() return function() f = 1 end end return g()",
            "for i = 1, 2 do local function f() return i end f() end",
            "for i = 1, 2 do local function f() return 1 end f() end",
            "local i = 0 repeat i = i + 1 local f = function() end until f and i == 2",
            "do local function f() return 1 end f() end local x = 1 return x",
            "local call = cjson.encode local function f() return call(1) end return f()",
            "local function f() return 1 end setfenv(f, {}) return f()",
            "local function f() return 1 end loadstring('return set'..'fenv')()(f, {}) return f()",
            "local function f() return 1 end load(function() end) return f()",
            "local function f() return 1 end getfenv()['set' .. 'fenv'](f, {}) return f()",
            "local function f() return 1 end _G['set' .. 'fenv'](f, {}) return f()",
            "local function f() return 1 end x = f return f()",
            // Others may have written the variable before.
            "local c = ARGV[1] and redis.call local function f() return c end return f()",
            "local c = ARGV[1] or redis.call local function f() return c end return f()",
            "local c = ARGV[1] and redis.pcall or redis.call local function f() return c end return f()",
            "local f = ARGV[1] and function() return 1 end return f",
            "local f = ARGV[1] == 'x' or function() return 1 end return f",
            "local f = ARGV[1] ~= 'x' and function() return 1 end or function() return 2 end return f",
            "local f = not ARGV[1] and (ARGV[2] or function() return 1 end) return f",
            // As fuzzing has it done to compare with.
            "do local _ = '_G' end local function f() return 1 end return f()",
        ] {
            assert_eq!(hoisted(source), 0, "{source}");
        }
    }

    #[test]
    fn what_an_and_or_an_or_decides_is_decided_at_each_run() {
        for (source, without, with) in [
            (
                "local w = ARGV[1] and redis.call
                local function f() if w then return 'call' end return 'none' end return f()",
                r"$4\r\nnone\r\n",
                r"$4\r\ncall\r\n",
            ),
            (
                "local level = tonumber(ARGV[1]) or redis.LOG_WARNING
                local function f() return level end return f()",
                r":3\r\n",
                r":1\r\n",
            ),
            (
                "local f = ARGV[1] ~= '1' and function() return 1 end or function() return 2 end
                local function g() return f() end return g()",
                r":1\r\n",
                r":2\r\n",
            ),
        ] {
            let mut lua = Lua::new(1 << 24);
            for _ in 0..2 {
                assert_eq!(run_once(&mut lua, source, &[]), without, "{source}");
                assert_eq!(run_once(&mut lua, source, &[b"1"]), with, "{source}");
            }
        }
    }

    #[test]
    fn a_function_that_is_made_once_is_like_any_other() {
        let mut lua = Lua::new(1 << 24);
        let source = "local call = redis.call
            local function even(n) if n == 0 then return call end return even(n - 2) end
            local function key() return KEYS[1] end
            local function odd() error('odd') end
            if ARGV[1] == 'odd' then odd() end
            if ARGV[1] == 'name' then key.x = 1 end
            return {key(), even(4) == redis.call and 1 or 0, #ARGV}";
        let line_of_error = "ERR user_script:4: odd script: ";
        let name_in_error = "ERR user_script:6: attempt to index local 'key' (a function value)";
        for _ in 0..3 {
            let run = |lua: &mut Lua, words: &[&[u8]]| run_once(lua, source, words);
            assert_eq!(run(&mut lua, &[b"k1"]), r"*3\r\n$2\r\nk1\r\n:1\r\n:1\r\n");
            assert_eq!(run(&mut lua, &[b"k2"]), r"*3\r\n$2\r\nk2\r\n:1\r\n:1\r\n");
            assert!(run(&mut lua, &[b"odd"]).starts_with(line_of_error));
            assert!(run(&mut lua, &[b"name"]).starts_with(name_in_error));
        }
    }
}
