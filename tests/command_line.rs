//! The program's command line, as far as no server starts: what it says where, and its exit status.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs the program and looks for `expect` in what it wrote to standard output (status 0), or to
/// standard error (status 1). The other stream stays empty.
fn check(args: &[&str], stdin: &str, status: i32, expect: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_toril"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It may end without reading.
    let _ = child.stdin.take().expect("it is piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("the program ends");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("it is UTF-8"));
    let (told, silent) = if status == 0 { (stdout, stderr) } else { (stderr, stdout) };
    assert_eq!(output.status.code(), Some(status), "{args:?}: {told}{silent}");
    assert!(told.contains(expect), "{args:?}: {told}");
    assert_eq!(silent, "", "{args:?}");
}

#[test]
fn it_says_what_it_is() {
    check(&["--version"], "", 0, "Redis server v=7.4.0 (toril ");
    check(&["-v"], "", 0, "Redis server v=7.4.0 (toril ");
    check(&["--help"], "", 0, "Usage: toril ");
    check(&["--check-system"], "", 1, "toril has no --check-system");
}

#[test]
fn it_says_what_is_wrong() {
    check(&["--nope", "1"], "", 1, "at line 2\n>>> 'nope \"1\"'\nBad directive");
    check(&["--port", "1", "--maxmemory", "zz"], "", 1, "at line 3\n>>> 'maxmemory \"zz\"'\n");
    check(&["--cluster-enabled", "yes"], "", 1, "only 'no' can be served");
    check(&["/no/such.conf"], "", 1, "can't open config file '/no/such.conf': No such file");
    check(&["help"], "", 0, "Usage: toril ");
    check(&["handover"], "", 1, "subcommand 'handover'. Is `toril hand-over` meant?");
    check(&["hand-ovre"], "", 1, "Is `toril hand-over` meant?");
    check(&["pign", "x"], "", 1, "Is `toril ping` meant?");
    check(&["quit"], "", 1, "'quit'. The subcommands are exec, hand-over, help, ping;");
    check(&["-"], "hz 10\nnope 1\n", 1, "at line 2\n>>> 'nope 1'\n");
    check(&["-", "--timeout", "x"], "hz 10", 1, "at line 2\n>>> 'timeout \"x\"'\n");
    check(&["-"], "include /no/such.conf\n", 1, "can't open config file '/no/such.conf'");
}

#[test]
fn files_are_read_in_order() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let write = |name: &str, text: &str| {
        let path = format!("{folder}/{name}");
        std::fs::write(&path, text).expect("the folder for tests can be written");
        path
    };
    let first = write("command-line-1.conf", "cluster-enabled yes");
    write("command-line-2.conf", "cluster-enabled no\nhz x");
    let pattern = format!("include {folder}/command-line-?.conf\n");
    check(&["-"], &pattern, 1, "at line 2\n>>> 'hz x'\n");
    let none = format!("include {folder}/none-?.conf\nhz x\n");
    check(&["-"], &none, 1, "at line 2\n>>> 'hz x'\n");
    check(&[&first], "", 1, "at line 1\n>>> 'cluster-enabled yes'\n");
    check(&[&first, "--timeout", "x"], "", 1, "at line 3\n>>> 'timeout \"x\"'\n");
    check(&[&first, "-"], "nope", 1, "at line 2\n>>> 'nope'\n");
}
