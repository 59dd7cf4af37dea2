//! The only reader of clocks, and the clock file.

use super::files;
use crate::engine::effect::{ClockMove, Reading};
use crate::engine::time::Now;
use crate::util::calendar::Civil;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Clock {
    start_us: u64,
    /// Tests may move the wall clock.
    reading: Cell<Reading>,
    file: Option<ClockFile>,
}

impl Clock {
    /// With a file through which clients can follow, if tests may move it.
    pub fn start(may_move: bool) -> io::Result<Self> {
        let file = may_move.then(ClockFile::create).transpose()?;
        Ok(Self { start_us: mono_us(), reading: Cell::default(), file })
    }

    /// Where clients follow it; None if tests may not move it.
    pub fn file_path(&self) -> Option<String> {
        self.file.as_ref().map(|file| file.path.to_string_lossy().into_owned())
    }

    pub fn now(&self) -> Now {
        let mono_us = mono_us() - self.start_us;
        let Reading { ahead_ms, frozen_ms } = self.reading.get();
        if let Some(wall_ms) = frozen_ms {
            return Now { wall_ms, rest_us: 0, mono_us };
        }
        let (wall_ms, rest_us) = real_time();
        Now { wall_ms: wall_ms + ahead_ms, rest_us, mono_us }
    }

    /// Moves the wall clock for a test, and tells how it goes from then on. Those who follow are
    /// told first: no message can be earlier than the time that it speaks of.
    pub fn shift(&self, to: ClockMove) -> Result<Reading, String> {
        let reading = self.reading.get().after(to, self.now().wall_ms, real_time().0);
        if let Some(file) = &self.file {
            file.write(reading).map_err(|problem| {
                let why = files::text_of(&problem);
                format!("the clock file {} cannot be written: {why}", file.path.display())
            })?;
        }
        self.reading.set(reading);
        Ok(reading)
    }
}

/// What clients read at each look at their own clock: 32 bytes, little endian, replaced in one
/// write.
///
/// | bytes | are |
/// |---|---|
/// | 8 | `TORILCLK` |
/// | 4 | 1, the version |
/// | 4 | 0 while the clock goes, 1 while it stands still |
/// | 8 | milliseconds that it is ahead of the real one |
/// | 8 | milliseconds since 1970 at which it stands still, or 0 |
struct ClockFile {
    path: PathBuf,
    file: File,
}

/// How the name of a clock file begins and ends.
const NAME: (&str, &str) = ("toril-", ".clock");

impl ClockFile {
    /// In the folder for what is temporary; it goes with the server, or with the next one that
    /// makes one there if this is killed. Its lock tells that the server lives, also to servers in
    /// other containers, to which its process id means nothing.
    fn create() -> io::Result<Self> {
        let folder = std::env::temp_dir();
        remove_orphans(&folder);
        let unlike = getrandom::u64().unwrap_or_default();
        let name = format!("{}{}-{unlike:016x}{}", NAME.0, std::process::id(), NAME.1);
        let path = folder.join(&name);
        // Nobody may take it for an orphan before it is locked.
        let unready = folder.join(name + ".new");
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&unready)?;
        let file = Self { path, file };
        file.file.lock()?;
        file.write(Reading::default())?;
        fs::rename(unready, &file.path)?;
        Ok(file)
    }

    fn write(&self, reading: Reading) -> io::Result<()> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(b"TORILCLK");
        bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(reading.frozen_ms.is_some()).to_le_bytes());
        bytes[16..24].copy_from_slice(&reading.ahead_ms.to_le_bytes());
        bytes[24..].copy_from_slice(&reading.frozen_ms.unwrap_or(0).to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

impl Drop for ClockFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the clock files of servers that were killed.
fn remove_orphans(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(NAME.0) || !name.ends_with(NAME.1) {
            continue;
        }
        let is_orphan = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_orphan {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Milliseconds since 1970, and microseconds beyond that.
fn real_time() -> (i64, u32) {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    (tv_sec.max(0) * 1_000 + tv_nsec / 1_000_000, (tv_nsec / 1_000 % 1_000) as u32)
}

/// The monotonic clock: `Instant`'s arithmetic costs as much as reading it.
pub fn mono_us() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    tv_sec as u64 * 1_000_000 + tv_nsec as u64 / 1_000
}

/// A moment as `24 Nov 2026 15:04:05.678`, in UTC.
pub fn utc_text(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let civil = Civil::of_ms(since.as_millis() as i64);
    let Civil { year, day, rest_ms, .. } = civil;
    let second_of_day = rest_ms / 1000;
    format!(
        "{day:02} {} {year} {:02}:{:02}:{:02}.{:03}",
        civil.month_name(),
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
        rest_ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_text() {
        let check = |ms: u64, expect: &str| {
            let time = UNIX_EPOCH + std::time::Duration::from_millis(ms);
            assert_eq!(utc_text(time), expect);
        };
        check(0, "01 Jan 1970 00:00:00.000");
        check(951_825_600_123, "29 Feb 2000 12:00:00.123");
        check(1_795_532_381_000, "24 Nov 2026 14:59:41.000");
    }
}
