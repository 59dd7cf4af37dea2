//! What holds for functions: how long one may be, and which have to say what they do.
//!
//! They are found by their indentation, which `cargo fmt --check` guards.

use super::{Source, find_word, report, sources};

/// A function fits on a screen.
const LINES_MAX: usize = 70;

/// Functions over LINES_MAX that read better in one piece, each with its reason.
const LONG: &[(&str, &str, &str)] = &[
    ("engine/dispatch.rs", "call", "the account of a command, in the order in which it is kept"),
    ("fuzz/fuzz_targets/hoist/program.rs", "expression", "one arm per kind of expression"),
    ("fuzz/fuzz_targets/hoist/program.rs", "statement", "one arm per kind of statement"),
    ("tests/sim.rs", "request", "one arm per kind of request"),
];

struct Function<'a> {
    name: &'a str,
    /// Of its first line, from 1.
    number: usize,
    lines: usize,
    /// `pub`, `pub(super)`, ...: more than its own module sees it.
    is_public: bool,
    /// From `fn` to the brace, in one line.
    signature: String,
    body: String,
    is_documented: bool,
}

impl Function<'_> {
    fn returns(&self) -> &str {
        self.signature.rsplit_once("-> ").map_or("", |(_, result)| result)
    }
}

/// The name of the function that begins in a line, and whether it is public.
fn head(line: &str) -> Option<(&str, bool)> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let words = ["pub", "const", "unsafe", "async", "extern", "\"C\"", "\"C-unwind\""];
    let is_head = |word: &str| words.contains(&word) || word.starts_with("pub(");
    let mut before = before.split_whitespace().peekable();
    let is_public = before.peek().is_some_and(|word| word.starts_with("pub"));
    let is_name = after.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (is_name && before.all(is_head)).then_some((&after[..end], is_public))
}

/// All functions with a body, methods and those of tests among them.
fn functions(source: &Source) -> Vec<Function<'_>> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((name, is_public)) = head(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_end = |line: &&str| {
            let own = line.strip_prefix(indent).is_some_and(|rest| !rest.starts_with([' ', ')']));
            own && line.trim_end().ends_with(['}', ';'])
        };
        let Some(len) = lines[index..].iter().position(is_end) else { continue };
        let text = lines[index..=index + len].iter().map(|line| line.trim()).collect::<Vec<_>>();
        let text = text.join(" ");
        let Some((signature, body)) = text.split_once('{') else { continue };
        let above = lines[..index].iter().rev();
        let above = above.map(|line| line.trim()).find(|line| !line.starts_with("#["));
        found.push(Function {
            name,
            number: index + 1,
            lines: len + 1,
            is_public,
            signature: signature.to_owned(),
            body: body.to_owned(),
            is_documented: above.is_some_and(|line| line.starts_with("///")),
        });
    }
    found
}

#[test]
fn functions_fit_on_a_screen() {
    let mut complaints = Vec::new();
    let mut unused: Vec<_> = LONG.iter().map(|(path, name, _)| (*path, *name)).collect();
    for source in ["src", "tests", "benches", "fuzz"].into_iter().flat_map(sources) {
        for Function { name, number, lines, .. } in functions(&source) {
            if lines > LINES_MAX {
                match unused.iter().position(|entry| *entry == (&*source.path, name)) {
                    Some(index) => drop(unused.swap_remove(index)),
                    None => {
                        complaints.push(format!("{}:{number}: {name}: {lines} lines", source.path));
                    }
                }
            }
        }
    }
    let is_short = |(path, name)| format!("{path}: {name} is short or absent, but listed as long");
    complaints.extend(unused.into_iter().map(is_short));
    report(complaints);
}

/// What ends the process or the request where it does not hold. `debug_assert` is for tests.
const PANICS: &[&str] = &[
    "panic!(",
    "assert!(",
    "assert_eq!(",
    "assert_ne!(",
    "unreachable!(",
    ".unwrap()",
    ".expect(",
];

/// How a name ends, or all of it, whose number has a unit or is a bound.
const UNITS: &[&str] =
    &["ns", "us", "ms", "s", "micros", "millis", "seconds", "kb", "bytes", "percent", "max"];

const NUMBERS: &[&str] = &["u8", "u16", "u32", "u64", "u128", "usize", "i32", "i64", "f64"];

fn has_unit(name: &str) -> bool {
    name.rsplit('_').next().is_some_and(|last| UNITS.contains(&last))
}

/// Why a function has to say what its signature does not.
fn why_documented(function: &Function) -> Option<&'static str> {
    let returns = function.returns();
    if ["Result", "Option"].iter().any(|word| find_word(returns, word).is_some()) {
        return Some("what an Err or a None means");
    }
    let arguments = function.signature.split_once('(').map_or("", |(_, after)| after);
    let takes_unit = arguments.split([',', ')']).any(|argument| {
        let argument = argument.trim().split_once(": ");
        argument.is_some_and(|(name, kind)| has_unit(name) && NUMBERS.contains(&kind))
    });
    let gives_unit = has_unit(function.name) && NUMBERS.contains(&function.returns().trim());
    if takes_unit || gives_unit {
        return Some("units and bounds");
    }
    let debug = function.body.replace("debug_assert", "");
    PANICS.iter().any(|panic| debug.contains(panic)).then_some("when it panics")
}

/// A command's handler: its row says what it answers and refuses.
fn is_handler(function: &Function) -> bool {
    function.signature.contains("cx: &mut Ctx") && function.returns().trim() == "Result"
}

#[test]
fn what_a_signature_does_not_say_a_comment_says() {
    let mut complaints = Vec::new();
    for source in sources("src") {
        let tests = source.code().find(|(_, line)| line.starts_with("mod tests {"));
        let end = tests.map_or(usize::MAX, |(number, _)| number);
        for function in functions(&source) {
            let is_bare = function.is_public && !function.is_documented && function.number < end;
            if is_bare
                && !["len", "new"].contains(&function.name)
                && !is_handler(&function)
                && let Some(what) = why_documented(&function)
            {
                let Function { number, name, .. } = function;
                complaints.push(format!("{}:{number}: {name} does not say {what}", source.path));
            }
        }
    }
    report(complaints);
}

#[test]
fn functions_are_found() {
    let text = "\
impl A {
    /// Says it.
    #[inline]
    pub(super) fn told(&self) -> Option<u32> {
        self.0
    }

    pub const fn bare(
        self,
        wait_ms: u64,
    ) -> u64 {
        assert!(wait_ms > 0);
        1
    }

    fn of_trait(&self);
}
";
    let source = Source { path: "a.rs".to_owned(), text: text.to_owned() };
    let [told, bare] = &functions(&source)[..] else { panic!("two have a body") };
    assert_eq!((told.name, told.number, told.lines), ("told", 4, 3));
    assert!(told.is_public && told.is_documented);
    assert_eq!(why_documented(told), Some("what an Err or a None means"));
    assert_eq!((bare.name, bare.number, bare.lines), ("bare", 8, 7));
    assert!(bare.is_public && !bare.is_documented);
    assert_eq!(why_documented(bare), Some("units and bounds"));
}
