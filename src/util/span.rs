//! Spans of time as people write and read them: `1h30m`, `5 h 16 min`.

/// The units of a span, largest first: as they are written, as they are read, and their
/// milliseconds.
const UNITS: &[(&str, &str, u64)] = &[
    ("d", "d", 86_400_000),
    ("h", "h", 3_600_000),
    ("m", "min", 60_000),
    ("s", "s", 1_000),
    ("ms", "ms", 1),
];

/// Reads `250ms`, `90s`, `15m`, `2h`, `7d`, `1h30m` or a bare count of milliseconds. The largest
/// unit stands first and none twice. None for anything else, or beyond 64 bits.
pub fn parse_ms(text: &str) -> Option<u64> {
    let is_bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_bare {
        return text.parse().ok();
    }
    let (mut rest, mut units, mut total) = (text, UNITS, 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + letters];
        let at = units.iter().position(|(written, ..)| *written == unit)?;
        total = total.checked_add(count.checked_mul(units[at].2)?)?;
        (rest, units) = (&rest[digits + letters..], &units[at + 1..]);
    }
    (!text.is_empty()).then_some(total)
}

/// A span as a number and its largest unit: `468`, `ms`; `3.1`, `s`.
pub fn figure(ms: u64) -> (String, &'static str) {
    let found = UNITS.iter().find(|(.., size)| ms >= *size && *size > 1);
    let Some(&(_, unit, size)) = found else { return (ms.to_string(), "ms") };
    let tenths = ms * 10 / size;
    let told = match tenths {
        100.. => (tenths / 10).to_string(),
        _ => format!("{}.{}", tenths / 10, tenths % 10),
    };
    (told, unit)
}

/// The two largest units that say something: `2 d`, `5 h 16 min`; seconds alone with a tenth, `5.0
/// s`, and what is shorter as `250 ms`.
pub fn text(ms: u64) -> String {
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    if ms < 60_000 {
        return format!("{}.{} s", ms / 1_000, ms / 100 % 10);
    }
    let mut parts = Vec::new();
    let mut rest = ms;
    for &(_, read, size) in UNITS {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{} {read}", rest / size));
        }
        rest %= size;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(parse_ms(text), expect, "{text}");
        check("250ms", Some(250));
        check("90s", Some(90_000));
        check("15m", Some(900_000));
        check("2h", Some(7_200_000));
        check("7d", Some(604_800_000));
        check("1h30m", Some(5_400_000));
        check("1d2h3m4s5ms", Some(93_784_005));
        check("1500", Some(1_500));
        check("0", Some(0));
        for refused in ["", "h", "1", "1x", "30m1h", "1h1h", "1.5h", "-1s", "1h30", "1 h", "1hä"] {
            check(refused, if refused == "1" { Some(1) } else { None });
        }
        check("18446744073709551615", Some(u64::MAX));
        check("18446744073709551616", None);
        check("300000000000d", None);
    }

    #[test]
    fn spans_are_told() {
        let check = |ms: u64, expect: &str| assert_eq!(text(ms), expect);
        check(250, "250 ms");
        check(5_000, "5.0 s");
        check(5_240, "5.2 s");
        check(60_000, "1 min");
        check(18_960_000, "5 h 16 min");
        check(172_800_000, "2 d");
        check(172_860_000, "2 d 1 min");
        check(93_784_005, "1 d 2 h");
    }
}
