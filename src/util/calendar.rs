//! Moments in UTC as people write them: `2026-11-29T09:00:00Z`. No library of time zones is needed
//! for that.

pub const DAY_MS: i64 = 86_400_000;

/// A moment of a day in the calendar of Gregory, which is followed back to year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// Milliseconds since midnight.
    pub rest_ms: u32,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Civil {
    /// `Jan` to `Dec`.
    pub fn month_name(self) -> &'static str {
        MONTHS[self.month as usize - 1]
    }

    /// Of milliseconds since 1970.
    pub fn of_ms(ms: i64) -> Self {
        // Days are counted from 1 March of year 0, so that a leap day ends its year.
        let shifted = ms.div_euclid(DAY_MS) + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
        let month = ((shifted_month + 2) % 12 + 1) as u32;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self { year, month, day, rest_ms: ms.rem_euclid(DAY_MS) as u32 }
    }

    /// Milliseconds since 1970.
    pub fn to_ms(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let shifted_month = i64::from((self.month + 9) % 12);
        let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (era * 146_097 + day_of_era - 719_468) * DAY_MS + i64::from(self.rest_ms)
    }
}

/// As ISO 8601 has it, with milliseconds where there are any.
pub fn iso(ms: i64) -> String {
    let Civil { year, month, day, rest_ms } = Civil::of_ms(ms);
    let (seconds, millis) = (rest_ms / 1000, rest_ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Reads ISO 8601 with a zone, `2026-11-29T09:00Z` or `2026-11-29T10:00:00.5+01:00`, as
/// milliseconds since 1970. None for anything else, and for days that there are not.
pub fn parse_iso(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', &[4, 2, 2])?[..] else { return None };
    let (time, offset_minutes) = zone(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let fields = numbers(clock, ':', &[2, 2, 2]).or_else(|| numbers(clock, ':', &[2, 2]))?;
    let (hour, minute, second) = (fields[0], fields[1], fields.get(2).copied().unwrap_or(0));
    if !(1..=9).contains(&fraction.len()) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let thousandths: String = fraction.chars().chain("00".chars()).take(3).collect();
    let millis = number(&thousandths)?;
    let rest_ms = ((hour * 60 + minute) * 60 + second) * 1000 + millis;
    let (month, day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    let civil = Civil { year, month, day, rest_ms: u32::try_from(rest_ms).ok()? };
    let ms = ((1..=12).contains(&month) && day >= 1).then(|| civil.to_ms())?;
    (Civil::of_ms(ms) == civil).then_some(ms - offset_minutes * 60_000)
}

/// A time of day without its zone, and how many minutes the zone is ahead.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let [hours, minutes] = numbers(&time[at + 1..], ':', &[2, 2])?[..] else { return None };
    let minutes = hours * 60 + minutes;
    Some((&time[..at], if time[at..].starts_with('-') { -minutes } else { minutes }))
}

/// Numbers of exactly so many digits each.
fn numbers(text: &str, between: char, digits: &[usize]) -> Option<Vec<i64>> {
    let parts: Vec<&str> = text.split(between).collect();
    let fits = parts.len() == digits.len()
        && parts.iter().zip(digits).all(|(part, &digits)| part.len() == digits);
    if fits { parts.into_iter().map(number).collect() } else { None }
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_text_and_back() {
        let check = |ms: i64, expect: &str| {
            assert_eq!(iso(ms), expect);
            assert_eq!(parse_iso(expect), Some(ms), "{expect}");
        };
        check(0, "1970-01-01T00:00:00Z");
        check(951_825_600_123, "2000-02-29T12:00:00.123Z");
        check(1_795_942_800_000, "2026-11-29T09:00:00Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        check(2_199_023_255_551, "2039-09-07T15:47:35.551Z");
    }

    #[test]
    fn a_zone_is_ahead_or_behind() {
        let noon = parse_iso("2026-11-29T12:00:00Z");
        for text in ["2026-11-29T13:00+01:00", "2026-11-29T06:30:00.000-05:30"] {
            assert_eq!(parse_iso(text), noon, "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "2026-11-29",
            "2026-11-29T12:00",
            "2026-02-29T12:00Z",
            "2026-13-01T12:00Z",
            "2026-00-01T12:00Z",
            "2026-01-00T12:00Z",
            "2026-11-29T24:00Z",
            "2026-11-29T12:60Z",
            "2026-1-29T12:00Z",
            "2026-11-29T12:00:00.Z",
            "2026-11-29 12:00Z",
            "+026-11-29T12:00Z",
            "2026-11-29T12:00+1",
            "ä",
            "",
        ] {
            assert_eq!(parse_iso(text), None, "{text}");
        }
    }
}
