//! The commands of an increment, or of a base that is commands: read from blocks of bytes, given
//! out in units.
//!
//! A unit is what took place at once: a command that stands alone, or all that stand between MULTI
//! and EXEC. It is given whole or not at all. Between commands lines may stand that begin with `#`,
//! such as `#TS:` with a time; nobody asks for them.
//!
//! A file that ends too soon is cut: its writer was ended, and cutting it behind the last unit
//! makes it whole. Bytes that no writer writes make it bad: a disk has failed, or the machine has
//! lost power and what was not synced reads as zeroes. The reader then counts what follows, so that
//! it can be told what would be lost, and gives out nothing more.
//!
//! Redis's loader looks at less. It takes `*+3` and `*3` without `\r`, two bytes of any kind behind
//! a word, and EXEC without MULTI; its checker, redis-check-aof, takes none but the first.
//!
//! What a file says of its lengths is not believed: memory is used for bytes that have come.

use std::fmt;

/// Bytes of a line that begins with `#`, its end among them. Redis takes more for another line.
const NOTE_BYTES_MAX: usize = 1023;

/// Words of a command, as in Redis.
const WORDS_MAX: u64 = i32::MAX as u64;

/// Bytes of a word. Redis has no bound; no value here holds more.
const WORD_BYTES_MAX: u64 = u32::MAX as u64;

/// Digits of a number that may be in bounds.
const DIGITS_MAX: usize = 10;

/// Memory that is kept between units, at most.
const KEPT_BYTES_MAX: usize = 1 << 20;
const KEPT_WORDS_MAX: usize = 1024;

/// Words of a command that need no memory of their own to be handed on.
const FEW_WORDS: usize = 16;

/// Reads commands from blocks of any size.
#[derive(Debug, Default)]
pub struct IncrementReader {
    /// What has come since `start_offset`.
    input: Vec<u8>,
    /// Where the input begins in the file.
    input_offset: u64,
    /// Where in the input the unit under way begins; what follows counts from there.
    start: usize,
    /// Where to go on.
    at: usize,
    /// Words of the command under way that are still to come; 0 between commands.
    missing: u64,
    /// Where the command under way begins.
    command_at: usize,
    /// The length of the word whose header has been read.
    word: Option<usize>,
    /// The words of the unit's commands.
    words: Vec<(usize, usize)>,
    /// Of each command, where its words end.
    ends: Vec<usize>,
    is_in_multi: bool,
    /// Whether the unit has been given out, and makes place for the next.
    is_given: bool,
    /// Where the last unit ends in the file.
    whole_bytes: u64,
    /// What is wrong, and where.
    wrong: Option<(WrongByte, u64)>,
    /// Since then, zeroes that nothing else follows.
    zeroes: u64,
    /// Bytes of the file so far.
    len: u64,
}

/// Commands that took place at once.
#[derive(Clone, Copy, Debug)]
pub struct AofUnit<'a> {
    /// Where it begins in the file, with its MULTI.
    pub offset: u64,
    /// Where what follows it begins.
    pub end: u64,
    /// Whether it stood between MULTI and EXEC, which are not among its commands.
    pub is_transaction: bool,
    bytes: &'a [u8],
    words: &'a [(usize, usize)],
    ends: &'a [usize],
}

/// Why a file is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrementFlaw {
    /// What is wrong and where. None if the file only ends too soon.
    pub wrong: Option<(WrongByte, u64)>,
    /// Whether the unit that is not whole is one between MULTI and EXEC.
    pub is_in_multi: bool,
    /// Where the last whole unit ends: cut there, the file is whole.
    pub whole_bytes: u64,
    /// Bytes of the file.
    pub len: u64,
    /// Zeroes at the end of the file.
    pub zeroes: u64,
}

/// What was found that no writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongByte {
    /// At the begin of a command or of a word: what should be there, and what is.
    Prefix(u8, u8),
    /// In a number.
    Digit(u8),
    /// Behind a number or a word.
    LineEnd([u8; 2]),
    /// A command of no words, or of more than there may be.
    Count,
    /// A word that is longer than one can be.
    Len,
    /// A line that begins with `#` and does not end.
    Note,
    /// MULTI within MULTI.
    Multi,
    /// EXEC without MULTI.
    Exec,
}

type Step<T> = Result<Option<T>, (WrongByte, usize)>;

impl IncrementReader {
    /// Reads what stands at `offset` of a file and behind: 0, or where the RDB of a base ends.
    pub fn new(offset: u64) -> Self {
        Self { input_offset: offset, whole_bytes: offset, len: offset, ..Self::default() }
    }

    /// Takes the next bytes of the file. They are copied.
    pub fn feed(&mut self, block: &[u8]) {
        self.len += block.len() as u64;
        if self.wrong.is_some() {
            let zeroes = zeroes_at_end(block);
            let are_all = zeroes == block.len() as u64;
            self.zeroes = if are_all { self.zeroes + zeroes } else { zeroes };
            return;
        }
        self.make_place();
        self.input.drain(..self.start);
        self.input_offset += self.start as u64;
        self.start = 0;
        if self.input.len() < KEPT_BYTES_MAX {
            self.input.shrink_to(KEPT_BYTES_MAX);
        }
        self.input.extend_from_slice(block);
    }

    /// The next whole unit. None if more has to be fed first, or if nothing follows: `flaw` tells.
    pub fn next_unit(&mut self) -> Option<AofUnit<'_>> {
        self.make_place();
        let has_unit = match self.wrong {
            Some(_) => false,
            None => self.read().unwrap_or_else(|(wrong, at)| self.end_at(wrong, at)),
        };
        if !has_unit {
            return None;
        }
        self.is_given = true;
        let offset = self.input_offset + self.start as u64;
        self.whole_bytes = offset + self.at as u64;
        Some(AofUnit {
            offset,
            end: self.whole_bytes,
            is_transaction: self.is_in_multi,
            bytes: &self.input[self.start..][..self.at],
            words: &self.words,
            ends: &self.ends,
        })
    }

    /// Bytes that have come and of which no unit was given out.
    pub fn waiting_bytes(&self) -> u64 {
        self.len - self.whole_bytes
    }

    /// Whether bytes have come that no writer writes, so that no further unit will be given out.
    pub fn is_bad(&self) -> bool {
        self.wrong.is_some()
    }

    /// What keeps the file from being whole, once all of it has been fed and all units have been
    /// taken. None if nothing does.
    pub fn flaw(&self) -> Option<IncrementFlaw> {
        let begun = &self.input[self.start..][if self.is_given { self.at } else { 0 }..];
        if self.wrong.is_none() && begun.is_empty() {
            return None;
        }
        let zeroes = if self.wrong.is_some() { self.zeroes } else { zeroes_at_end(begun) };
        Some(IncrementFlaw {
            wrong: self.wrong,
            is_in_multi: self.is_in_multi && !self.is_given,
            whole_bytes: self.whole_bytes,
            len: self.len,
            zeroes,
        })
    }

    fn end_at(&mut self, wrong: WrongByte, at: usize) -> bool {
        let unit = &self.input[self.start..];
        self.zeroes = zeroes_at_end(unit);
        self.wrong = Some((wrong, self.input_offset + (self.start + at) as u64));
        (self.input, self.start) = (Vec::new(), 0);
        false
    }

    /// Forgets the unit that was given out.
    fn make_place(&mut self) {
        if std::mem::take(&mut self.is_given) {
            self.begin_unit();
        }
    }

    fn begin_unit(&mut self) {
        self.start += std::mem::take(&mut self.at);
        self.is_in_multi = false;
        self.words.clear();
        self.words.shrink_to(KEPT_WORDS_MAX);
        self.ends.clear();
        self.ends.shrink_to(KEPT_WORDS_MAX);
    }

    /// Reads on up to the end of the unit; false if it has not come.
    fn read(&mut self) -> Result<bool, (WrongByte, usize)> {
        loop {
            if self.missing == 0 {
                match self.unread().first() {
                    None => return Ok(false),
                    Some(b'#') => match self.note()? {
                        None => return Ok(false),
                        Some(()) => continue,
                    },
                    Some(_) => self.command_at = self.at,
                }
                let Some(count) = self.header(b'*', WORDS_MAX, WrongByte::Count)? else {
                    return Ok(false);
                };
                if count == 0 {
                    return Err((WrongByte::Count, self.command_at));
                }
                self.missing = count;
            }
            if self.rest_of_command()?.is_none() {
                return Ok(false);
            }
            if self.end_command()? {
                return Ok(true);
            }
        }
    }

    fn unread(&self) -> &[u8] {
        &self.input[self.start + self.at..]
    }

    /// Skips a line that begins with `#`. One outside of a unit becomes no part of it.
    fn note(&mut self) -> Step<()> {
        let rest = self.unread();
        let rest = &rest[..rest.len().min(NOTE_BYTES_MAX)];
        match memchr::memchr(b'\n', rest) {
            Some(end) => {
                self.at += end + 1;
                if !self.is_in_multi {
                    self.begin_unit();
                }
                Ok(Some(()))
            }
            None if rest.len() == NOTE_BYTES_MAX => {
                Err((WrongByte::Note, self.at + NOTE_BYTES_MAX - 1))
            }
            None => Ok(None),
        }
    }

    /// Reads a number, with what stands before and behind it.
    #[inline]
    fn header(&mut self, prefix: u8, max: u64, beyond: WrongByte) -> Step<u64> {
        let rest = self.unread();
        match rest.first() {
            None => return Ok(None),
            Some(&got) if got != prefix => {
                return Err((WrongByte::Prefix(prefix, got), self.at));
            }
            Some(_) => {}
        }
        let mut number = 0;
        for (at, &byte) in (1..).zip(&rest[1..]) {
            match byte {
                b'0'..=b'9' if at <= DIGITS_MAX => number = number * 10 + u64::from(byte - b'0'),
                b'0'..=b'9' => return Err((beyond, self.at)),
                b'\r' if at > 1 => {
                    return match rest.get(at + 1) {
                        None => Ok(None),
                        Some(b'\n') if number > max => Err((beyond, self.at)),
                        Some(b'\n') => {
                            self.at += at + 2;
                            Ok(Some(number))
                        }
                        Some(&got) => Err((WrongByte::LineEnd([byte, got]), self.at + at + 1)),
                    };
                }
                _ => return Err((WrongByte::Digit(byte), self.at + at)),
            }
        }
        Ok(None)
    }

    fn rest_of_command(&mut self) -> Step<()> {
        while self.missing > 0 {
            let len = match self.word {
                Some(len) => len,
                None => match self.header(b'$', WORD_BYTES_MAX, WrongByte::Len)? {
                    Some(len) => len as usize,
                    None => return Ok(None),
                },
            };
            self.word = Some(len);
            match self.unread().get(len..).and_then(|behind| behind.first_chunk::<2>()) {
                None => return Ok(None),
                Some(b"\r\n") => {}
                Some(&got) => {
                    let is_first = got[0] != b'\r';
                    return Err((WrongByte::LineEnd(got), self.at + len + usize::from(!is_first)));
                }
            }
            self.word = None;
            self.words.push((self.at, self.at + len));
            self.at += len + 2;
            self.missing -= 1;
        }
        Ok(Some(()))
    }

    /// Whether the unit ends with the command that has just been read.
    fn end_command(&mut self) -> Result<bool, (WrongByte, usize)> {
        let first = self.ends.last().copied().unwrap_or(0);
        let (start, end) = self.words[first];
        let name = &self.input[self.start..][start..end];
        if name.eq_ignore_ascii_case(b"multi") {
            if self.is_in_multi {
                return Err((WrongByte::Multi, self.command_at));
            }
            self.is_in_multi = true;
        } else if name.eq_ignore_ascii_case(b"exec") {
            if !self.is_in_multi {
                return Err((WrongByte::Exec, self.command_at));
            }
            self.words.truncate(first);
            return Ok(true);
        } else {
            self.ends.push(self.words.len());
            return Ok(!self.is_in_multi);
        }
        self.words.truncate(first);
        Ok(false)
    }
}

impl<'a> AofUnit<'a> {
    /// Its bytes, with MULTI and EXEC.
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many commands it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it is a transaction of no commands.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Runs this on the words of each command, in order. The first error ends it.
    pub fn try_each<E>(&self, mut run: impl FnMut(&[&'a [u8]]) -> Result<(), E>) -> Result<(), E> {
        let (mut few, mut many): ([&[u8]; FEW_WORDS], _) = ([&[]; FEW_WORDS], Vec::new());
        let mut start = 0;
        for &end in self.ends {
            let spans = &self.words[start..end];
            start = end;
            let words = spans.iter().map(|&(from, to)| &self.bytes[from..to]);
            if let Some(few) = few.get_mut(..spans.len()) {
                few.iter_mut().zip(words).for_each(|(place, word)| *place = word);
                run(few)?;
            } else {
                many.clear();
                many.extend(words);
                run(&many)?;
            }
        }
        Ok(())
    }
}

impl IncrementFlaw {
    /// Bytes that go where the file is cut behind its last whole unit.
    pub fn lost_bytes(&self) -> u64 {
        self.len - self.whole_bytes
    }

    /// Whether nothing but zeroes goes then.
    pub fn is_all_zeroes(&self) -> bool {
        self.zeroes >= self.lost_bytes()
    }

    /// Whether what is wrong lies in the zeroes at the end, as after a loss of power: all that was
    /// written before them reads well.
    pub fn is_loss_of_power(&self) -> bool {
        self.wrong.is_some_and(|(_, at)| at >= self.len - self.zeroes)
    }

    /// Why the file cannot be read, as Redis's log begins to say it, with what was found and where.
    pub fn text(&self, file: &str) -> String {
        let Self { wrong, whole_bytes, len, zeroes, .. } = self;
        let lost = self.lost_bytes();
        let whole =
            format!("What is whole ends at offset {whole_bytes}, {lost} bytes before the end");
        let Some((wrong, at)) = wrong else {
            let place = if self.is_in_multi { "a transaction" } else { "a command" };
            return format!(
                "Unexpected end of file reading the append only file {file}: \
                 offset {len} lies in {place}. {whole}"
            );
        };
        let why = if self.is_loss_of_power() {
            format!(", and the last {zeroes} bytes are zeroes, as after a loss of power")
        } else {
            String::new()
        };
        format!(
            "Bad file format reading the append only file {file}: at offset {at}: {wrong}. {whole}{why}"
        )
    }

    /// What Redis's log says when it cuts the file and goes on.
    pub fn lines_of_cut(&self, file: &str) -> Vec<String> {
        let at = self.whole_bytes;
        let revert = format!("Revert incomplete MULTI/EXEC transaction in AOF file {file}");
        let mut lines = if self.is_in_multi { vec![revert] } else { Vec::new() };
        lines.push(format!("!!! Warning: short read while loading the AOF file {file}!!!"));
        lines.push(format!("!!! Truncating the AOF {file} at offset {at} !!!"));
        lines.push(format!("AOF {file} loaded anyway because aof-load-truncated is enabled"));
        lines
    }
}

impl fmt::Display for WrongByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(expected, got) => write!(
                f,
                "expected prefix '{}', got: '{}'",
                expected.escape_ascii(),
                got.escape_ascii()
            ),
            Self::Digit(got) => {
                write!(f, "expected a digit or \\r\\n, got: '{}'", got.escape_ascii())
            }
            Self::LineEnd([first, second]) => {
                write!(f, "expected \\r\\n, got: {first:02x}{second:02x}")
            }
            Self::Count => write!(f, "expected 1 to {WORDS_MAX} words in a command"),
            Self::Len => write!(f, "expected at most {WORD_BYTES_MAX} bytes in a word"),
            Self::Note => write!(f, "expected the end of a line of {NOTE_BYTES_MAX} bytes"),
            Self::Multi => f.write_str("unexpected MULTI within MULTI"),
            Self::Exec => f.write_str("unexpected EXEC without MULTI"),
        }
    }
}

fn zeroes_at_end(bytes: &[u8]) -> u64 {
    bytes.iter().rev().take_while(|byte| **byte == 0).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::journal::Journal;
    use crate::proto::request;
    use crate::util::rng::Rng;

    /// Commands of a unit, a line each, with where it begins and ends.
    type Unit = (u64, u64, bool, Vec<String>);

    fn command(line: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut bytes = Vec::new();
        request::write(&words, &mut bytes);
        bytes
    }

    /// A file of these lines: notes as they are, else commands.
    fn file(lines: &[&str]) -> Vec<u8> {
        let line = |line: &&str| match line.strip_prefix('#') {
            Some(_) => format!("{line}\r\n").into_bytes(),
            None => command(line),
        };
        lines.iter().flat_map(line).collect()
    }

    const SAMPLE: [&str; 16] = [
        "SELECT 0",
        "SET k v",
        "#TS:1700000000",
        "#",
        "MULTI",
        "#TS:1700000001",
        "SET k \r\n*1\r\n$4\r\nEXEC\r\n",
        "SELECT 11",
        "#TS:1700000002",
        "set  0123456789",
        "EXEC",
        "multi",
        "exec",
        "Multi",
        "DEL k",
        "eXeC",
    ];

    /// Reads blocks of a file that begins at an offset.
    fn read_blocks<'a>(
        offset: u64,
        blocks: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Unit>, Option<IncrementFlaw>) {
        let mut reader = IncrementReader::new(offset);
        let mut units = Vec::new();
        for block in blocks {
            reader.feed(block);
            while let Some(unit) = reader.next_unit() {
                let mut lines = Vec::new();
                let each = unit.try_each(|words| {
                    lines.push(String::from_utf8_lossy(&words.join(&b' ')).into_owned());
                    Ok::<(), ()>(())
                });
                assert_eq!((each, lines.len()), (Ok(()), unit.len()));
                units.push((unit.offset, unit.end, unit.is_transaction, lines));
            }
        }
        (units, reader.flaw())
    }

    fn read(bytes: &[u8]) -> (Vec<Unit>, Option<IncrementFlaw>) {
        let whole = read_blocks(0, [bytes]);
        assert_eq!(read_blocks(0, bytes.chunks(1)), whole, "byte by byte");
        whole
    }

    fn flaw(bytes: &[u8]) -> IncrementFlaw {
        read(bytes).1.expect("something is wrong")
    }

    #[test]
    fn units_come_whole() {
        let (units, flaw) = read(&file(&SAMPLE));
        assert_eq!(flaw, None);
        let lines: Vec<_> = units.iter().map(|(_, _, is, lines)| (*is, lines.join("|"))).collect();
        let third = "SET k \r\n*1\r\n$4\r\nEXEC\r\n|SELECT 11|set  0123456789";
        let expect =
            [(false, "SELECT 0"), (false, "SET k v"), (true, third), (true, ""), (true, "DEL k")];
        assert_eq!(lines, expect.map(|(is, text)| (is, text.to_owned())));
        assert_eq!(read(b""), (vec![], None));
        assert_eq!(read(b"#\n#TS:1\r\n"), (vec![], None));
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let mut rng = Rng::from_seed(23);
        let mut bytes = file(&SAMPLE).repeat(5);
        for _ in 0..300 {
            let whole = read(&bytes);
            let mut blocks = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (block, after) = rest.split_at(rng.below(rest.len().min(90) + 1));
                blocks.push(block);
                rest = after;
            }
            assert_eq!(read_blocks(0, blocks), whole);
            // From now on something is wrong with it.
            let at = rng.below(bytes.len());
            bytes[at] = rng.next_u64() as u8;
        }
    }

    #[test]
    fn a_file_cut_anywhere_keeps_all_whole_units() {
        let bytes = file(&SAMPLE);
        let (units, _) = read(&bytes);
        let notes = [2, 3].map(|len| file(&SAMPLE[..=len]).len() as u64);
        for len in 0..bytes.len() {
            let (found, flaw) = read(&bytes[..len]);
            let len = len as u64;
            let whole: Vec<_> = units.iter().filter(|unit| unit.1 <= len).cloned().collect();
            let end = whole.last().map_or(0, |unit| unit.1);
            assert_eq!(found, whole, "cut at {len}");
            if end == len || notes.contains(&len) {
                assert_eq!(flaw, None, "cut at {len}");
                continue;
            }
            let flaw = flaw.unwrap_or_else(|| panic!("cut at {len}"));
            let multi_bytes = command("MULTI").len() as u64;
            let is_in_multi =
                units.iter().any(|unit| unit.2 && unit.0 + multi_bytes <= len && len < unit.1);
            let expect =
                IncrementFlaw { wrong: None, is_in_multi, whole_bytes: end, len, zeroes: 0 };
            assert_eq!(flaw, expect, "cut at {len}");
            assert_eq!(flaw.lost_bytes(), len - end);
        }
    }

    #[test]
    fn zeroes_after_a_loss_of_power_are_seen_wherever_they_begin() {
        let bytes = file(&SAMPLE);
        let (units, _) = read(&bytes);
        for (kept, zeroes) in (0..=bytes.len()).flat_map(|kept| [(kept, 1), (kept, 5000)]) {
            let torn = [&bytes[..kept], &vec![0; zeroes]].concat();
            let (found, flaw) = read_blocks(0, torn.chunks(700));
            let flaw = flaw.unwrap_or_else(|| panic!("zeroes from {kept}"));
            let end = found.last().map_or(0, |unit| unit.1);
            assert_eq!(found, units[..found.len()], "zeroes from {kept}");
            assert_eq!(flaw.whole_bytes, end);
            assert_eq!(flaw.zeroes, zeroes as u64, "zeroes from {kept}");
            assert!(flaw.wrong.is_none() || flaw.is_loss_of_power(), "zeroes from {kept}");
            assert_eq!(flaw.is_all_zeroes(), end == kept as u64, "zeroes from {kept}");
            if zeroes == 5000 {
                let expect = units.iter().take_while(|unit| unit.1 <= kept as u64).count();
                assert_eq!(found.len(), expect);
                assert!(flaw.wrong.is_some(), "no word here is that long");
            }
        }
    }

    /// What is said of bytes that follow two whole commands of 50 bytes together.
    fn check_bad(bytes: &[u8], at: u64, expect: &str) {
        let start = file(&SAMPLE[..2]);
        assert_eq!(start.len(), 50);
        let flaw = flaw(&[&start[..], bytes].concat());
        assert_eq!(flaw.whole_bytes, 50);
        let (wrong, found_at) =
            flaw.wrong.unwrap_or_else(|| panic!("cut: {}", bytes.escape_ascii()));
        assert_eq!((found_at, wrong.to_string()), (at, expect.to_owned()));
        assert!(flaw.lost_bytes() >= 1 && !flaw.is_loss_of_power());
    }

    #[test]
    fn what_no_writer_writes_is_named() {
        check_bad(b"hello", 50, "expected prefix '*', got: 'h'");
        check_bad(b"\r\n", 50, "expected prefix '*', got: '\\r'");
        check_bad(b"\0\0x", 50, "expected prefix '*', got: '\\x00'");
        check_bad(b"*x\r\n", 51, "expected a digit or \\r\\n, got: 'x'");
        check_bad(b"*\r\n", 51, "expected a digit or \\r\\n, got: '\\r'");
        check_bad(b"*+1\r\n", 51, "expected a digit or \\r\\n, got: '+'");
        check_bad(b"*1\n", 52, "expected a digit or \\r\\n, got: '\\n'");
        check_bad(b"*1\rx", 53, "expected \\r\\n, got: 0d78");
        check_bad(b"*0\r\n", 50, "expected 1 to 2147483647 words in a command");
        check_bad(b"*2147483648\r\n", 50, "expected 1 to 2147483647 words in a command");
        check_bad(b"*00000000001", 50, "expected 1 to 2147483647 words in a command");
        check_bad(b"*1\r\n3\r\n", 54, "expected prefix '$', got: '3'");
        check_bad(b"*1\r\n$-1\r\n", 55, "expected a digit or \\r\\n, got: '-'");
        check_bad(b"*1\r\n$4294967296\r\n", 54, "expected at most 4294967295 bytes in a word");
        check_bad(b"*1\r\n$1\r\nvxy", 59, "expected \\r\\n, got: 7879");
        check_bad(b"*1\r\n$1\r\nv\ry", 60, "expected \\r\\n, got: 0d79");
        check_bad(&command("EXEC"), 50, "unexpected EXEC without MULTI");
        check_bad(&command("MULTI").repeat(2), 65, "unexpected MULTI within MULTI");
        let in_multi = [&command("MULTI")[..], &command("SET k v"), b"x"].concat();
        check_bad(&in_multi, 92, "expected prefix '*', got: 'x'");
        let note = [b"#", &[b'x'; 1022][..], b"\n"].concat();
        check_bad(&note, 1072, "expected the end of a line of 1023 bytes");
        assert_eq!(read(&note[1..]).1.map(|flaw| flaw.whole_bytes), Some(0));
        assert_eq!(read(&[b"#", &note[2..]].concat()), (vec![], None), "as long as may be");
    }

    #[test]
    fn a_flaw_is_told_in_the_words_of_redis() {
        let start = file(&SAMPLE[..2]);
        let check = |tail: &[u8], expect: &str| {
            assert_eq!(flaw(&[&start[..], tail].concat()).text("a.aof"), expect);
        };
        check(
            b"*1\r\n$4\r\nPI",
            "Unexpected end of file reading the append only file a.aof: \
             offset 60 lies in a command. What is whole ends at offset 50, 10 bytes before the end",
        );
        check(
            &command("MULTI"),
            "Unexpected end of file reading the append only file a.aof: \
             offset 65 lies in a transaction. What is whole ends at offset 50, \
             15 bytes before the end",
        );
        check(
            b"*1\r\n\0\0\0",
            "Bad file format reading the append only file a.aof: at offset 54: \
             expected prefix '$', got: '\\x00'. What is whole ends at offset 50, \
             7 bytes before the end, and the last 3 bytes are zeroes, as after a loss of power",
        );
        assert_eq!(
            flaw(&[&start[..], &command("MULTI")].concat()).lines_of_cut("a.aof"),
            [
                "Revert incomplete MULTI/EXEC transaction in AOF file a.aof",
                "!!! Warning: short read while loading the AOF file a.aof!!!",
                "!!! Truncating the AOF a.aof at offset 50 !!!",
                "AOF a.aof loaded anyway because aof-load-truncated is enabled",
            ]
        );
    }

    #[test]
    fn what_the_journal_writes_is_read() {
        let mut journal = Journal::default();
        journal.listen();
        let mut expect: Vec<(bool, Vec<String>)> = Vec::new();
        let mut rng = Rng::from_seed(7);
        let mut selected = None;
        for _ in 0..500 {
            let (mut lines, count) = (Vec::new(), rng.below(4));
            for _ in 0..count {
                let (db, line) = (rng.below(3), format!("SET k {}", rng.next_u64()));
                if selected.replace(db) != Some(db) {
                    lines.push(format!("SELECT {db}"));
                }
                let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                journal.append(db, &words);
                lines.push(line);
            }
            journal.end_unit();
            match count {
                0 => {}
                1 => expect.extend(lines.into_iter().map(|line| (false, vec![line]))),
                _ => expect.push((true, lines)),
            }
        }
        let (units, flaw) = read(journal.whole_units().0);
        assert_eq!(flaw, None);
        let found: Vec<_> = units.into_iter().map(|(_, _, is, lines)| (is, lines)).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn offsets_are_those_of_the_file() {
        let bytes = file(&SAMPLE);
        let (units, flaw) = read_blocks(1000, [&bytes[..bytes.len() - 1]]);
        let flaw = flaw.expect("it is cut");
        assert_eq!((units[0].0, units[1].1), (1000, 1050));
        assert_eq!(flaw.len, 999 + bytes.len() as u64);
        assert_eq!(flaw.whole_bytes, units.last().expect("there are units").1);
    }

    #[test]
    fn lengths_take_no_memory() {
        let mut reader = IncrementReader::new(0);
        reader.feed(b"*2147483647\r\n$4294967295\r\nabc");
        assert!(reader.next_unit().is_none());
        assert!(!reader.is_bad() && reader.input.capacity() < 100);
        assert_eq!(reader.words.capacity(), 0);
        // A large unit gives its memory back.
        let large = file(&["MULTI", &"SET k v ".repeat(20_000), &"x".repeat(3 << 20), "EXEC"]);
        let mut reader = IncrementReader::new(0);
        reader.feed(&large);
        assert_eq!(reader.next_unit().map(|unit| unit.len()), Some(2));
        reader.feed(b"*");
        assert!(reader.next_unit().is_none());
        assert!(reader.input.capacity() <= KEPT_BYTES_MAX);
        assert!(reader.words.capacity() <= KEPT_WORDS_MAX);
    }

    #[test]
    fn an_error_ends_a_unit() {
        let mut reader = IncrementReader::new(0);
        reader.feed(&file(&["MULTI", "A", "B", "C", "EXEC"]));
        let unit = reader.next_unit().expect("it is whole");
        let mut seen = 0;
        let end = unit.try_each(|words| {
            seen += 1;
            if words[0] == b"B" { Err("no") } else { Ok(()) }
        });
        assert_eq!((end, seen), (Err("no"), 2));
    }
}
