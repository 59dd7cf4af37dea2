//! The Lua VM beside Redis 7.4's: the same scripts, the same bytes.
//!
//! The scripts of tests/lua/*.txt run in both, then generated values and damaged input for the
//! libraries. Without the oracle (tests/oracles.sh installs it) this says so and passes.

mod common;

use common::compare::Dialect;
use common::tcp::{self, Process};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use toril::config::LogLevel;
use toril::lua::{Callable, Commands, Lua, Progress, Verdict};
use toril::proto::{Args, Error, Protocol, Reply, Result};

const MEMORY_BYTES_MAX: usize = 1 << 30;

/// How many values of each kind are generated.
const GENERATED: usize = 1_500;

/// Enough of Redis to call: ECHO, SET and GET.
#[derive(Default)]
struct Keys(HashMap<Vec<u8>, Vec<u8>>);

impl Commands for Keys {
    fn call(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result {
        let name = args.all()[0].to_ascii_lowercase();
        let arity = match name.as_slice() {
            b"echo" | b"get" => 2,
            b"set" => 3,
            b"eval" | b"multi" => {
                return Err(Error::new("ERR This Redis command is not allowed from script"));
            }
            _ => return Err(Error::new("ERR Unknown Redis command called from script")),
        };
        if args.len() != arity {
            return Err(Error::new("ERR Wrong number of args calling Redis command from script"));
        }
        match name.as_slice() {
            b"echo" => reply.bulk(args.all()[1]),
            b"get" => reply.bulk_or_null(self.0.get(args.all()[1]).map(Vec::as_slice)),
            _ => {
                self.0.insert(args.all()[1].to_vec(), args.all()[2].to_vec());
                reply.ok();
            }
        }
        Ok(())
    }

    fn acl_check(&mut self, args: Args<'_>) -> Option<bool> {
        matches!(args.all()[0], b"echo" | b"get" | b"set").then_some(true)
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn log_level(&self) -> LogLevel {
        LogLevel::Notice
    }

    fn clock_s(&self) -> f64 {
        0.0
    }

    fn set_replication(&mut self, _: bool, _: bool) {}
}

/// Ours, answering as RESP.
struct Ours {
    lua: Lua,
    keys: Keys,
}

impl Ours {
    fn eval(&mut self, script: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::bytes(&mut out, Protocol::Resp2);
        let result = self.lua.eval(script).and_then(|script| {
            let mut outcome =
                self.lua.start(Callable::Script(script), &words[..1], &words[1..], &mut self.keys);
            while outcome == Progress::Suspended {
                outcome = self.lua.resume(Verdict::GoOn, &mut self.keys);
            }
            self.lua.finish(&mut reply, &mut |_, _| {})
        });
        if let Err(error) = result {
            reply.error(&error);
        }
        out
    }
}

/// Redis in a process of its own.
struct Oracle {
    _process: Process,
    stream: TcpStream,
}

impl Oracle {
    /// None where it is not installed.
    fn start() -> Option<Oracle> {
        let process = Process::start(&tcp::oracle("redis-7.4")?, Dialect::Resp2);
        let stream = TcpStream::connect(("127.0.0.1", process.port)).expect("it is up");
        stream.set_nodelay(true).expect("it is a socket");
        Some(Oracle { _process: process, stream })
    }

    fn eval(&mut self, script: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let request = [&[&b"EVAL"[..], script, b"1"], words].concat();
        let request = request.iter().map(|word| word.to_vec()).collect();
        self.stream.write_all(&tcp::encode(&[request])).expect("Redis reads");
        let mut reply = Vec::new();
        let mut chunk = [0; 64 * 1024];
        while reply_len(&reply).is_none() {
            match self.stream.read(&mut chunk).expect("Redis answers") {
                0 => panic!("Redis died of {}", String::from_utf8_lossy(script)),
                len => reply.extend_from_slice(&chunk[..len]),
            }
        }
        reply
    }
}

/// The length of the reply that `bytes` begin with, once it is whole.
fn reply_len(bytes: &[u8]) -> Option<usize> {
    let line_end = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let count = || std::str::from_utf8(&bytes[1..line_end - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' => match count()? {
            -1 => Some(line_end),
            len => Some(line_end + len as usize + 2).filter(|&end| end <= bytes.len()),
        },
        b'*' => (0..count()?).try_fold(line_end, |end, _| Some(end + reply_len(&bytes[end..])?)),
        _ => Some(line_end),
    }
}

/// Both of them, and the scripts on which they differ.
struct Pair {
    oracle: Oracle,
    ours: Ours,
    failures: Vec<String>,
}

impl Pair {
    /// None, and a word about it, without the oracle.
    fn start() -> Option<Pair> {
        let oracle = Oracle::start();
        if oracle.is_none() {
            println!("SKIPPED: redis-7.4 is missing; tests/oracles.sh installs it");
        }
        let ours = Ours { lua: Lua::new(MEMORY_BYTES_MAX), keys: Keys::default() };
        oracle.map(|oracle| Pair { oracle, ours, failures: Vec::new() })
    }

    fn check(&mut self, script: &str, words: &[&[u8]]) {
        let words = [&[&b"key"[..]], words].concat();
        let expect = self.oracle.eval(script.as_bytes(), &words);
        let found = self.ours.eval(script.as_bytes(), &words);
        if found != expect {
            self.failures.push(format!(
                "{script}\n  {:?}\n  Redis: {}\n  ours:  {}",
                words[1..].iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>(),
                expect.escape_ascii(),
                found.escape_ascii()
            ));
        }
    }

    fn finish(self) {
        let shown: Vec<String> = self.failures.iter().take(12).cloned().collect();
        assert!(self.failures.is_empty(), "{} differ\n{}", self.failures.len(), shown.join("\n"));
    }
}

/// `xorshift64*`: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        (0..self.below(len_max + 1)).map(|_| self.below(256) as u8).collect()
    }

    /// A number as Lua source.
    fn number(&mut self) -> String {
        let whole = self.below(1 << 30) as f64 * self.below(1 << 30) as f64;
        let number = match self.below(8) {
            0 => self.below(300) as f64,
            1 => -(self.below(300) as f64),
            2 => whole,
            3 => whole * 10f64.powi(self.below(300) as i32 - 150),
            4 => self.below(1000) as f64 / 8.0,
            5 => 2f64.powi(self.below(70) as i32) - self.below(2) as f64,
            6 => -whole / 1000.0,
            _ => return self.one_of(&["0", "-0", "1/3", "1e15", "1e14", "2^53", "1e-5"]).into(),
        };
        format!("{number:e}")
    }

    fn string(&mut self) -> String {
        let letters = [
            "a", "b", "key", "id", "jobId", "0", "7", "name", "\\n", "/", "\\\"", "\\\\", "\\0",
            "\\127", "\\200", "\\1", " ",
        ];
        let parts: Vec<&str> = (0..self.below(6)).map(|_| self.one_of(&letters)).collect();
        format!("\"{}\"", parts.concat())
    }

    /// A value as Lua source.
    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 | 1 => self.number(),
            2 => self.string(),
            3 => self.one_of(&["true", "false"]).into(),
            4 => self.one_of(&["cjson.null", "nil", "{}"]).into(),
            5 => {
                let values: Vec<String> =
                    (0..self.below(9)).map(|_| self.value(depth - 1)).collect();
                format!("{{{}}}", values.join(","))
            }
            _ => {
                let mut field = || {
                    let key = match self.below(6) {
                        0 => self.number(),
                        1 => format!("{}", self.below(12)),
                        _ => self.string(),
                    };
                    format!("[{key}]={}", self.value(depth - 1))
                };
                let fields: Vec<String> = (0..10).map(|_| field()).collect();
                let count = self.below(11);
                format!("{{{}}}", fields[..count].join(","))
            }
        }
    }

    fn json(&mut self, depth: usize) -> String {
        let blank = self.one_of(&["", "", "", " ", "\n\t"]);
        let value = match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => self.number(),
            1 => self
                .one_of(&["0", "-1", "1.5e3", "01", "0x1F", "-Inf", "nan", "+1", "1e", "-"])
                .into(),
            2 | 3 => {
                let parts = ["a", "id", "\\n", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "/", "\\x"];
                let text: Vec<&str> = (0..self.below(4)).map(|_| self.one_of(&parts)).collect();
                format!("\"{}\"", text.concat())
            }
            4 => self.one_of(&["true", "false", "null", "tru", "nul"]).into(),
            5 => self.one_of(&["[]", "{}", "[", "}", ""]).into(),
            6 => {
                let values: Vec<String> =
                    (0..self.below(6)).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", values.join(","))
            }
            _ => {
                let fields: Vec<String> = (0..self.below(9))
                    .map(|_| {
                        let key = self.one_of(&["a", "b", "name", "opts", "delay", "ts", "x/y"]);
                        format!("\"{key}{}\":{}", self.below(20), self.json(depth - 1))
                    })
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
        };
        format!("{blank}{value}{blank}")
    }
}

/// Lua source of a function that shows a value with the order of its tables' keys.
const DUMP: &str = "local function dump(v) \
    if type(v) == 'number' then return string.format('%.17g', v) end \
    if type(v) == 'string' then return string.format('%q', v) end \
    if type(v) ~= 'table' then return tostring(v) end \
    local o = {} \
    for k, x in pairs(v) do \
        if type(k) == 'table' then error('ordered by address') end \
        o[#o + 1] = dump(k) .. '=' .. dump(x) end \
    return '{' .. #v .. ':' .. table.concat(o, ',') .. '}' end ";

#[test]
fn scripts_answer_as_in_redis() {
    let Some(mut pair) = Pair::start() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lua");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        for script in std::fs::read_to_string(file).unwrap().split("\n---\n") {
            pair.check(script.trim_end_matches('\n'), &[b"argument", b""]);
        }
    }
    pair.finish();
}

#[test]
fn values_are_written_as_in_redis() {
    let Some(mut pair) = Pair::start() else { return };
    let mut random = Random(7);
    for _ in 0..GENERATED {
        let value = random.value(3);
        pair.check(&format!("return cjson.encode({value})"), &[]);
        pair.check(&format!("return cmsgpack.pack({value}, {value})"), &[]);
        pair.check(&format!("return {{{value}}}"), &[]);
        let number = random.number();
        // In one fraction of 400 Redis does not find the closest of the shortest texts.
        let echo = format!("local n = {number} local text = redis.call('echo', n)");
        pair.check(
            &format!(
                "{echo} return {{tonumber(text) == n, math.abs(n) < 2^62 and n % 1 == 0 and text}}"
            ),
            &[],
        );
        pair.check(&format!("return {{tostring({number}), {number}}}"), &[]);
    }
    pair.finish();
}

#[test]
fn input_is_read_as_in_redis() {
    let Some(mut pair) = Pair::start() else { return };
    let mut random = Random(11);
    let unpack = format!("{DUMP} return dump({{cmsgpack.unpack(ARGV[1])}})");
    let unpack_one = format!("{DUMP} return dump({{cmsgpack.unpack_limit(ARGV[1], 2, 1)}})");
    let decode = format!("{DUMP} return dump(cjson.decode(ARGV[1]))");
    for _ in 0..GENERATED {
        let value = random.value(3);
        let pack = format!("return cmsgpack.pack({value})");
        let packed = pair.oracle.eval(pack.as_bytes(), &[b"key"]);
        let start = packed.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
        let mut packed = packed[start..packed.len() - 2].to_vec();
        pair.check(&unpack, &[&packed]);
        if let Some(at) = packed.len().checked_sub(1).map(|last| random.below(last + 1)) {
            packed[at] = random.below(256) as u8;
        }
        pair.check(&unpack, &[&packed]);
        pair.check(&unpack_one, &[&packed]);
        pair.check(&unpack, &[&random.bytes(40)]);

        let mut json = random.json(3).into_bytes();
        pair.check(&decode, &[&json]);
        if let Some(at) = json.len().checked_sub(1).map(|last| random.below(last + 1)) {
            json[at] = random.below(256) as u8;
        }
        pair.check(&decode, &[&json]);
    }
    pair.finish();
}

#[test]
fn structures_are_as_in_redis() {
    let Some(mut pair) = Pair::start() else { return };
    let mut random = Random(13);
    let options = [
        "b", "B", "h", "H", "l", "L", "i", "I", "i2", "I3", "i8", "I16", "f", "d", "s", "c0", "c2",
        "x", "<", ">", "!", "!2", "!4", " ",
    ];
    let operations = ["band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "tohex"];
    for _ in 0..GENERATED {
        let format: String = (0..random.below(6)).map(|_| random.one_of(&options)).collect();
        let values: Vec<String> = (0..6)
            .map(|_| if random.below(3) == 0 { random.string() } else { random.number() })
            .collect();
        let (values, number) = (values.join(","), random.number());
        pair.check(&format!("return struct.pack('{format}', {values})"), &[]);
        pair.check(&format!("return struct.size('{format}')"), &[]);
        let unpack = format!("{DUMP} return dump({{struct.unpack('{format}', ARGV[1])}})");
        pair.check(&unpack, &[&random.bytes(40)]);
        let (operation, by) = (random.one_of(&operations), random.number());
        pair.check(&format!("return {{bit.{operation}({number}, {by})}}"), &[]);
    }
    pair.finish();
}
