//! Requests that mostly make sense, made from bytes and the syntax column of the command table.

use toril::engine::table::Table;
use toril::lua::Sha;

/// The bytes that decide, one after the other; zeros once they are over.
pub struct Choices<'a> {
    rest: std::slice::Iter<'a, u8>,
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes.iter() }
    }

    pub fn are_over(&self) -> bool {
        self.rest.len() == 0
    }

    pub fn next(&mut self) -> u8 {
        self.rest.next().copied().unwrap_or(0)
    }

    pub fn index(&mut self, count: usize) -> usize {
        usize::from(self.next()) % count
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }
}

/// A part of a syntax such as `key [NX | XX] [GET pattern ...] LEFT|RIGHT`.
enum Part {
    /// One word, or one of several with `|` between them.
    Word(&'static str),
    /// In brackets: optional, in angles: not.
    Group { alternatives: Vec<Vec<Part>>, is_optional: bool },
    /// The group that it ends may come several times.
    Repeat,
}

pub struct Grammar {
    /// The words of a command's name, and what may follow.
    commands: Vec<(Vec<&'static str>, Vec<Vec<Part>>)>,
}

/// A group with `...` comes so often at most.
const REPEATS_MAX: usize = 3;

/// A decision of this or more goes against the syntax.
const REBELLIOUS: u8 = 248;

impl Grammar {
    pub fn new(table: &Table) -> Self {
        let callable = table.all().filter(|found| !found.row.is_container());
        let commands = callable.map(|found| {
            let container = found.container.map(|row| row.name);
            let name = container.into_iter().chain([found.row.name]).collect();
            (name, parse(&mut tokens(found.row.syntax).into_iter()))
        });
        Self { commands: commands.collect() }
    }

    /// There are more commands than a byte can tell apart.
    pub fn request(&self, choices: &mut Choices) -> Vec<Vec<u8>> {
        let choice = u16::from_be_bytes([choices.next(), choices.next()]);
        let (name, syntax) = &self.commands[usize::from(choice) % self.commands.len()];
        let mut words = name.iter().map(|word| word.as_bytes().to_vec()).collect();
        expand(syntax, choices, &mut words);
        words
    }
}

/// Brackets and angles as tokens of their own.
fn tokens(syntax: &'static str) -> Vec<&'static str> {
    let mut tokens = Vec::new();
    for word in syntax.split(' ').filter(|word| !word.is_empty()) {
        let mut rest = word;
        while let Some(at) = rest.find(['[', ']', '<', '>']) {
            tokens.extend([&rest[..at], &rest[at..=at]].into_iter().filter(|it| !it.is_empty()));
            rest = &rest[at + 1..];
        }
        tokens.extend(Some(rest).filter(|rest| !rest.is_empty()));
    }
    tokens
}

/// Reads alternatives, up to the end of the group that they stand in.
fn parse(tokens: &mut std::vec::IntoIter<&'static str>) -> Vec<Vec<Part>> {
    let mut alternatives = vec![Vec::new()];
    while let Some(token) = tokens.next() {
        let part = match token {
            "]" | ">" => break,
            "|" => {
                alternatives.push(Vec::new());
                continue;
            }
            "[" | "<" => Part::Group { alternatives: parse(tokens), is_optional: token == "[" },
            "..." => Part::Repeat,
            word => Part::Word(word),
        };
        alternatives.last_mut().expect("there is one").push(part);
    }
    alternatives
}

fn expand(alternatives: &[Vec<Part>], choices: &mut Choices, words: &mut Vec<Vec<u8>>) {
    let parts = match alternatives {
        [parts] => parts,
        _ => &alternatives[choices.index(alternatives.len())],
    };
    for part in parts {
        match part {
            Part::Word(word) => words.push(choose(word, choices)),
            Part::Repeat => {}
            Part::Group { alternatives, is_optional } => {
                let repeats = alternatives.iter().flatten().any(|it| matches!(it, Part::Repeat));
                let count = match (repeats, is_optional) {
                    (true, _) => choices.index(REPEATS_MAX + 1),
                    (false, true) => choices.index(2),
                    (false, false) => 1,
                };
                (0..count).for_each(|_| expand(alternatives, choices, words));
            }
        }
    }
}

/// A word for `LEFT|RIGHT` or for `timeout`: what is in capitals stands for itself.
fn choose(word: &'static str, choices: &mut Choices) -> Vec<u8> {
    let word = match word.contains('|') {
        true => choices.of(&word.split('|').collect::<Vec<_>>()),
        false => word,
    };
    let choice = choices.next();
    let pick = |from: &[&'static [u8]]| from[usize::from(choice) % from.len()].to_vec();
    if choice >= REBELLIOUS {
        return choices.of(ANYTHING).to_vec();
    }
    match word {
        "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "src" | "dst" => pick(KEYS),
        "numkeys" | "numfields" | "count" | "protover" | "client-id" => pick(COUNTS),
        "timeout" | "seconds" | "milliseconds" => pick(TIMES),
        "index" | "index1" | "index2" | "db" | "destination-db" => pick(&[b"0", b"1"]),
        "pattern" | "channel" | "shardchannel" => pick(&[b"a", b"*", b"[a-c]*", b"\\a?"]),
        "username" => pick(&[b"alice", b"bob"]),
        "rule" => pick(RULES),
        "parameter" => pick(SETTINGS),
        "script" => pick(SCRIPTS),
        "function-code" => pick(LIBRARIES),
        "function" => pick(&[b"f", b"g", b"loop"]),
        "library-name" => pick(&[b"l", b"m"]),
        "sha1" => Sha::of(&pick(SCRIPTS)).to_string().into_bytes(),
        _ if !word.contains(|letter: char| letter.is_ascii_lowercase()) => word.into(),
        _ => pick(ANYTHING),
    }
}

const KEYS: &[&[u8]] = &[b"a", b"b", b"c", b"d"];

const COUNTS: &[&[u8]] = &[b"1", b"2", b"3", b"5", b"1000"];

const TIMES: &[&[u8]] = &[b"1", b"0", b"0.001", b"30", b"1000", b"-1"];

#[rustfmt::skip]
const ANYTHING: &[&[u8]] = &[
    b"a", b"b", b"c", b"", b"0", b"1", b"-1", b"2", b"5", b"1.5", b"-2.5e3", b"inf", b"-inf", b"nan",
    b"(1", b"[a", b"(b", b"-", b"+", b"*", b"$", b"0-1", b"5-5", b"7-*", b"18446744073709551615-0",
    b"9223372036854775807", b"-9223372036854775808", b"4611686018427387904", b"1800000000000",
    b"\xff\0\r\n", b"long enough for no short form: more bytes than the sixty-four of a listpack's",
];

/// With the values that `ANYTHING` has for them: compact forms end early, keys are evicted.
#[rustfmt::skip]
const SETTINGS: &[&[u8]] = &[
    b"*", b"hash-max-listpack-entries", b"list-max-listpack-size", b"set-max-intset-entries",
    b"zset-max-listpack-entries", b"stream-node-max-entries", b"maxmemory", b"slowlog-max-len",
    b"notify-keyspace-events", b"timeout",
];

/// Of users.
const RULES: &[&[u8]] = &[
    b"on",
    b"nopass",
    b">pw",
    b"+@all",
    b"-@all",
    b"+@read",
    b"-get",
    b"+select|0",
    b"~*",
    b"~a",
    b"%R~b",
    b"%RW~*",
    b"~\"c)",
    b"resetkeys",
    b"&a",
    b"(+get ~a)",
    b"(~\"a\\\")\" &b)",
    b"(",
    b")",
    b"reset",
];

#[rustfmt::skip]
const SCRIPTS: &[&[u8]] = &[
    b"return redis.call('rpush', KEYS[1], ARGV[1] or 'a')",
    b"return {redis.pcall('lpop', KEYS[1]), redis.pcall('get', KEYS[2] or 'b')}",
    b"redis.setresp(3) return redis.pcall('hgetall', KEYS[1])",
    b"redis.call('zadd', KEYS[1], 1, 'a') return redis.call('zpopmin', KEYS[1])",
    b"return redis.pcall(unpack(ARGV))",
    b"return redis.error_reply('ERR no')",
    b"return cjson.encode(redis.pcall('xrange', KEYS[1], '-', '+'))",
    b"#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 1)",
    b"for i = 1, 1e5 do redis.pcall('incr', KEYS[1]) end",
    b"while true do end",
    b"return",
    b"not Lua",
];

/// What is registered in one may stand in the way of another.
#[rustfmt::skip]
const LIBRARIES: &[&[u8]] = &[
    b"#!lua name=l\nredis.register_function('f', function(keys, args) return redis.pcall(unpack(args)) end)",
    b"#!lua name=m\nlocal n = 0 redis.register_function('f', function() n = n + 1 return n end)",
    b"#!lua name=m\nredis.register_function{function_name='g', flags={'no-writes'}, \
      callback=function(keys) return redis.call('rpush', keys[1], 'a') end}",
    b"#!lua name=l\nredis.register_function('loop', function() while true do end end)",
    b"#!lua name=l\nwhile true do end",
    b"#!lua name=l\nredis.register_function('f', 1)",
    b"#!lua name=m\nredis.call('get', 'a')",
];
