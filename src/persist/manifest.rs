//! The manifest of an append-only file, its names, and the steps by which a rewrite changes it.
//!
//! A manifest is a value, and each step makes another one of it. A step has been taken once the new
//! manifest's text has replaced the old one's under the same name: written to
//! `AofNames::temporary_manifest`, synced, renamed, and the folder synced. A rewrite takes these:
//!
//! 1. the next increment is created empty, and the manifest `opened` names it: from here on
//!    everything goes there, and the snapshot begins at this very place;
//! 2. the snapshot is written under another name and synced, then it gets the name of the new base;
//! 3. the manifest `rebased` names it, and calls history what it stands for;
//! 4. the files of history are removed, and the manifest has `forgotten` them.
//!
//! Wherever this ends, the manifest names a chain that is whole. What else lies in the folder then
//! is told by `role_of`.

use std::fmt;

use crate::util::number;
use crate::util::{quote, words};

/// Bytes of a line with its end. Redis reads so many at once, and takes more for another line.
const LINE_BYTES_MAX: usize = 1024;

/// A line needs three pairs.
const WORDS_MIN: usize = 6;

const EMPTY: &str = "Found an empty AOF manifest";
const TOO_LONG: &str = "The AOF manifest file contains too long line";
const FORMAT: &str = "Invalid AOF manifest file format";
const PATH: &str = "File can't be a path, just a filename";
const SECOND_BASE: &str = "Found duplicate base file information";
const NOT_ASCENDING: &str = "Found a non-monotonic sequence number";
const UNKNOWN_TYPE: &str = "Unknown AOF file type";

/// A file that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AofFile {
    /// Without a folder.
    pub name: Vec<u8>,
    /// From 1. Increments are told apart and put in order by it.
    pub seq: u64,
}

/// What a base is made of, as its name says. What it truly is, its first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseForm {
    /// `.base.rdb`
    Rdb,
    /// `.base.aof`
    Commands,
}

/// The names that follow from `appendfilename`.
#[derive(Clone, Debug)]
pub struct AofNames {
    stem: Vec<u8>,
}

/// What a file in the folder of the append-only file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AofRole {
    /// The manifest itself.
    Manifest,
    /// The manifest names it: it is needed, or history.
    Listed,
    /// Left behind by a rewrite that did not get to its end. Nothing is lost with it.
    Leftover,
    /// A base or an increment that the manifest does not know, and no rewrite left behind: the
    /// manifest is lost, or an old one. Who goes on from here may write over data.
    Stray,
    /// No file of this append-only file.
    Foreign,
}

/// Which files make up an append-only file. With none it is the manifest of no append-only file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Loaded first. Without one the increments are all.
    pub base: Option<AofFile>,
    /// Needed no more. They may be gone.
    pub history: Vec<AofFile>,
    /// Loaded in this order. What is written goes to the end of the last.
    pub increments: Vec<AofFile>,
}

/// Why bytes are no manifest, in Redis's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The line, from 1, and its text, if the line can be read at all.
    pub line: Option<(usize, Vec<u8>)>,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for ManifestError {
    /// As Redis's log has it below `*** FATAL AOF MANIFEST FILE ERROR ***`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((number, line)) = &self.line {
            let line = String::from_utf8_lossy(line);
            writeln!(f, "Reading the manifest file, at line {number}\n>>> '{line}'")?;
        }
        f.write_str(self.what)
    }
}

impl std::error::Error for ManifestError {}

impl AofNames {
    /// The names for a value of `appendfilename`.
    pub fn new(appendfilename: &str) -> Self {
        Self { stem: appendfilename.as_bytes().to_vec() }
    }

    /// The file that was all of the append-only file before Redis 7, in the working folder.
    pub fn single(&self) -> Vec<u8> {
        self.stem.clone()
    }

    /// The manifest.
    pub fn manifest(&self) -> Vec<u8> {
        [&self.stem[..], b".manifest"].concat()
    }

    /// What a new manifest is called until it replaces the old one.
    pub fn temporary_manifest(&self) -> Vec<u8> {
        [b"temp-", &self.manifest()[..]].concat()
    }

    /// What a new base is called until it is whole. Redis puts it into the working folder, which
    /// may be somebody else's too; in the folder of the append-only file it can be told as its own.
    ///
    /// Each of a process has a number.
    pub fn temporary_base(&self, pid: u32, number: u64) -> Vec<u8> {
        format!("temp-rewriteaof-bg-{pid}-{number}.aof").into_bytes()
    }

    /// A base.
    pub fn base(&self, seq: u64, form: BaseForm) -> Vec<u8> {
        let end: &[u8] = match form {
            BaseForm::Rdb => b"rdb",
            BaseForm::Commands => b"aof",
        };
        [&self.stem[..], format!(".{seq}.base.").as_bytes(), end].concat()
    }

    /// An increment.
    pub fn increment(&self, seq: u64) -> Vec<u8> {
        [&self.stem[..], format!(".{seq}.incr.aof").as_bytes()].concat()
    }

    /// The number in the name of a base or an increment, and whether it is a base's. None if the
    /// name is another one.
    fn seq_of(&self, name: &[u8]) -> Option<(u64, bool)> {
        let rest = name.strip_prefix(&self.stem[..])?.strip_prefix(b".")?;
        let end = memchr::memchr(b'.', rest)?;
        let seq = number::parse_i64(&rest[..end]).and_then(|seq| u64::try_from(seq).ok())?;
        match &rest[end..] {
            b".base.rdb" | b".base.aof" => Some((seq, true)),
            b".incr.aof" => Some((seq, false)),
            _ => None,
        }
    }

    /// Whether a file of this name is written only to be renamed. Redis's own are among them.
    fn is_temporary(&self, name: &[u8]) -> bool {
        let Some(rest) = name.strip_prefix(b"temp-") else { return false };
        let of_rewrite = rest.strip_prefix(b"rewriteaof-").and_then(|rest| {
            let pid = rest.strip_prefix(b"bg-").unwrap_or(rest).strip_suffix(b".aof")?;
            Some(!pid.is_empty() && pid.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-')))
        });
        let of_stem = rest.strip_prefix(&self.stem[..]);
        of_rewrite == Some(true) || matches!(of_stem, Some(b".manifest" | b".incr"))
    }
}

impl Manifest {
    /// An append-only file that begins with a base. Until this manifest stands, a base without a
    /// manifest lies in the folder. Who wants to do without that begins with
    /// `Manifest::default().opened(names)`, and then rebases it.
    pub fn fresh(names: &AofNames, form: BaseForm) -> Self {
        let base = AofFile { name: names.base(1, form), seq: 1 };
        let increment = AofFile { name: names.increment(1), seq: 1 };
        Self { base: Some(base), history: Vec::new(), increments: vec![increment] }
    }

    /// What an append-only file of one file becomes. First this manifest is put in place, then the
    /// file is moved into the folder under its own name, then an increment is opened.
    pub fn upgraded(names: &AofNames) -> Self {
        let base = Some(AofFile { name: names.single(), seq: 1 });
        Self { base, ..Self::default() }
    }

    /// Whether this is `upgraded`, so that the file may still have to be moved: if the folder has
    /// none of that name.
    pub fn is_upgrade(&self, names: &AofNames) -> bool {
        let is_single = self.base.as_ref().is_some_and(|base| base.name == names.stem);
        is_single && self.history.is_empty() && self.increments.is_empty()
    }

    /// Reads a manifest. An error is one that Redis and Valkey have too, but for numbers: `1x` and
    /// what is below 1 or beyond 63 bits is not taken for one here.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        if text.is_empty() {
            return Err(ManifestError { line: None, what: EMPTY });
        }
        let mut manifest = Self::default();
        let (mut number, mut rest) = (0, text);
        while !rest.is_empty() {
            number += 1;
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let (line, after) = rest.split_at(end.min(LINE_BYTES_MAX));
            rest = after;
            if line[0] == b'#' {
                continue;
            }
            // To Redis a zero ends the line, which then has no end.
            if memchr::memchr2(b'\n', 0, line) != Some(line.len() - 1) || line.ends_with(b"\0") {
                return Err(ManifestError { line: None, what: TOO_LONG });
            }
            let line = trim(line);
            manifest
                .add(line)
                .map_err(|what| ManifestError { line: Some((number, line.to_vec())), what })?;
        }
        Ok(manifest)
    }

    fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let (bytes, spans) = words::split(line).ok_or(FORMAT)?;
        if spans.len() < WORDS_MIN || !spans.len().is_multiple_of(2) {
            return Err(FORMAT);
        }
        let (mut name, mut seq, mut kind) = (None, None, None);
        for pair in spans.chunks_exact(2) {
            let [key, value] = [pair[0], pair[1]].map(|(start, end)| &bytes[start..end]);
            if key.eq_ignore_ascii_case(b"file") {
                if !is_name(value) {
                    return Err(PATH);
                }
                name = Some(value.to_vec());
            } else if key.eq_ignore_ascii_case(b"seq") {
                seq = number::parse_i64(value).filter(|&seq| seq != 0);
            } else if key.eq_ignore_ascii_case(b"type") {
                // What follows the first letter is not looked at, as in Redis.
                kind = value.first().copied();
            }
        }
        let (Some(name), Some(seq), Some(kind)) = (name, seq, kind) else { return Err(FORMAT) };
        let seq = u64::try_from(seq);
        match kind {
            b'b' if self.base.is_some() => return Err(SECOND_BASE),
            b'b' => self.base = Some(AofFile { name, seq: seq.map_err(|_| FORMAT)? }),
            b'h' => self.history.push(AofFile { name, seq: seq.map_err(|_| FORMAT)? }),
            b'i' => {
                let last = self.increments.last().map_or(0, |file| file.seq);
                let seq = seq.ok().filter(|&seq| seq > last).ok_or(NOT_ASCENDING)?;
                self.increments.push(AofFile { name, seq });
            }
            _ => return Err(UNKNOWN_TYPE),
        }
        Ok(())
    }

    /// The text of the manifest: base, history, increments.
    pub fn text(&self) -> Vec<u8> {
        let base = self.base.iter().map(|file| (file, 'b'));
        let history = self.history.iter().map(|file| (file, 'h'));
        let increments = self.increments.iter().map(|file| (file, 'i'));
        let mut out = Vec::new();
        for (file, kind) in base.chain(history).chain(increments) {
            out.extend_from_slice(b"file ");
            if is_plain(&file.name) {
                out.extend_from_slice(&file.name);
            } else {
                quote::quoted(&file.name, &mut out);
            }
            out.extend_from_slice(format!(" seq {} type {kind}\n", file.seq).as_bytes());
        }
        out
    }

    /// Whether it names no file, as where there is no manifest.
    pub fn is_empty(&self) -> bool {
        self.files().next().is_none()
    }

    /// The files that hold the data, in the order in which they are loaded.
    pub fn chain(&self) -> impl Iterator<Item = &AofFile> {
        self.base.iter().chain(&self.increments)
    }

    fn files(&self) -> impl Iterator<Item = &AofFile> {
        self.chain().chain(&self.history)
    }

    /// With the next increment, which is the last one then.
    #[must_use]
    pub fn opened(&self, names: &AofNames) -> Self {
        let last = self.increments.last().map_or(0, |file| file.seq);
        let mut next = self.clone();
        next.increments.push(self.free(last, |seq| names.increment(seq)));
        next
    }

    /// With a new base for what the old one and the increments before `cut` hold, which become
    /// history. `cut` is the number of the increment that was opened when the snapshot began.
    #[must_use]
    pub fn rebased(&self, names: &AofNames, form: BaseForm, cut: u64) -> Self {
        let base = self.next_base(names, form);
        let is_covered = |file: &AofFile| file.seq < cut;
        let (covered, increments): (Vec<_>, Vec<_>) =
            self.increments.iter().cloned().partition(is_covered);
        // The newest first, as in Redis.
        let covered = covered.into_iter().rev().chain(self.base.clone());
        let history = covered.chain(self.history.iter().cloned()).collect();
        Self { base: Some(base), history, increments }
    }

    /// The base that `rebased` will name.
    pub fn next_base(&self, names: &AofNames, form: BaseForm) -> AofFile {
        let last = self.base.as_ref().map_or(0, |file| file.seq);
        self.free(last, |seq| names.base(seq, form))
    }

    /// Without the files of history, which have been removed.
    #[must_use]
    pub fn forgotten(&self) -> Self {
        Self { history: Vec::new(), ..self.clone() }
    }

    /// A file with the first number after `last` whose name is not taken. History may have taken
    /// it, where somebody else wrote the manifest.
    fn free(&self, last: u64, name_of: impl Fn(u64) -> Vec<u8>) -> AofFile {
        let mut seq = last + 1;
        while self.files().any(|file| file.name == name_of(seq)) {
            seq += 1;
        }
        AofFile { name: name_of(seq), seq }
    }

    /// What a file of this name and of so many bytes is, in the folder of the append-only file. An
    /// empty manifest, as where there is none, makes a `Stray` of whatever may hold data.
    pub fn role_of(&self, names: &AofNames, name: &[u8], size_bytes: u64) -> AofRole {
        if name == names.manifest() {
            return AofRole::Manifest;
        }
        if self.files().any(|file| file.name == name) {
            return AofRole::Listed;
        }
        if names.is_temporary(name) {
            return AofRole::Leftover;
        }
        match names.seq_of(name) {
            None => AofRole::Foreign,
            // An increment is named before anything is written to it.
            Some((_, false)) if size_bytes == 0 => AofRole::Leftover,
            Some((_, false)) => AofRole::Stray,
            // The base of a rewrite, whose data the chain holds as well.
            Some((_, true)) => {
                let is_next = [BaseForm::Rdb, BaseForm::Commands]
                    .iter()
                    .any(|&form| self.next_base(names, form).name == name);
                if is_next && !self.is_empty() { AofRole::Leftover } else { AofRole::Stray }
            }
        }
    }
}

/// Whether it names a file and no folder, to any system.
fn is_name(name: &[u8]) -> bool {
    let is_odd = |byte: &u8| matches!(byte, b'/' | b'\\' | 0);
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(is_odd)
}

/// Whether a name can stand as it is. Redis leaves `'` so as well, and then cannot read it back.
fn is_plain(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\'".contains(byte);
    !name.is_empty() && name.iter().all(is_plain)
}

fn trim(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| b" \t\r\n".contains(byte);
    let start = line.iter().position(|byte| !is_blank(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !is_blank(byte)).map_or(start, |end| end + 1);
    &line[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use BaseForm::{Commands, Rdb};

    const BASE: &str = "file appendonly.aof.1.base.rdb seq 1 type b\n";
    const INCREMENT: &str = "file appendonly.aof.1.incr.aof seq 1 type i\n";

    fn names() -> AofNames {
        AofNames::new("appendonly.aof")
    }

    fn read(text: &str) -> Manifest {
        Manifest::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// A manifest of lines that say what is not the same in all of them.
    fn of(lines: &[&str]) -> String {
        let line = |line: &&str| match line.split(' ').collect::<Vec<_>>()[..] {
            [kind, seq, end] => format!("file appendonly.aof{end} seq {seq} type {kind}\n"),
            _ => panic!("{line}"),
        };
        lines.iter().map(line).collect()
    }

    fn check(manifest: &Manifest, expect: &[&str]) {
        let text = String::from_utf8(manifest.text()).expect("nothing is odd");
        assert_eq!(text, of(expect));
        assert_eq!(read(&text), *manifest);
    }

    #[test]
    fn a_rewrite_goes_step_by_step() {
        let names = names();
        let fresh = Manifest::fresh(&names, Rdb);
        check(&fresh, &["b 1 .1.base.rdb", "i 1 .1.incr.aof"]);
        let opened = fresh.opened(&names);
        check(&opened, &["b 1 .1.base.rdb", "i 1 .1.incr.aof", "i 2 .2.incr.aof"]);
        let rebased = opened.rebased(&names, Commands, 2);
        assert_eq!(rebased.base, Some(opened.next_base(&names, Commands)));
        check(
            &rebased,
            &["b 2 .2.base.aof", "h 1 .1.incr.aof", "h 1 .1.base.rdb", "i 2 .2.incr.aof"],
        );
        check(&rebased.forgotten(), &["b 2 .2.base.aof", "i 2 .2.incr.aof"]);
        // History that was not forgotten stays behind what is newer.
        let again = rebased.opened(&names).rebased(&names, Rdb, 3);
        check(
            &again,
            &[
                "b 3 .3.base.rdb",
                "h 2 .2.incr.aof",
                "h 2 .2.base.aof",
                "h 1 .1.incr.aof",
                "h 1 .1.base.rdb",
                "i 3 .3.incr.aof",
            ],
        );
        let chain: Vec<u64> = again.chain().map(|file| file.seq).collect();
        assert_eq!(chain, [3, 3]);
    }

    #[test]
    fn a_rewrite_that_failed_leaves_an_increment() {
        let names = names();
        let twice = Manifest::fresh(&names, Rdb).opened(&names).opened(&names);
        let rebased = twice.rebased(&names, Rdb, 3).forgotten();
        check(&rebased, &["b 2 .2.base.rdb", "i 3 .3.incr.aof"]);
        // Another increment may have been opened since the snapshot began.
        let rebased = twice.opened(&names).rebased(&names, Rdb, 3).forgotten();
        check(&rebased, &["b 2 .2.base.rdb", "i 3 .3.incr.aof", "i 4 .4.incr.aof"]);
    }

    #[test]
    fn an_append_only_file_may_begin_without_a_base() {
        let names = names();
        let first = Manifest::default().opened(&names);
        check(&first, &["i 1 .1.incr.aof"]);
        check(&first.rebased(&names, Rdb, 1), &["b 1 .1.base.rdb", "i 1 .1.incr.aof"]);
        assert_eq!(first.role_of(&names, &names.base(1, Rdb), 99), AofRole::Leftover);
    }

    #[test]
    fn one_file_becomes_a_base() {
        let names = names();
        let upgraded = Manifest::upgraded(&names);
        check(&upgraded, &["b 1 "]);
        assert!(upgraded.is_upgrade(&names));
        let opened = upgraded.opened(&names);
        assert!(!opened.is_upgrade(&names) && !Manifest::fresh(&names, Rdb).is_upgrade(&names));
        let rebased = opened.opened(&names).rebased(&names, Rdb, 2).forgotten();
        check(&rebased, &["b 2 .2.base.rdb", "i 2 .2.incr.aof"]);
    }

    #[test]
    fn names_that_are_taken_are_left_out() {
        let names = names();
        let manifest = read(&of(&["h 1 .1.incr.aof", "h 7 .1.base.rdb", "h 2 .2.base.aof"]));
        check(&manifest.opened(&names).forgotten(), &["i 2 .2.incr.aof"]);
        assert_eq!(manifest.next_base(&names, Rdb).seq, 2);
        assert_eq!(manifest.next_base(&names, Commands).seq, 1);
    }

    #[test]
    fn odd_names_are_quoted() {
        for stem in ["a b", "a\"b", "\u{e4}", "a'b", "\u{1}\t\n\u{7f}", "#", "x=y{};$%&"] {
            let manifest = Manifest::fresh(&AofNames::new(stem), Rdb).opened(&AofNames::new(stem));
            assert_eq!(Manifest::parse(&manifest.text()), Ok(manifest.clone()), "{stem}");
            let text = String::from_utf8(manifest.text()).expect("it is ASCII");
            let is_quoted = !["#", "x=y{};$%&"].contains(&stem);
            assert_eq!(text.starts_with("file \""), is_quoted, "{text}");
            assert_eq!(text.lines().count(), 3, "{text}");
        }
        let manifest = Manifest::fresh(&AofNames::new("a b\u{e4}"), Rdb);
        assert!(manifest.text().starts_with(b"file \"a b\\xc3\\xa4.1.base.rdb\" seq 1 type b\n"));
    }

    #[test]
    fn manifests_are_read_as_redis_reads_them() {
        let whole = Manifest::fresh(&names(), Rdb);
        let (base, increment) = (BASE, INCREMENT);
        for text in [
            format!("{base}{increment}"),
            format!("{increment}{base}"),
            format!("#\n{base}# seq\n{increment}#no end"),
            format!("{base}{increment}").replace('\n', "\r\n"),
            format!("  {base}\t{increment}"),
            format!("{base}{increment}").replace("file", "FiLe").replace("type", "TYPE"),
            format!("{base}{increment}").replace(" type", " x \"y z\" type"),
            format!("{base}{increment}").replace("file", "file x seq 5 type i file"),
            format!("{base}{increment}").replace("type b", "type bxx"),
            format!("#{}{base}{increment}", "x".repeat(1023)),
            format!("{base}{}y {}\n", increment.replace('\n', " "), "y".repeat(1024 - 47)),
        ] {
            assert_eq!(read(&text), whole, "{text}");
        }
        assert!(read("#\n").is_empty());
        assert_eq!(read("file a seq 3 type h\nfile a seq 3 type h\n").history.len(), 2);
    }

    /// What follows a base is refused: with these words, in this line if it is one.
    fn check_refused(after: &str, line: Option<usize>, what: &str) {
        let error = Manifest::parse(format!("{BASE}{after}").as_bytes()).expect_err(after);
        assert_eq!((error.line.as_ref().map(|line| line.0), error.what), (line, what), "{after}");
    }

    #[test]
    fn what_is_no_manifest_is_refused_in_redis_s_words() {
        check_refused("\n", Some(2), FORMAT);
        check_refused(" \t\n", Some(2), FORMAT);
        check_refused("file a seq 1 type\n", Some(2), FORMAT);
        check_refused("file a seq 1\n", Some(2), FORMAT);
        check_refused("file \"a seq 1 type i\n", Some(2), FORMAT);
        check_refused("x a seq 1 type i\n", Some(2), FORMAT);
        check_refused("file a x 1 type i\n", Some(2), FORMAT);
        check_refused("file a seq 1 x i\n", Some(2), FORMAT);
        check_refused("file a seq 1 type \"\"\n", Some(2), FORMAT);
        check_refused("file a seq 0 type i\n", Some(2), FORMAT);
        check_refused("file a seq x type i\n", Some(2), FORMAT);
        check_refused("file a seq 1 seq 0 type i\n", Some(2), FORMAT);
        check_refused("file a seq -1 type h\n", Some(2), FORMAT);
        check_refused("#\n  #x y z a b c\n", Some(3), FORMAT);
        check_refused(&format!("#{}\n", "x".repeat(1023)), Some(3), FORMAT);
        check_refused("file a/b seq 1 type i\n", Some(2), PATH);
        check_refused("file a\\b seq x type i\n", Some(2), PATH);
        check_refused("file .. seq 1 type i\n", Some(2), PATH);
        check_refused("file \"\" seq 1 type i\n", Some(2), PATH);
        check_refused("file \"a\\x00\" seq 1 type i\n", Some(2), PATH);
        check_refused(BASE, Some(2), SECOND_BASE);
        check_refused(&INCREMENT.repeat(2), Some(3), NOT_ASCENDING);
        check_refused("file a seq 2 type i\nfile b seq 1 type i\n", Some(3), NOT_ASCENDING);
        check_refused("file a seq -1 type i\n", Some(2), NOT_ASCENDING);
        check_refused("file a seq 1 type I\n", Some(2), UNKNOWN_TYPE);
        check_refused("file a seq 1 type i", None, TOO_LONG);
        check_refused("file a\0 seq 1 type i\n", None, TOO_LONG);
        check_refused("file a seq 1 type i\0", None, TOO_LONG);
        check_refused(&format!("file a seq 1 type i x {}\n", "y".repeat(1024)), None, TOO_LONG);
        let error = Manifest::parse(b"").expect_err("it is empty");
        assert_eq!(error.to_string(), "Found an empty AOF manifest");
        let error = Manifest::parse(b"#\n file a seq 1 type z \n").expect_err("there is no z");
        assert_eq!(
            error.to_string(),
            "Reading the manifest file, at line 2\n>>> 'file a seq 1 type z'\nUnknown AOF file type"
        );
    }

    #[test]
    fn a_file_in_the_folder_is_what_its_name_says() {
        use AofRole::{Foreign, Leftover, Listed, Manifest as Text, Stray};
        let names = names();
        let known = Manifest::fresh(&names, Rdb).opened(&names).rebased(&names, Rdb, 2);
        for (name, size_bytes, expect, without) in [
            ("appendonly.aof.manifest", 9, Text, Text),
            ("appendonly.aof.2.base.rdb", 9, Listed, Stray),
            ("appendonly.aof.1.base.rdb", 9, Listed, Stray),
            ("appendonly.aof.2.incr.aof", 9, Listed, Stray),
            ("appendonly.aof.2.incr.aof", 0, Listed, Leftover),
            ("appendonly.aof.3.base.rdb", 9, Leftover, Stray),
            ("appendonly.aof.3.base.aof", 9, Leftover, Stray),
            ("appendonly.aof.4.base.rdb", 9, Stray, Stray),
            ("appendonly.aof.3.incr.aof", 0, Leftover, Leftover),
            ("appendonly.aof.3.incr.aof", 9, Stray, Stray),
            ("temp-appendonly.aof.manifest", 9, Leftover, Leftover),
            ("temp-appendonly.aof.incr", 9, Leftover, Leftover),
            ("temp-rewriteaof-bg-17.aof", 9, Leftover, Leftover),
            ("temp-rewriteaof-17.aof", 9, Leftover, Leftover),
            ("temp-rewriteaof-bg-.aof", 9, Foreign, Foreign),
            ("temp-17.rdb", 9, Foreign, Foreign),
            ("appendonly.aof", 9, Foreign, Foreign),
            ("appendonly.aof.x.incr.aof", 9, Foreign, Foreign),
            ("appendonly.aof.3.incr.aof.broken", 9, Foreign, Foreign),
            ("other.3.incr.aof", 9, Foreign, Foreign),
        ] {
            let found = known.role_of(&names, name.as_bytes(), size_bytes);
            assert_eq!(found, expect, "{name} of {size_bytes}");
            let found = Manifest::default().role_of(&names, name.as_bytes(), size_bytes);
            assert_eq!(found, without, "{name} of {size_bytes}, without a manifest");
        }
        let own = names.temporary_base(17, 3);
        assert_eq!(known.role_of(&names, &own, 9), Leftover);
        assert_eq!(known.role_of(&names, &names.temporary_manifest(), 9), Leftover);
    }
}
