//! A pickle of Python as the text of an expression. It is read and never run: what it names is only
//! named, and what it would call is told as a call.

use std::collections::HashMap;
use std::fmt::Write;

/// Bytes of the text. What is meant several times stands there as often, so a few bytes could
/// stand for any number.
const TEXT_LEN_MAX: usize = 64 * 1024;

/// Lists within lists that are told; those below are dots.
const DEPTH_MAX: usize = 24;

/// A pickle as text. None if it is none, or one that no known instruction makes.
pub fn read(bytes: &[u8]) -> Option<String> {
    let mut reader = Reader { rest: bytes, ..Reader::default() };
    // Those before protocol 2 begin like any text.
    let [PROTO, 2..=5, ..] = bytes else { return None };
    let top = reader.run()?;
    let mut text = String::new();
    reader.print(top, 0, &mut text);
    Some(text)
}

const PROTO: u8 = 0x80;

/// What stands on the stack, by its place among all.
type At = usize;

enum Node {
    /// It is its own text.
    Atom(String),
    Str(String),
    Bytes(Vec<u8>),
    Items([&'static str; 2], Vec<At>),
    Pairs(Vec<[At; 2]>),
    /// What is called, with what, and what is put into that which comes of it.
    Call(At, At, Vec<At>),
}

#[derive(Default)]
struct Reader<'a> {
    rest: &'a [u8],
    nodes: Vec<Node>,
    stack: Vec<At>,
    marks: Vec<usize>,
    memo: HashMap<u64, At>,
}

const TUPLE: [&str; 2] = ["(", ")"];
const LIST: [&str; 2] = ["[", "]"];
const SET: [&str; 2] = ["{", "}"];
const FROZEN: [&str; 2] = ["frozenset({", "})"];

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// An unsigned number of so many bytes, the lowest first.
    fn number(&mut self, len: usize) -> Option<u64> {
        let bytes = self.take(len)?;
        Some(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    /// Bytes whose length stands before them, in so many bytes.
    fn counted(&mut self, len: usize) -> Option<&'a [u8]> {
        let count = self.number(len)?;
        self.take(usize::try_from(count).ok()?)
    }

    fn line(&mut self) -> Option<String> {
        let len = self.rest.iter().position(|&byte| byte == b'\n')?;
        let line = self.take(len + 1)?;
        Some(String::from_utf8_lossy(&line[..len]).into_owned())
    }

    fn push(&mut self, node: Node) -> Option<()> {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Some(())
    }

    fn atom(&mut self, text: impl Into<String>) -> Option<()> {
        self.push(Node::Atom(text.into()))
    }

    fn text(&mut self, len: usize) -> Option<()> {
        let bytes = self.counted(len)?;
        self.push(Node::Str(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn bytes(&mut self, len: usize) -> Option<()> {
        let bytes = self.counted(len)?.to_vec();
        self.push(Node::Bytes(bytes))
    }

    /// A whole number in two's complement, the lowest byte first.
    fn long(&mut self, len: usize) -> Option<()> {
        let bytes = self.counted(len)?;
        if bytes.len() > 16 {
            return self.atom(format!("<a number of {} bytes>", bytes.len()));
        }
        let fill = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
        let mut whole = [fill; 16];
        whole[..bytes.len()].copy_from_slice(bytes);
        self.atom(i128::from_le_bytes(whole).to_string())
    }

    /// What stands above the last mark.
    fn above_mark(&mut self) -> Option<Vec<At>> {
        let mark = self.marks.pop()?;
        (mark <= self.stack.len()).then(|| self.stack.split_off(mark))
    }

    fn last(&mut self, count: usize) -> Option<Vec<At>> {
        let at = self.stack.len().checked_sub(count)?;
        Some(self.stack.split_off(at))
    }

    /// Puts something into the collection on top, or into what comes of a call: as one more of its
    /// arguments.
    fn put_in(&mut self, added: Node) -> Option<()> {
        let top = *self.stack.last()?;
        let fresh = self.nodes.len();
        match (&mut self.nodes[top], added) {
            (Node::Items(_, items), Node::Items(_, added)) => items.extend(added),
            (Node::Pairs(pairs), Node::Pairs(added)) => pairs.extend(added),
            (Node::Call(_, _, state), added) => {
                state.push(fresh);
                self.nodes.push(added);
            }
            _ => return None,
        }
        Some(())
    }

    fn call(&mut self) -> Option<()> {
        let [what, with] = self.last(2)?[..] else { return None };
        self.push(Node::Call(what, with, Vec::new()))
    }

    /// The state of what was called stands among its arguments; that of what is only named is not
    /// told.
    fn build(&mut self) -> Option<()> {
        let state = self.stack.pop()?;
        if let Node::Call(_, _, all) = &mut self.nodes[*self.stack.last()?] {
            all.push(state);
        }
        Some(())
    }

    fn name(&mut self, module: &str, name: &str) -> Option<()> {
        let module = module.trim_start_matches("builtins").trim_start_matches("__builtin__");
        self.atom(if module.is_empty() { name.into() } else { format!("{module}.{name}") })
    }

    fn put(&mut self, key: u64) -> Option<()> {
        self.memo.insert(key, *self.stack.last()?);
        Some(())
    }

    fn get(&mut self, key: u64) -> Option<()> {
        self.stack.push(*self.memo.get(&key)?);
        Some(())
    }

    /// Reads to the end; returns what it is of.
    fn run(&mut self) -> Option<At> {
        loop {
            let code = self.take(1)?[0];
            if code == b'.' {
                return self.stack.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Option<()> {
        match code {
            PROTO => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Some(())
            }
            b'0' => self.stack.pop().map(drop),
            b'1' => self.above_mark().map(drop),
            b'2' => {
                self.stack.push(*self.stack.last()?);
                Some(())
            }
            b')' => self.push(Node::Items(TUPLE, Vec::new())),
            b']' => self.push(Node::Items(LIST, Vec::new())),
            0x8f => self.push(Node::Items(SET, Vec::new())),
            b'}' => self.push(Node::Pairs(Vec::new())),
            b't' => self.items(TUPLE),
            b'l' => self.items(LIST),
            0x91 => self.items(FROZEN),
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.push(Node::Items(TUPLE, items))
            }
            b'd' => {
                let all = self.above_mark()?;
                self.push(pairs(&all))
            }
            b'a' => {
                let added = self.last(1)?;
                self.put_in(Node::Items(LIST, added))
            }
            b's' => {
                let added = self.last(2)?;
                self.put_in(pairs(&added))
            }
            b'e' | 0x90 => {
                let added = self.above_mark()?;
                self.put_in(Node::Items(LIST, added))
            }
            b'u' => {
                let added = self.above_mark()?;
                self.put_in(pairs(&added))
            }
            b'b' => self.build(),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.name(&module, &name)
            }
            0x93 => {
                let [module, name] = self.last(2)?[..] else { return None };
                let (Node::Str(module), Node::Str(name)) = (&self.nodes[module], &self.nodes[name])
                else {
                    return None;
                };
                let (module, name) = (module.clone(), name.clone());
                self.name(&module, &name)
            }
            b'R' | 0x81 => self.call(),
            0x92 => {
                let [what, with, named] = self.last(3)?[..] else { return None };
                self.push(Node::Call(what, with, vec![named]))
            }
            _ => self.value(code),
        }
    }

    /// What is kept to be meant again, and what is meant again.
    fn again(&mut self, code: u8) -> Option<()> {
        match code {
            b'q' => self.number(1).and_then(|key| self.put(key)),
            b'r' => self.number(4).and_then(|key| self.put(key)),
            0x94 => self.put(self.memo.len() as u64),
            b'h' => self.number(1).and_then(|key| self.get(key)),
            b'j' => self.number(4).and_then(|key| self.get(key)),
            _ => None,
        }
    }

    /// What stands for itself.
    fn value(&mut self, code: u8) -> Option<()> {
        match code {
            b'N' => self.atom("None"),
            0x88 => self.atom("True"),
            0x89 => self.atom("False"),
            b'J' => {
                let number = self.number(4)? as u32;
                self.atom(number.cast_signed().to_string())
            }
            b'K' => self.unsigned(1),
            b'M' => self.unsigned(2),
            0x8a => self.long(1),
            0x8b => self.long(4),
            b'G' => {
                let bytes = self.take(8)?.try_into().ok()?;
                self.atom(format!("{:?}", f64::from_be_bytes(bytes)))
            }
            b'X' => self.text(4),
            0x8c => self.text(1),
            0x8d => self.text(8),
            b'T' | b'B' => self.bytes(4),
            b'U' | b'C' => self.bytes(1),
            0x8e | 0x96 => self.bytes(8),
            _ => self.again(code),
        }
    }

    fn unsigned(&mut self, len: usize) -> Option<()> {
        let number = self.number(len)?;
        self.atom(number.to_string())
    }

    fn items(&mut self, ends: [&'static str; 2]) -> Option<()> {
        let items = self.above_mark()?;
        self.push(Node::Items(ends, items))
    }

    fn print(&self, at: At, depth: usize, text: &mut String) {
        if text.len() >= TEXT_LEN_MAX || depth > DEPTH_MAX {
            if !text.ends_with('…') {
                text.push('…');
            }
            return;
        }
        match &self.nodes[at] {
            Node::Atom(atom) => text.push_str(atom),
            Node::Str(told) => quoted(told.as_bytes(), text),
            Node::Bytes(bytes) => {
                text.push('b');
                quoted(bytes, text);
            }
            Node::Items(SET, items) if items.is_empty() => text.push_str("set()"),
            Node::Items(ends, items) => {
                text.push_str(ends[0]);
                self.print_all(items, depth, text);
                // A tuple of one has a comma.
                text.push_str(if *ends == TUPLE && items.len() == 1 { "," } else { "" });
                text.push_str(ends[1]);
            }
            Node::Pairs(pairs) => {
                text.push('{');
                for (count, [name, value]) in pairs.iter().enumerate() {
                    text.push_str(if count > 0 { ", " } else { "" });
                    self.print(*name, depth + 1, text);
                    text.push_str(": ");
                    self.print(*value, depth + 1, text);
                    if text.len() >= TEXT_LEN_MAX {
                        break;
                    }
                }
                text.push('}');
            }
            Node::Call(what, with, state) => {
                self.print(*what, depth + 1, text);
                text.push('(');
                let args = match &self.nodes[*with] {
                    Node::Items(_, args) => args.as_slice(),
                    _ => std::slice::from_ref(with),
                };
                let all: Vec<At> = args.iter().chain(state).copied().collect();
                self.print_all(&all, depth, text);
                text.push(')');
            }
        }
    }

    fn print_all(&self, items: &[At], depth: usize, text: &mut String) {
        for (count, item) in items.iter().enumerate() {
            text.push_str(if count > 0 { ", " } else { "" });
            self.print(*item, depth + 1, text);
            if text.len() >= TEXT_LEN_MAX {
                return;
            }
        }
    }
}

fn pairs(all: &[At]) -> Node {
    Node::Pairs(all.chunks_exact(2).map(|two| [two[0], two[1]]).collect())
}

/// A text as Python writes it. What is no text is told byte by byte.
fn quoted(bytes: &[u8], text: &mut String) {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    text.push(quote);
    for chunk in bytes[..bytes.len().min(TEXT_LEN_MAX)].utf8_chunks() {
        for sign in chunk.valid().chars() {
            match sign {
                '\n' => text.push_str("\\n"),
                '\\' => text.push_str("\\\\"),
                sign if sign == quote => text.extend(['\\', sign]),
                sign if sign.is_control() => {
                    let _ = write!(text, "\\x{:02x}", u32::from(sign));
                }
                sign => text.push(sign),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push(quote);
}

#[cfg(test)]
mod tests {
    use super::read;

    fn check(hex: &str, expect: Option<&str>) {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        assert_eq!(read(&bytes).as_deref(), expect, "{hex}");
    }

    #[test]
    fn values_are_told_as_python_writes_them() {
        let call = "('tasks.ok', None, (5,), {'a': [1, -2, 3.5, True, None]})";
        check(
            "80022858080000007461736b732e6f6b71004e4b058571017d710258010000006171035d7104284b014afef\
             fffff47400c000000000000884e65737471052e",
            Some(call),
        );
        check(
            "8004953100000000000000288c087461736b732e6f6b944e4b0585947d948c0161945d94284b014afefffff\
             f47400c000000000000884e657374942e",
            Some(call),
        );
        check(
            "8005954c000000000000007d94288c0166948c047461736b948c0174944e8c0161944b018c086974277320c\
             3a40a9486948c016b947d94430200ff948a09000000000000000040738c026574948a06006c50c4a001752\
             e",
            Some(
                "{'f': 'task', 't': None, 'a': (1, \"it's ä\\n\"), \
                 'k': {b'\\x00\\xff': 1180591620717411303424}, 'et': 1790000000000}",
            ),
        );
        check(
            "80049534000000000000005d94288f94284b0190284b0291948c086275696c74696e73948c0962797465617\
             2726179949394430178948594529 48f9429652e",
            Some("[{1}, frozenset({2}), bytearray(b'x'), set(), ()]"),
        );
        check(
            "80049529000000000000008c0b636f6c6c656374696f6e73948c0b4f726465726564446963749493942952\
             948c0161944b01732e",
            Some("collections.OrderedDict({'a': 1})"),
        );
    }

    #[test]
    fn what_would_be_called_is_told_and_what_is_cut_off_is_none() {
        let bytes = b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00lsq\x01\x85q\x02R.";
        assert_eq!(read(bytes).as_deref(), Some("os.system('ls')"));
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len]), None);
        }
        assert_eq!(read(b"a text"), None);
    }

    #[test]
    fn what_means_itself_ends_and_what_is_meant_often_is_cut() {
        // A list that is its own first element.
        assert!(read(b"\x80\x02]q\x00h\x00a.").is_some_and(|text| text.starts_with("[[[[")));
        // Each of thirty lists holds the one before twice.
        let mut bytes = b"\x80\x02]q\x00".to_vec();
        for at in 0..30 {
            bytes.extend([b']', b'q', at + 1, b'(', b'h', at, b'h', at, b'e']);
        }
        bytes.push(b'.');
        assert!(read(&bytes).is_some_and(|text| text.len() < 70_000));
    }
}
