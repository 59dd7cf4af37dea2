//! A histogram of spans in microseconds, precise to one part in 128. Its buckets are those in which
//! an HDR histogram of two digits keeps nanoseconds, so percentiles come out as from one.
//!
//! Each microsecond below 132 has a count of its own, found without a search. Above that the spans
//! from a power of two of nanoseconds to the next share 128 counts, which are made when the first
//! such span is recorded: 1.2 KB, and 1 KB for each of at most 13 octaves.

/// Spans that are counted by the microsecond: below 2^17 ns no two of them share a bucket.
const SHORT: usize = 132;
/// Octaves of nanoseconds from 2^17, up to the longest span that is told apart.
const OCTAVE_FIRST: u32 = 17;
const OCTAVES: usize = 13;
/// What takes longer counts as this long.
const NANOS_MAX: u64 = 1_000_000_000;
/// An octave has 2^7 buckets.
const PRECISION_BITS: u32 = 7;
const BUCKETS: usize = 1 << PRECISION_BITS;

#[derive(Debug)]
pub struct Histogram {
    short: [u64; SHORT],
    long: [Option<Box<[u64; BUCKETS]>>; OCTAVES],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { short: [0; SHORT], long: [const { None }; OCTAVES] }
    }
}

impl Histogram {
    /// Counts a span. What takes longer than a second counts as a second.
    #[inline]
    pub fn record(&mut self, micros: u64) {
        match self.short.get_mut(micros as usize) {
            Some(count) => *count += 1,
            None => self.record_long(micros),
        }
    }

    #[inline(never)]
    fn record_long(&mut self, micros: u64) {
        let nanos = micros.saturating_mul(1000).min(NANOS_MAX);
        let octave = nanos.ilog2();
        let counts = &mut self.long[(octave - OCTAVE_FIRST) as usize];
        let counts = counts.get_or_insert_with(|| Box::new([0; BUCKETS]));
        counts[(nanos >> (octave - PRECISION_BITS)) as usize - BUCKETS] += 1;
    }

    /// How many spans were recorded.
    pub fn count(&self) -> u64 {
        self.buckets().map(|(_, count)| count).sum()
    }

    /// The span, in nanoseconds, that so many per cent do not exceed.
    pub fn percentile_nanos(&self, percentile: f64) -> u64 {
        let wanted = (percentile / 100.0 * self.count() as f64 + 0.5) as u64;
        let nanos = self.at_rank(wanted.max(1));
        // The shortest begins where its bucket does.
        if percentile == 0.0 { nanos - width(nanos) + 1 } else { nanos }
    }

    fn at_rank(&self, rank: u64) -> u64 {
        let mut seen = 0;
        let found = self.buckets().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, |(nanos, _)| nanos)
    }

    /// Spans that double, in microseconds, each with the count of those that do not exceed it; only
    /// those that count more than the one before.
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        let mut doublings: Vec<(u64, u64)> = Vec::new();
        let (mut limit, mut seen) = (1024, 0);
        for (nanos, count) in self.buckets().filter(|(_, count)| *count > 0) {
            while nanos > limit + width(limit) - 1 {
                limit *= 2;
            }
            seen += count;
            let micros = (limit + width(limit) - 1) / 1000;
            match doublings.last_mut() {
                Some(last) if last.0 == micros => last.1 = seen,
                _ => doublings.push((micros, seen)),
            }
        }
        doublings
    }

    /// The longest span of each bucket in nanoseconds, and its count; shortest first.
    fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let short = self.short.iter().enumerate().map(|(micros, &count)| {
            // No span is shorter than a nanosecond.
            let nanos = (micros as u64 * 1000).max(1);
            (nanos | (width(nanos) - 1), count)
        });
        let octaves = (OCTAVE_FIRST..).zip(&self.long);
        let long = octaves.filter_map(|(octave, counts)| Some((octave, counts.as_ref()?)));
        let long = long.flat_map(|(octave, counts)| {
            let width = 1 << (octave - PRECISION_BITS);
            let start = 1 << octave;
            let buckets = counts.iter().enumerate();
            buckets.map(move |(at, &count)| (start + (at as u64 + 1) * width - 1, count))
        });
        short.chain(long)
    }
}

/// How many nanoseconds share the bucket of this one.
fn width(nanos: u64) -> u64 {
    1 << nanos.ilog2().saturating_sub(PRECISION_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spans: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        spans.into_iter().for_each(|micros| histogram.record(micros));
        histogram
    }

    #[test]
    fn percentiles_are_those_of_an_hdr_histogram() {
        // One span each, so that all percentiles are the same.
        let check = |micros: u64, expect: u64| {
            let histogram = of([micros]);
            for percentile in [50.0, 99.9, 100.0] {
                assert_eq!(histogram.percentile_nanos(percentile), expect, "{micros} us");
            }
        };
        check(0, 1);
        check(1, 1_003);
        check(2, 2_007);
        check(131, 131_071);
        check(132, 132_095);
        check(244, 244_735);
        check(200_000, 200_278_015);
        check(1_000_000, 1_002_438_655);
        check(u64::MAX, 1_002_438_655);
    }

    #[test]
    fn a_percentile_counts_from_the_shortest() {
        let histogram = of(1..=100);
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.percentile_nanos(0.0), 1_000);
        assert_eq!(histogram.percentile_nanos(50.0), 50_175);
        assert_eq!(histogram.percentile_nanos(99.0), 99_327);
        assert_eq!(Histogram::default().percentile_nanos(50.0), 0);
    }

    #[test]
    fn doublings_count_what_came_up_to_them() {
        let spans = [0, 1, 1, 2, 3, 5, 1_057, 1_070, 1_000_000];
        let expect = [(1, 3), (2, 4), (4, 5), (8, 6), (2113, 8), (1_082_130, 9)];
        assert_eq!(of(spans).doublings(), expect);
    }
}
