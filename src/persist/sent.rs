//! A snapshot on its way over a link: RDB behind a line that tells either how long it is or what
//! mark stands behind it.

use super::load::{LoadInto, LoadOptions, LoadProgress, LoadReport, Loader};

/// A snapshot of an unknown length ends in a mark that was told before.
const MARK_LEN: usize = 40;

/// One snapshot, from the line before it to its last byte.
#[derive(Debug)]
pub struct SentSnapshot {
    loader: Loader,
    end: SnapshotEnd,
    /// Bytes that the loader was given.
    fed: u64,
    is_read: bool,
    is_whole: bool,
}

#[derive(Debug)]
enum SnapshotEnd {
    Len(u64),
    Mark(Vec<u8>),
}

impl SentSnapshot {
    /// What follows such a line. None if that is no line before a snapshot.
    pub fn begin(line: &[u8], options: LoadOptions) -> Option<Self> {
        let told = line.strip_prefix(b"$")?;
        let end = match told.strip_prefix(b"EOF:") {
            Some(mark) if mark.len() == MARK_LEN => SnapshotEnd::Mark(mark.to_vec()),
            Some(_) => return None,
            None => SnapshotEnd::Len(std::str::from_utf8(told).ok()?.parse().ok()?),
        };
        let loader = Loader::new(options);
        Some(Self { loader, end, fed: 0, is_read: false, is_whole: false })
    }

    /// Reads so many records at most from the front of what has come. `Done` if all of it was read,
    /// up to its end: what is left in the input is the stream's.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence that follows "the snapshot".
    pub fn step(
        &mut self,
        into: &mut impl LoadInto,
        input: &mut Vec<u8>,
        records_max: usize,
    ) -> Result<LoadProgress, String> {
        if self.is_whole {
            return Ok(LoadProgress::Done);
        }
        if !self.is_read {
            match self.loader.step(into, records_max)? {
                LoadProgress::More => return Ok(LoadProgress::More),
                LoadProgress::Hungry => return Ok(self.feed(input)),
                LoadProgress::Done => self.is_read = true,
            }
            let mut rest = self.loader.rest().to_vec();
            rest.append(input);
            *input = rest;
            self.fed = self.loader.position();
        }
        self.read_end(input)
    }

    /// Gives the loader what has come.
    fn feed(&mut self, input: &mut Vec<u8>) -> LoadProgress {
        let left = match self.end {
            SnapshotEnd::Len(len) => len - self.fed,
            SnapshotEnd::Mark(_) => u64::MAX,
        };
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        if count == 0 && left > 0 {
            return LoadProgress::Hungry;
        }
        // Nothing more ends it.
        self.loader.feed(&input[..count]);
        self.fed += count as u64;
        if let SnapshotEnd::Mark(mark) = &self.end {
            // Behind it nothing may come for long.
            let unread = self.loader.rest();
            let last = &unread[unread.len().saturating_sub(count + MARK_LEN)..];
            if memchr::memmem::find(last, mark).is_some() {
                self.loader.look_again();
            }
        }
        input.drain(..count);
        LoadProgress::More
    }

    /// What it has to end in.
    fn read_end(&mut self, input: &mut Vec<u8>) -> Result<LoadProgress, String> {
        match &self.end {
            SnapshotEnd::Len(len) if self.fed != *len => {
                return Err(format!("ends after {} of {len} bytes", self.fed));
            }
            SnapshotEnd::Len(_) => {}
            SnapshotEnd::Mark(mark) => {
                let Some(found) = input.get(..MARK_LEN) else { return Ok(LoadProgress::Hungry) };
                if found != mark {
                    return Err("has no end".into());
                }
                input.drain(..MARK_LEN);
            }
        }
        self.is_whole = true;
        Ok(LoadProgress::Done)
    }

    /// Bytes of it that have come, and of all of it where that is known.
    pub fn progress(&self) -> (u64, Option<u64>) {
        match self.end {
            SnapshotEnd::Len(len) => (self.fed, Some(len)),
            SnapshotEnd::Mark(_) => (self.fed, None),
        }
    }

    /// What it held; to be asked at the end.
    pub fn report(&self) -> &LoadReport {
        self.loader.report()
    }
}
