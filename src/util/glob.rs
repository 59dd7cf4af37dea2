//! Glob patterns over bytes: `*` any run, `?` any byte, `[a-z]` and `[^a-z]` one of a class, `\x`
//! the byte x.
//!
//! Every part but `*` takes exactly one byte. So when a match fails, only the last `*` may take
//! more: giving an earlier one more would leave less for the same rest. One position to return to
//! is enough, and the work is bounded by the product of the two lengths.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Sensitive,
    Ignored,
}

/// C servers guard their stack: what stands behind more runs of `*` than these matches nothing.
const STARS_MAX: usize = 1_000;

/// Whether the whole text matches. An empty text matches the empty pattern only, not even `*`.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut taken) = (0, 0);
    // Behind the last `*`, and the bytes of text taken when it has taken what it must.
    let mut retry = None;
    let mut stars = 0;
    while taken < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += pattern[at..].iter().take_while(|&&byte| byte == b'*').count();
            if at == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > STARS_MAX {
                return false;
            }
            retry = Some((at, taken));
        } else if let Some(len) = match_one(&pattern[at..], text[taken], case) {
            at += len;
            taken += 1;
        } else if let Some((star_at, star_taken)) = &mut retry {
            *star_taken += 1;
            (at, taken) = (*star_at, *star_taken);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// The length of the pattern's first part, if that takes the byte.
fn match_one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let (is_match, len) = match *pattern {
        [] => return None,
        [b'?', ..] => (true, 1),
        [b'[', ref class @ ..] => {
            let (is_match, len) = match_class(class, byte, case);
            (is_match, 1 + len)
        }
        [b'\\', literal, ..] => (fold(literal, case) == fold(byte, case), 2),
        [literal, ..] => (fold(literal, case) == fold(byte, case), 1),
    };
    is_match.then_some(len)
}

/// Whether the byte is in the class, and the length of what stands behind the `[`. A class that is
/// never closed ends with the pattern; an escaped byte in it heeds case in any case.
fn match_class(class: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let is_negated = class.first() == Some(&b'^');
    let mut at = usize::from(is_negated);
    let mut is_member = false;
    loop {
        let (is_match, len) = match class[at..] {
            [b'\\', escaped, ..] => (escaped == byte, 2),
            [b']', ..] => return (is_member != is_negated, at + 1),
            [] => return (is_member != is_negated, at),
            // Even a `]` can end a range.
            [first, b'-', last, ..] => {
                let (low, high) = (first.min(last), first.max(last));
                ((fold(low, case)..=fold(high, case)).contains(&fold(byte, case)), 3)
            }
            [member, ..] => (fold(member, case) == fold(byte, case), 1),
        };
        is_member |= is_match;
        at += len;
    }
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Ignored => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from the first oracle: names of keys and of settings.
    #[test]
    fn patterns_match() {
        fn check(pattern: &str, yes: &[&str], no: &[&str]) {
            for text in yes {
                assert!(
                    matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive),
                    "{pattern} {text}"
                );
            }
            for text in no {
                assert!(
                    !matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive),
                    "{pattern} {text}"
                );
            }
        }
        check("", &[""], &["a"]);
        check("*", &["a", "ab"], &[""]);
        check("a*", &["a", "ab"], &["ba", "A"]);
        check("a**b**", &["ab", "a-b-", "aab"], &["a", "ba"]);
        check("*ab*ab", &["abab", "xabxabab"], &["ab", "aba"]);
        check("a?c", &["abc", "a?c"], &["ac", "abbc"]);
        check("[a-c]x", &["ax", "cx"], &["dx", "-x", "x"]);
        check("[c-a]", &["b"], &["d"]);
        check("[^a-c]", &["d", "^"], &["a", ""]);
        check("[a\\]-]", &["a", "]", "-"], &["\\", "b"]);
        check("[\\a-c]", &["a", "-", "c"], &["b"]);
        check("[abc", &["a", "c"], &["d", "["]);
        check("[^", &["a", "^"], &[""]);
        check("[", &[], &["[", ""]);
        check("[]", &[], &["]", "[]"]);
        check("[X-]", &["Y", "]"], &["-"]);
        check("\\*\\a", &["*a"], &["xa", "\\*a"]);
        check("a\\", &["a\\"], &["a"]);
    }

    #[test]
    fn case_is_ignored_when_asked() {
        let check = |pattern: &str, text: &str, expect| {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), Case::Ignored), expect);
        };
        check("MAX*", "maxmemory", true);
        check("[X-Z]", "y", true);
        check("[Q]", "q", true);
        // An escaped byte heeds case; a range is put in order before its case is folded.
        check("[\\Q]", "q", false);
        check("[Z-a]", "m", false);
    }

    /// Recorded from the first oracle.
    #[test]
    fn what_stands_behind_too_many_stars_matches_nothing() {
        let text = "a".repeat(3_000);
        for (pattern, expect) in [
            ("*a".repeat(1_000), true),
            ("*a".repeat(1_000) + "*", true),
            ("*a".repeat(1_001), false),
            ("a*".repeat(1_001), true),
            ("a*".repeat(1_002), false),
            ("*".repeat(2_000) + "a", true),
            ("**a".repeat(1_000), true),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive);
            assert_eq!(found, expect, "{} {}", &pattern[..3], pattern.len());
        }
    }

    #[test]
    fn work_is_bounded() {
        let pattern = "*a".repeat(STARS_MAX) + "b";
        let text = "a".repeat(20_000);
        assert!(!matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive));
    }
}
