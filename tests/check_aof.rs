//! What redis-check-aof says of manifests and of increments, beside what is read of them here.
//!
//! The checker is the server's program under another name. It reads as the server does, and is
//! quicker to ask.

mod common;

use common::tcp;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use toril::persist::{IncrementFlaw, IncrementReader, Manifest};
use toril::proto::request;
use toril::util::rng::Rng;

/// Servers whose checkers are asked, and what those are called.
const ORACLES: [(&str, &str); 2] =
    [("redis-7.4", "redis-check-aof"), ("valkey", "valkey-check-aof")];

const BASE: &str = "file appendonly.aof.1.base.rdb seq 1 type b\n";

/// A checker, in a folder of its own, where the files lie that it is to look at.
struct Checker {
    folder: PathBuf,
    launcher: PathBuf,
}

impl Checker {
    /// None, with a word about it, if the server is not installed.
    fn new(server: &str, name: &str, test: &str) -> Option<Self> {
        let Some(launcher) = tcp::oracle(server) else {
            eprintln!("{server}: NOT INSTALLED. tests/oracles.sh installs it");
            return None;
        };
        let folder = format!("toril-{test}-{server}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("the folder can be made");
        // The launcher says with what surroundings the program runs: that stays as it is.
        let text = fs::read_to_string(&launcher).expect("the launcher is a script");
        let program = text.rsplit_once("\" \"$@\"").and_then(|(text, _)| text.rsplit_once('"'));
        let (_, program) = program.expect("the launcher names a program");
        let link = folder.join(name);
        symlink(program, &link).expect("the link can be made");
        let text = text.replace(&format!("\"{program}\""), &format!("\"{}\"", link.display()));
        let launcher = folder.join("launcher");
        fs::write(&launcher, text).expect("the launcher can be written");
        fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Some(Self { folder, launcher })
    }

    /// All that it says of a file with these bytes.
    fn ask(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.join(name);
        fs::write(&path, bytes).expect("the file can be written");
        let output = Command::new(&self.launcher).arg(&path).output().expect("it can be started");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn checkers(test: &str) -> Vec<Checker> {
    let found = ORACLES.iter().map(|(server, name)| Checker::new(server, name, test));
    found.collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// Why the checker refuses a manifest: as lines, without time and process.
fn refusal(said: &str) -> Option<String> {
    let (_, lines) = said.split_once("*** FATAL AOF MANIFEST FILE ERROR ***")?;
    let lines = lines.lines().filter(|line| !line.is_empty());
    let lines = lines.map(|line| line.split_once(" # ").map_or(line, |(_, text)| text));
    Some(lines.collect::<Vec<_>>().join("\n"))
}

fn compare_manifest(checkers: &[Checker], after: &str) {
    let text = format!("{BASE}{after}");
    let ours = Manifest::parse(text.as_bytes()).err().map(|error| error.to_string());
    for checker in checkers {
        let said = checker.ask("appendonly.aof.manifest", text.as_bytes());
        assert!(said.contains("Multi Part AOF"), "it is taken for something else: {said}");
        assert_eq!(ours, refusal(&said), "{}: {text:?}", checker.launcher.display());
    }
}

#[test]
fn manifests_are_refused_as_the_checkers_refuse_them() {
    let checkers = checkers("check-manifest");
    let long = |len: usize| format!("file a seq 1 type i x {}\n", "y".repeat(len - 23));
    for after in [
        "",
        "\n",
        "file a seq 1 type i",
        "file a seq 1 type i\r\n",
        "file a seq 1 type \"\"\n",
        "file \"a b\" seq 1 type i\n",
        "file 'a seq 1 type i\n",
        "file a\\b seq 1 type i\n",
        "file a seq -1 type i\n",
        "file a seq 2 type i\nfile b seq 2 type i\n",
        "file a seq 2 type i\nfile b seq 1 type i\n",
        "file a seq 2 type h\nfile b seq 1 type h\n",
        "file a seq 1 type b\n",
        "file a seq 1 type I\n",
        "file a\0 seq 1 type i\n",
        "#\n #x y z a b c\n",
        "#",
        &long(1024),
        &long(1025),
        &format!("#{}\n", "x".repeat(1022)),
        &format!("#{}\n", "x".repeat(1023)),
    ] {
        compare_manifest(&checkers, after);
    }
    // Words in any order. A number that is none and a file without a name are left out, which they
    // find later or not at all.
    let words = ["file", "seq", "type", "a", "b", "h", "i", "a/b", "\"a b\"", "\"", "#", "0", "2"];
    let mut rng = Rng::from_seed(42);
    let mut pick = |count| rng.below(count);
    for _ in 0..150 {
        let mut after = String::new();
        for _ in 0..1 + pick(3) {
            let mut line = vec!["file", "c", "seq", ["1", "2", "3"][pick(3)], "type", "i"];
            match pick(6) {
                0 => line[5] = "h",
                1 => line.truncate(pick(6)),
                2 => line.extend(["x"].repeat(pick(3))),
                3 | 4 => line[pick(6)] = words[pick(words.len())],
                _ => {}
            }
            after += &line.join([" ", "\t", "  "][pick(3)]);
            after += ["\n", "\n", "\r\n", " \n", "\n#\n"][pick(5)];
        }
        compare_manifest(&checkers, &after);
    }
}

fn sample() -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in [
        "SELECT 0",
        "SET k v",
        "MULTI",
        "#TS:1700000001",
        "SET k \r\n*1\r\n$4\r\nEXEC\r\n",
        "SELECT 11",
        "set  0123456789",
        "EXEC",
        "multi",
        "exec",
        "DEL k",
    ] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        match line.strip_prefix('#') {
            Some(_) => bytes.extend(format!("{line}\r\n").into_bytes()),
            None => request::write(&words, &mut bytes),
        }
    }
    bytes
}

fn read(bytes: &[u8]) -> Option<IncrementFlaw> {
    let mut reader = IncrementReader::new(0);
    reader.feed(bytes);
    while reader.next_unit().is_some() {}
    reader.flaw()
}

fn compare_increment(checker: &Checker, bytes: &[u8]) {
    let said = checker.ask("appendonly.aof.1.incr.aof", bytes);
    let number = |name: &str| -> Option<u64> {
        let (_, rest) = said.split_once(name)?;
        rest.split([',', '\n']).next()?.parse().ok()
    };
    let theirs = match (said.contains("is valid") || said.contains("is empty"), number("ok_up_to="))
    {
        (true, _) => None,
        (false, Some(whole_bytes)) => Some((whole_bytes, number("diff=").expect("it says both"))),
        (false, None) => panic!("{}: {said}", bytes.escape_ascii()),
    };
    let ours = read(bytes).map(|flaw| (flaw.whole_bytes, flaw.lost_bytes()));
    let launcher = checker.launcher.display();
    assert_eq!(ours, theirs, "{launcher}: {}: {said}", bytes.escape_ascii());
}

#[test]
fn increments_are_whole_up_to_where_the_checkers_say() {
    for checker in checkers("check-increment") {
        let bytes = sample();
        for len in 0..=bytes.len() {
            compare_increment(&checker, &bytes[..len]);
        }
        let mut rng = Rng::from_seed(23);
        for _ in 0..150 {
            let mut bytes = bytes.clone();
            // A blank or a sign before a number is nothing to them; nor is a command of no words.
            let at = rng.below(bytes.len());
            bytes[at] = *b"\0x\r\n9#*$".get(rng.below(8)).expect("there are eight");
            match rng.below(3) {
                0 => bytes.extend([0; 100]),
                1 => bytes.truncate(at + rng.below(40)),
                _ => {}
            }
            if !has_open_note(&bytes) {
                compare_increment(&checker, &bytes);
            }
        }
    }
}

/// Whether a line that begins with `#` stands outside of a transaction: the checker counts it among
/// what is whole, its end or not. Here a file is cut behind a command, as Redis itself does it.
fn has_open_note(bytes: &[u8]) -> bool {
    let Some(flaw) = read(bytes) else { return false };
    bytes[flaw.whole_bytes as usize..].starts_with(b"#")
}

#[test]
fn an_increment_of_a_running_server_is_read() {
    for (server, _) in ORACLES {
        let Some(launcher) = tcp::oracle(server) else { continue };
        let folder = format!("toril-check-written-{server}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("the folder can be made");
        let written = written_by(&launcher, &folder);
        let _ = fs::remove_dir_all(&folder);
        let (manifest, increment) = written;
        let manifest = Manifest::parse(&manifest).expect("a server wrote it");
        let names = toril::persist::AofNames::new("odd name");
        assert_eq!(manifest, Manifest::fresh(&names, toril::persist::BaseForm::Rdb));
        let mut reader = IncrementReader::new(0);
        let mut seen = Vec::new();
        for block in increment.chunks(100) {
            reader.feed(block);
            while let Some(unit) = reader.next_unit() {
                let mut words = Vec::new();
                let each = unit.try_each(|command| {
                    words.push(String::from_utf8_lossy(&command.join(&b' ')).into_owned());
                    Ok::<(), ()>(())
                });
                assert_eq!(each, Ok(()));
                seen.push((unit.is_transaction, words.join("|")));
            }
        }
        assert_eq!(reader.flaw(), None);
        let expect = [
            (false, "SELECT 0"),
            (false, "SET k v"),
            (true, "SET a 1|SELECT 3|SET b 2"),
            (true, "SET c 1|SET d 2"),
        ];
        assert_eq!(seen, expect.map(|(is, text)| (is, text.to_owned())), "{server}");
    }
}

/// The manifest, and the increment with the times in it, after some commands.
fn written_by(launcher: &Path, folder: &Path) -> (Vec<u8>, Vec<u8>) {
    // Options of a launcher come behind those that every test gives, and count.
    let own = folder.join("launcher");
    let text = format!(
        "#!/bin/sh\nexec '{}' \"$@\" --appendonly yes --dir '{}' --appendfilename 'odd name' \
         --aof-timestamp-enabled yes\n",
        launcher.display(),
        folder.display(),
    );
    fs::write(&own, text).expect("the launcher can be written");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut peer = common::peer::Peer::start("with a file", &own);
    let script = b"redis.call('SET', 'c', 1) redis.call('SET', 'd', 2)";
    let requests: [&[&[u8]]; 7] = [
        &[b"SET", b"k", b"v"],
        &[b"MULTI"],
        &[b"SET", b"a", b"1"],
        &[b"SELECT", b"3"],
        &[b"SET", b"b", b"2"],
        &[b"EXEC"],
        &[b"EVAL", script, b"0"],
    ];
    for request in requests {
        peer.ask(request);
    }
    drop(peer);
    let files = folder.join("appendonlydir");
    let read = |name: &str| fs::read(files.join(name)).expect("the server has written it");
    let increment = read("odd name.1.incr.aof");
    assert!(increment.starts_with(b"#TS:"), "{}", increment.escape_ascii());
    (read("odd name.manifest"), increment)
}
