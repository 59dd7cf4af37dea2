//! Lua programs made from bytes: each byte decides what stands at the next place.
//!
//! They end: loops go round three times at most, and each function begins with a command that the
//! host refuses after a while. They assign to no global and take no function or table for a key, so
//! that two runs of one program can be compared.

use std::fmt::Write;

/// So deep are blocks and expressions at most, and so many statements and expressions there are.
const DEPTH_MAX: usize = 5;
const PARTS_MAX: usize = 500;

/// A block within another ends more often than the script: what matters here stands in the script.
const END_OF_SCRIPT: u8 = 4;
const END_OF_BLOCK: u8 = 130;

/// Few, so that some hide others.
const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

const FIELDS: [&str; 4] = [".x", ".y", "[1]", "[2]"];

const LITERALS: [&str; 12] =
    ["nil", "false", "true", "0", "1", "2.5", "-3", "''", "'a'", "'12'", "{}", "nil"];

const LIBRARY: [&str; 10] = [
    "redis.call",
    "redis.pcall",
    "redis.call",
    "redis.LOG_WARNING",
    "redis.LOG_DEBUG",
    "redis.sha1hex",
    "redis.status_reply",
    "redis.REDIS_VERSION_NUM",
    "redis.nosuch",
    "redis",
];

const BASE: [&str; 10] = [
    "type",
    "tonumber",
    "string.upper",
    "math.floor",
    "cjson.encode",
    "select",
    "coroutine.wrap",
    "table.concat",
    "assert",
    "rawequal",
];

/// What makes tables and strings out of its arguments, or takes them apart.
const CONVERSIONS: [&str; 12] = [
    "cjson.encode",
    "cmsgpack.pack",
    "unpack",
    "table.concat",
    "string.rep",
    "redis.sha1hex",
    "struct.pack",
    "redis.pcall",
    "function(...) return cjson.encode(cjson.decode(cjson.encode({...}))) end",
    "function(...) return cjson.encode({cmsgpack.unpack(cmsgpack.pack({...}, ...))}) end",
    "function(...) return cjson.encode(redis.call('a', ...)) end",
    "function(...) return unpack(redis.call('12', ...), 1, 4) end",
];

const WORDS: [&str; 8] =
    ["ARGV[1]", "ARGV[2]", "KEYS[1]", "#ARGV", "#KEYS", "ARGV[3]", "ARGV", "tonumber(ARGV[1])"];

/// Those that raise errors, which end the program, come rarely.
const BINARY: [&str; 16] = [
    "and", "or", "and", "or", "and", "or", "and", "or", "and", "or", "and", "or", "==", "~=", "==",
    "..",
];

/// Shows values of any kind without the addresses in them. It is itself a function of the script.
const NOTE: &str = "local function note(...) for n = 1, select('#', ...) do local v = select(n, ...) \
    local t = type(v) redis.call('note', (t == 'string' or t == 'number') and v \
    or t == 'boolean' and tostring(v) or t == 'table' and 'table' .. #v or t) end end\n";

/// The program that the bytes say.
pub fn program(bytes: &[u8]) -> String {
    let mut writer = Writer {
        bytes: bytes.iter(),
        out: String::from(NOTE),
        names: Vec::new(),
        is_vararg: true,
        loops: 0,
        depth: 0,
        parts: 0,
    };
    writer.statements(END_OF_SCRIPT);
    for name in NAMES.iter().filter(|name| writer.names.contains(name)) {
        let _ = write!(writer.out, "note({name}) note(pcall({name}, 1)) ");
    }
    writer.out.push_str("return ");
    writer.expression();
    writer.out
}

struct Writer<'a> {
    bytes: std::slice::Iter<'a, u8>,
    out: String,
    /// The variables in sight, the newest last.
    names: Vec<&'static str>,
    /// The function under way has `...`.
    is_vararg: bool,
    /// Loops around, within the function.
    loops: usize,
    depth: usize,
    parts: usize,
}

impl Writer<'_> {
    /// Zeros once the bytes are over: these end what is under way.
    fn next(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn of(&mut self, texts: &[&'static str]) -> &'static str {
        texts[usize::from(self.next()) % texts.len()]
    }

    /// A variable in sight.
    fn name(&mut self) -> &'static str {
        let back = usize::from(self.next()) % self.names.len().max(1);
        self.names.iter().rev().nth(back).unwrap_or(&"note")
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Whether there is room for another part that has parts of its own.
    fn descend(&mut self) -> bool {
        self.parts += 1;
        self.depth < DEPTH_MAX && self.parts < PARTS_MAX
    }

    /// Statements, in sight of which the variables are that they begin.
    fn statements(&mut self, end: u8) {
        while self.next() >= end && self.bytes.len() > 0 && self.descend() {
            self.depth += 1;
            self.statement();
            self.depth -= 1;
            let end = if self.next() < 100 { "\n" } else { " " };
            self.push(end);
        }
    }

    fn block(&mut self) {
        let outside = self.names.len();
        self.statements(END_OF_BLOCK);
        self.names.truncate(outside);
    }

    fn statement(&mut self) {
        match self.next() {
            0..90 => self.locals(),
            90..120 => {
                let name = self.of(&NAMES);
                self.push("local function ");
                self.push(name);
                self.names.push(name);
                self.function_rest();
            }
            120..130 if !self.names.is_empty() => {
                let name = self.name();
                self.push(name);
                self.push(" = ");
                self.expression();
            }
            130..135 => {
                let (name, field) = (self.name(), self.of(&FIELDS));
                let _ = write!(self.out, "if type({name}) == 'table' then {name}{field} = ");
                self.expression();
                self.push(" end");
            }
            135..155 => {
                self.push("if ");
                self.expression();
                self.push(" then ");
                self.block();
                for _ in 0..self.next() % 3 {
                    self.push(" elseif ");
                    self.expression();
                    self.push(" then ");
                    self.block();
                }
                if self.next() >= 128 {
                    self.push(" else ");
                    self.block();
                }
                self.push(" end");
            }
            155..165 => {
                self.push("do ");
                self.block();
                self.push(" end");
            }
            165..185 => self.repeated(),
            185..190 if self.loops > 0 => {
                self.push("if ");
                self.expression();
                self.push(" then break end");
            }
            185..195 => {
                self.push("if ");
                self.expression();
                self.push(" then return ");
                self.expression();
                self.push(" end");
            }
            195..198 => {
                self.push("error(");
                self.expression();
                self.push(")");
            }
            198..204 => {
                let function = self.of(&BASE);
                let _ = write!(self.out, "note(pcall({function}, ");
                self.expressions();
                self.push("))");
            }
            204..212 => {
                self.push("note(pcall(function");
                self.function_rest();
                self.push("))");
            }
            212..240 => {
                let name = self.name();
                let _ = write!(self.out, "note(pcall({name}, ");
                self.expressions();
                self.push("))");
            }
            240..243 => {
                let name = self.name();
                self.push(name);
                self.arguments();
            }
            250.. => {
                let function = self.of(&CONVERSIONS);
                let _ = write!(self.out, "note(pcall({function}, ");
                self.expressions();
                self.push("))");
            }
            _ => {
                self.push("note(");
                self.expressions();
                self.push(")");
            }
        }
    }

    /// The variables are in sight behind their values.
    fn locals(&mut self) {
        let count = match self.next() {
            0..180 => 1,
            180..230 => 2,
            _ => 3,
        };
        let names: Vec<_> = (0..count).map(|_| self.of(&NAMES)).collect();
        self.push("local ");
        self.push(&names.join(", "));
        match self.next() {
            0..20 => {}
            20..40 => {
                self.push(" = ");
                self.expressions();
            }
            40..120 => {
                self.push(" = ");
                self.choice_of_values();
                for _ in 1..count {
                    self.push(", ");
                    self.choice_of_values();
                }
            }
            _ => {
                self.push(" = ");
                self.expression();
                for _ in 1..count {
                    self.push(", ");
                    self.expression();
                }
            }
        }
        self.names.extend(names);
    }

    /// What `and` and `or` choose from at each run: words, fields of the library, functions.
    fn choice_of_values(&mut self) {
        for _ in 0..self.next() % 3 {
            let (word, operator) = (self.of(&WORDS), self.of(&BINARY[..2]));
            let _ = write!(self.out, "{word} {operator} ");
        }
        match self.next() {
            0..160 => {
                let field = self.of(&LIBRARY);
                self.push(field);
            }
            _ => {
                self.push("function");
                self.function_rest();
            }
        }
    }

    fn repeated(&mut self) {
        let outside = self.names.len();
        self.loops += 1;
        let name = self.of(&NAMES);
        match self.next() {
            0..80 => {
                let count = self.next() % 4;
                let _ = write!(self.out, "for {name} = 1, {count} do ");
                self.names.push(name);
                self.block();
                self.push(" end");
            }
            80..130 => {
                let _ = write!(self.out, "for n, {name} in ipairs({{");
                self.expressions();
                self.push("}) do ");
                self.names.push(name);
                self.block();
                self.push(" end");
            }
            130..190 => {
                self.push("local n = 0 while n < 3 and (");
                self.expression();
                self.push(") do n = n + 1 ");
                self.block();
                self.push(" end");
            }
            _ => {
                self.push("local n = 0 repeat n = n + 1 ");
                // Its variables are in sight of the condition.
                self.statements(END_OF_BLOCK);
                self.push(" until n > 2 or ");
                self.expression();
            }
        }
        self.loops -= 1;
        self.names.truncate(outside);
    }

    /// From the parameters to the end.
    fn function_rest(&mut self) {
        let outside = (self.names.len(), self.loops, self.is_vararg);
        self.loops = 0;
        let count = self.next() % 3;
        let mut parameters: Vec<_> = (0..count).map(|_| self.of(&NAMES)).collect();
        self.names.extend(&parameters);
        self.is_vararg = self.next() < 80;
        if self.is_vararg {
            parameters.push("...");
        }
        let _ = write!(self.out, "({}) redis.call('step') ", parameters.join(", "));
        match self.next() {
            0..120 => self.short_body(),
            form => {
                self.statements(END_OF_BLOCK);
                if form >= 150 {
                    self.push(" return ");
                    self.expressions();
                }
            }
        }
        self.push(" end");
        self.names.truncate(outside.0);
        (self.loops, self.is_vararg) = (outside.1, outside.2);
    }

    /// One variable's, so that the function may be one that is made once.
    fn short_body(&mut self) {
        let (name, word) = (self.name(), self.of(&WORDS));
        let _ = match self.next() {
            0..100 => write!(self.out, "return {name}"),
            100..170 => write!(self.out, "return {name}({word})"),
            170..190 => write!(self.out, "return function(...) return {name}, ... end"),
            190..210 => write!(self.out, "return {name} == {word}"),
            210..225 if !self.names.is_empty() => write!(self.out, "{name} = {word}"),
            225..240 if !self.names.is_empty() => {
                write!(self.out, "return function() {name} = {word} end")
            }
            _ => write!(self.out, "return {word}"),
        };
    }

    fn arguments(&mut self) {
        self.push("(");
        self.expressions();
        self.push(")");
    }

    /// One or some.
    fn expressions(&mut self) {
        self.expression();
        for _ in 0..(self.next() / 180 + self.next() / 200) {
            self.push(", ");
            self.expression();
        }
    }

    fn expression(&mut self) {
        let choice = self.next();
        let is_leaf = !self.descend();
        self.depth += 1;
        match choice {
            0..24 => {
                let literal = self.of(&LITERALS);
                self.push(literal);
            }
            24..48 => {
                let word = self.of(&WORDS);
                self.push(word);
            }
            48..78 => {
                let field = self.of(&LIBRARY);
                self.push(field);
            }
            78..79 => self.push("nosuch"),
            79..84 => {
                let function = self.of(&BASE);
                self.push(function);
            }
            84..120 => {
                let name = self.name();
                self.push(name);
            }
            120..124 if self.is_vararg => self.push("..."),
            120..128 if self.is_vararg => self.push("select('#', ...)"),
            _ if is_leaf => self.push("nil"),
            120..165 => {
                let operator = self.of(&BINARY);
                self.expression();
                let _ = write!(self.out, " {operator} ");
                self.expression();
            }
            165..180 => {
                self.push("(");
                self.expression();
                self.push(")");
            }
            180..186 => {
                self.push("not ");
                self.expression();
            }
            186..215 => {
                self.push("function");
                self.function_rest();
            }
            215..217 => {
                let name = self.name();
                self.push(name);
                self.arguments();
            }
            217..225 => {
                let name = self.name();
                let _ = write!(self.out, "select(2, pcall({name}, ");
                self.expressions();
                self.push("))");
            }
            225..231 => {
                self.push("{x = ");
                self.expression();
                self.push(", ");
                self.expressions();
                self.push("}");
            }
            231..236 => {
                let (name, field) = (self.name(), self.of(&FIELDS));
                let _ = write!(self.out, "(type({name}) == 'table' and {name}{field})");
            }
            236..240 => {
                self.push("setmetatable({}, {__index = ");
                self.expression();
                self.push(", __call = ");
                self.expression();
                self.push("})");
            }
            240..245 => {
                self.push("coroutine.wrap(function(...) coroutine.yield(");
                let outside = (self.loops, self.is_vararg);
                (self.loops, self.is_vararg) = (0, true);
                self.expressions();
                self.push(") ");
                self.block();
                (self.loops, self.is_vararg) = outside;
                self.push(" end)");
            }
            245..250 => {
                let function = self.of(&BASE);
                let _ = write!(self.out, "select(2, pcall({function}, ");
                self.expressions();
                self.push("))");
            }
            _ => {
                self.push("redis.pcall('note', ");
                self.expressions();
                self.push(")");
            }
        }
        self.depth -= 1;
    }
}
