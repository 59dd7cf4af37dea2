//! Compiled chunks as `lua_dump` of Lua 5.1 writes them on this machine: taken apart, and put
//! together again. Only what the VM itself compiled comes here; users' chunks are refused.

use mlua::ffi;
use std::ffi::c_int;

/// A chunk: what dumps begin with, and the script's function.
pub(super) struct CompiledChunk<'a> {
    header: &'a [u8],
    pub main: Function<'a>,
}

/// A function's prototype.
#[derive(Clone)]
pub(super) struct Function<'a> {
    /// The source's name, and the lines where it stands.
    origin: &'a [u8],
    pub upvalues: u8,
    /// How many parameters it has, and whether it takes more.
    parameters: &'a [u8],
    /// How much stack it wants.
    registers: u8,
    pub code: Vec<Instruction>,
    constant_count: usize,
    constants_bytes: &'a [u8],
    /// Of the constants those that are strings, by their places.
    texts: Vec<(usize, &'a [u8])>,
    pub functions: Vec<Function<'a>>,
    pub locals: Vec<Local>,
    /// Lines and local variables.
    debug: &'a [u8],
    /// Without names nobody can set upvalues.
    pub upvalue_names: Vec<&'a [u8]>,
}

/// A local variable, whose life begins before the instruction at `from`.
#[derive(Clone, Copy)]
pub(super) struct Local {
    pub from: usize,
    pub to: usize,
}

impl<'a> CompiledChunk<'a> {
    const HEADER_BYTES: usize = 12;

    /// None if the dump is not laid out as expected.
    pub fn parse(dump: &'a [u8]) -> Option<Self> {
        let mut reader = DumpReader { rest: dump };
        let header = reader.take(Self::HEADER_BYTES)?;
        let main = reader.function()?;
        reader.rest.is_empty().then_some(Self { header, main })
    }

    /// The dump of another function in place of the script's.
    pub fn dump(&self, main: &Function<'_>) -> Vec<u8> {
        let mut out = self.header.to_vec();
        main.write(&mut out);
        out
    }
}

impl<'a> Function<'a> {
    /// The string constant at a place; None if another constant is there, or none.
    pub fn text(&self, place: usize) -> Option<&'a [u8]> {
        let found = self.texts.binary_search_by_key(&place, |&(at, _)| at).ok()?;
        Some(self.texts[found].1)
    }

    /// Whether something holds for this function or one inside it.
    pub fn any(&self, holds: &mut impl FnMut(&Self) -> bool) -> bool {
        holds(self) || self.functions.iter().any(|inner| inner.any(holds))
    }

    /// Whether a string is among the constants.
    pub fn names(&self, text: &[u8]) -> bool {
        self.texts.iter().any(|&(_, constant)| constant == text)
    }

    /// The instructions that are executed, each with its place. What follows some of them and only
    /// tells more about them is left out.
    pub fn instructions(&self) -> impl Iterator<Item = (usize, Instruction)> {
        let mut place = 0;
        std::iter::from_fn(move || {
            let at = place;
            let instruction = *self.code.get(at)?;
            place += 1 + self.operands(instruction);
            Some((at, instruction))
        })
    }

    /// The function that a `CLOSURE` makes, and the words behind that say what it captures. None if
    /// another instruction is there.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end of the code.
    pub fn closure(&self, at: usize) -> Option<(&Self, &[Instruction])> {
        let instruction = self.code[at];
        let made = self.functions.get(instruction.bx())?;
        let captures = self.code.get(at + 1..at + 1 + self.operands(instruction))?;
        (instruction.opcode() == Opcode::CLOSURE).then_some((made, captures))
    }

    /// How many words that follow an instruction belong to it.
    pub fn operands(&self, instruction: Instruction) -> usize {
        match instruction.opcode() {
            Opcode::CLOSURE => {
                self.functions.get(instruction.bx()).map_or(0, |inner| inner.upvalues.into())
            }
            Opcode::SETLIST => usize::from(instruction.c() == 0),
            _ => 0,
        }
    }

    /// The same function doing nothing: what stands for one that nobody calls any more.
    pub fn emptied(&self) -> Self {
        Self {
            origin: self.origin,
            upvalues: self.upvalues,
            parameters: self.parameters,
            registers: self.registers,
            code: vec![Instruction::abc(Opcode::RETURN, 0, 1, 0)],
            constant_count: 0,
            constants_bytes: &[],
            texts: Vec::new(),
            functions: Vec::new(),
            locals: Vec::new(),
            debug: NO_DEBUG,
            upvalue_names: Vec::new(),
        }
    }

    /// The same function with another body, whose lines are not known.
    pub fn with_code(&self, code: Vec<Instruction>) -> Self {
        Self { code, locals: Vec::new(), debug: NO_DEBUG, ..self.clone() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.origin);
        out.push(self.upvalues);
        out.extend_from_slice(self.parameters);
        out.push(self.registers);
        write_count(out, self.code.len());
        out.extend(self.code.iter().flat_map(|instruction| instruction.0.to_ne_bytes()));
        write_count(out, self.constant_count);
        out.extend_from_slice(self.constants_bytes);
        write_count(out, self.functions.len());
        self.functions.iter().for_each(|inner| inner.write(out));
        out.extend_from_slice(self.debug);
        write_count(out, self.upvalue_names.len());
        for name in &self.upvalue_names {
            out.extend_from_slice(&(name.len() + 1).to_ne_bytes());
            out.extend_from_slice(name);
            out.push(0);
        }
    }
}

/// Two counts of zero: no lines, no local variables.
const NO_DEBUG: &[u8] = &[0; 2 * size_of::<c_int>()];

fn write_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as c_int).to_ne_bytes());
}

/// One word of code: `lopcodes.h` has the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction(u32);

/// Of Lua 5.1's operations those that somebody here asks for.
pub(super) struct Opcode;

impl Opcode {
    pub const MOVE: u32 = 0;
    pub const LOADBOOL: u32 = 2;
    pub const LOADNIL: u32 = 3;
    pub const GETUPVAL: u32 = 4;
    pub const GETGLOBAL: u32 = 5;
    pub const GETTABLE: u32 = 6;
    pub const SETGLOBAL: u32 = 7;
    pub const SETUPVAL: u32 = 8;
    pub const NEWTABLE: u32 = 10;
    pub const SELF: u32 = 11;
    pub const CONCAT: u32 = 21;
    pub const JMP: u32 = 22;
    pub const EQ: u32 = 23;
    pub const TESTSET: u32 = 27;
    pub const CALL: u32 = 28;
    pub const TAILCALL: u32 = 29;
    pub const RETURN: u32 = 30;
    pub const FORLOOP: u32 = 31;
    pub const FORPREP: u32 = 32;
    pub const TFORLOOP: u32 = 33;
    pub const SETLIST: u32 = 34;
    pub const CLOSURE: u32 = 36;
    pub const VARARG: u32 = 37;
}

impl Instruction {
    const A_AT: u32 = 6;
    const C_AT: u32 = 14;
    const B_AT: u32 = 23;
    const WIDE_MAX: u32 = (1 << 9) - 1;
    /// Operands from here on are constants.
    const CONSTANT: usize = 1 << 8;
    const JUMP_ZERO: i64 = (1 << 17) - 1;

    pub const BYTES: usize = size_of::<u32>();

    pub fn abc(opcode: u32, a: usize, b: usize, c: usize) -> Self {
        let word = (a as u32) << Self::A_AT | (b as u32) << Self::B_AT | (c as u32) << Self::C_AT;
        Self(opcode | word)
    }

    /// Goes on behind the next `count` words.
    pub fn skip(count: usize) -> Self {
        Self(Opcode::JMP | ((Self::JUMP_ZERO + count as i64) as u32) << Self::C_AT)
    }

    pub fn opcode(self) -> u32 {
        self.0 & 0x3f
    }

    pub fn a(self) -> usize {
        (self.0 >> Self::A_AT & 0xff) as usize
    }

    pub fn b(self) -> usize {
        (self.0 >> Self::B_AT & Self::WIDE_MAX) as usize
    }

    pub fn c(self) -> usize {
        (self.0 >> Self::C_AT & Self::WIDE_MAX) as usize
    }

    /// The place of the constant that C names, if it names one.
    pub fn c_constant(self) -> Option<usize> {
        self.c().checked_sub(Self::CONSTANT)
    }

    pub fn bx(self) -> usize {
        (self.0 >> Self::C_AT) as usize
    }

    /// How far a jump goes, from the word after it.
    pub fn distance(self) -> i64 {
        i64::from(self.0 >> Self::C_AT) - Self::JUMP_ZERO
    }
}

/// Takes a dump apart from its front. Each function returns None if the dump ends before, or is not
/// laid out as expected.
struct DumpReader<'a> {
    rest: &'a [u8],
}

impl<'a> DumpReader<'a> {
    fn function(&mut self) -> Option<Function<'a>> {
        let origin = self.measured(|reader| {
            reader.text()?;
            reader.take(2 * size_of::<c_int>()).map(drop)
        })?;
        let upvalues = self.byte()?;
        let parameters = self.take(2)?;
        let registers = self.byte()?;
        let count = self.count()?;
        let code = self.take(count.checked_mul(Instruction::BYTES)?)?;
        let code = code.chunks_exact(Instruction::BYTES).map(|word| {
            Instruction(u32::from_ne_bytes(word.try_into().expect("chunks of four bytes")))
        });
        let code = code.collect();
        let constant_count = self.count()?;
        let mut texts = Vec::new();
        let constants_bytes = self.measured(|reader| {
            for place in 0..constant_count {
                match c_int::from(reader.byte()?) {
                    ffi::LUA_TNIL => {}
                    ffi::LUA_TBOOLEAN => drop(reader.take(1)?),
                    ffi::LUA_TNUMBER => drop(reader.take(size_of::<f64>())?),
                    ffi::LUA_TSTRING => texts.push((place, reader.text()?)),
                    _ => return None,
                }
            }
            Some(())
        })?;
        let functions = (0..self.count()?).map(|_| self.function()).collect::<Option<_>>()?;
        let mut locals = Vec::new();
        let debug = self.measured(|reader| {
            let lines = reader.count()?;
            reader.take(lines.checked_mul(size_of::<c_int>())?)?;
            for _ in 0..reader.count()? {
                reader.text()?;
                locals.push(Local { from: reader.count()?, to: reader.count()? });
            }
            Some(())
        })?;
        let upvalue_names = (0..self.count()?).map(|_| self.text()).collect::<Option<_>>()?;
        Some(Function {
            origin,
            upvalues,
            parameters,
            registers,
            code,
            constant_count,
            constants_bytes,
            texts,
            functions,
            locals,
            debug,
            upvalue_names,
        })
    }

    /// The bytes that `read` takes.
    fn measured(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<&'a [u8]> {
        let before = self.rest;
        read(self)?;
        Some(&before[..before.len() - self.rest.len()])
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn count(&mut self) -> Option<usize> {
        let bytes = self.take(size_of::<c_int>())?.try_into().ok()?;
        usize::try_from(c_int::from_ne_bytes(bytes)).ok()
    }

    /// A string, which the dump ends with a zero; one that is absent is empty.
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::from_ne_bytes(self.take(size_of::<usize>())?.try_into().ok()?);
        let bytes = self.take(len)?;
        Some(bytes.split_last().map_or(bytes, |(_, text)| text))
    }
}
