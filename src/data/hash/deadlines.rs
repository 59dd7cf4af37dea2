//! A deadline for each of a row of places, and which comes first.
//!
//! The places are those of a hash's fields. Below lie the deadlines, 8 bytes each; above them, for
//! each group of 32, the earliest; above those the same again, until a level has no more than 32.
//! So a change costs a look at one group of each level, and finding the earliest likewise, however
//! many there are. The upper levels together take a thirtieth of the lowest.

use crate::util::chunked::Chunked;

/// The deadline of a place that has none, and later than any other.
const NEVER: i64 = i64::MAX;

const GROUP: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Deadlines {
    lowest: Chunked<i64>,
    /// The least first.
    upper: Vec<Chunked<i64>>,
    /// Of all.
    earliest_ms: i64,
}

impl Deadlines {
    /// So many places without a deadline.
    pub fn new(len: usize) -> Self {
        let mut lowest = Chunked::with_capacity(len);
        (0..len).for_each(|_| lowest.push(NEVER));
        let mut deadlines = Self { lowest, upper: Vec::new(), earliest_ms: NEVER };
        deadlines.renew(0);
        deadlines
    }

    /// None if the place has none.
    pub fn get(&self, at: usize) -> Option<i64> {
        Some(self.lowest[at]).filter(|at_ms| *at_ms != NEVER)
    }

    /// None if no place has one.
    pub fn earliest_ms(&self) -> Option<i64> {
        Some(self.earliest_ms).filter(|at_ms| *at_ms != NEVER)
    }

    /// Where the earliest lies; the first of equal ones. None if no place has one.
    pub fn earliest(&self) -> Option<usize> {
        self.earliest_ms()?;
        let levels = self.upper.iter().rev().chain([&self.lowest]);
        // As if all of the top level were one group.
        levels.into_iter().try_fold(0, |group, level| {
            group_of(level, group * GROUP).find(|at| level[*at] == self.earliest_ms)
        })
    }

    /// How many lie before a moment. Looks at all.
    pub fn count_before(&self, end_ms: i64) -> usize {
        self.lowest.iter().filter(|at_ms| **at_ms < end_ms).count()
    }

    /// That of each place; None where there is none.
    pub fn iter(&self) -> impl Iterator<Item = Option<i64>> {
        self.lowest.iter().map(|at_ms| Some(*at_ms).filter(|at_ms| *at_ms != NEVER))
    }

    pub fn set(&mut self, at: usize, at_ms: Option<i64>) {
        let at_ms = at_ms.unwrap_or(NEVER);
        if std::mem::replace(&mut self.lowest[at], at_ms) != at_ms {
            self.renew(at);
        }
    }

    /// Moves all deadlines that there are.
    pub fn postpone(&mut self, by_ms: i64) {
        let later = |at_ms: &mut i64| *at_ms += if *at_ms == NEVER { 0 } else { by_ms };
        for level in self.upper.iter_mut().chain([&mut self.lowest]) {
            (0..level.len()).for_each(|at| later(&mut level[at]));
        }
        later(&mut self.earliest_ms);
    }

    /// A further place, without a deadline.
    pub fn push(&mut self) {
        self.lowest.push(NEVER);
        self.renew(self.lowest.len() - 1);
    }

    /// Takes a place out. The last takes its place, or all behind it close the gap.
    pub fn remove(&mut self, at: usize, with_last: bool) {
        let last = self.lowest.len() - 1;
        if with_last {
            self.lowest.swap_remove(at);
            self.renew(at);
            self.renew(last);
        } else {
            self.lowest.remove(at);
            (at / GROUP..=last / GROUP).for_each(|group| self.renew(group * GROUP));
        }
    }

    pub fn heap_size(&self) -> usize {
        let upper = self.upper.iter().map(Chunked::heap_size).sum::<usize>();
        self.lowest.heap_size() + self.upper.capacity() * size_of::<Chunked<i64>>() + upper
    }

    /// Puts right what stands above a place where something has changed, come or gone.
    fn renew(&mut self, mut at: usize) {
        let mut height = 0;
        while self.upper[..height].last().unwrap_or(&self.lowest).len() > GROUP {
            if self.upper.len() == height {
                self.upper.push(Chunked::default());
            }
            at /= GROUP;
            let (below, above) = self.upper.split_at_mut(height);
            renew_level(&mut above[0], below.last().unwrap_or(&self.lowest), at);
            height += 1;
        }
        self.upper.truncate(height);
        let top = self.upper.last().unwrap_or(&self.lowest);
        self.earliest_ms = top.iter().copied().min().unwrap_or(NEVER);
    }
}

/// Puts a level right at a place, and where it is longer or shorter than what lies below demands.
fn renew_level(level: &mut Chunked<i64>, lower: &Chunked<i64>, at: usize) {
    let len = lower.len().div_ceil(GROUP);
    while level.len() > len {
        level.pop();
    }
    while level.len() < len {
        level.push(earliest_of(lower, level.len() * GROUP));
    }
    if at < len {
        level[at] = earliest_of(lower, at * GROUP);
    }
}

/// The places of a group that begins there.
fn group_of(level: &Chunked<i64>, start: usize) -> std::ops::Range<usize> {
    start..level.len().min(start + GROUP)
}

fn earliest_of(level: &Chunked<i64>, start: usize) -> i64 {
    group_of(level, start).map(|at| level[at]).min().unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn random_changes_agree_with_a_list() {
        for seed in 0..30 {
            let mut rng = Rng::from_seed(seed);
            let len = [0, 1, 32, 33, 1_100][rng.below(5)];
            let mut deadlines = Deadlines::new(len);
            let mut model = vec![None; len];
            let len_max = [40, 1_200, 40_000][rng.below(3)];
            for _ in 0..3_000 {
                match rng.below(5) {
                    0 | 1 if model.len() < len_max => {
                        for _ in 0..1 + rng.below(len_max / 20) {
                            deadlines.push();
                            model.push(None);
                        }
                    }
                    2 if !model.is_empty() => {
                        let (at, with_last) = (rng.below(model.len()), model.len() > 512);
                        deadlines.remove(at, with_last);
                        if with_last {
                            model.swap_remove(at)
                        } else {
                            model.remove(at)
                        };
                    }
                    3 if !model.is_empty() && rng.below(10) == 0 => {
                        let by_ms = rng.below(3) as i64 - 1;
                        deadlines.postpone(by_ms);
                        model.iter_mut().flatten().for_each(|at_ms| *at_ms += by_ms);
                    }
                    _ if !model.is_empty() => {
                        let at = rng.below(model.len());
                        model[at] = [None, Some(rng.below(1_000) as i64)][rng.below(2)];
                        deadlines.set(at, model[at]);
                        assert_eq!(deadlines.get(at), model[at]);
                    }
                    _ => {}
                }
                let earliest = model.iter().flatten().min().copied();
                assert_eq!(deadlines.earliest_ms(), earliest, "seed {seed}");
                let first = earliest.and_then(|it| model.iter().position(|at| *at == Some(it)));
                assert_eq!(deadlines.earliest(), first, "seed {seed}");
            }
            assert!(deadlines.iter().eq(model.iter().copied()));
            let before = model.iter().flatten().filter(|at_ms| **at_ms < 500).count();
            assert_eq!(deadlines.count_before(500), before);
        }
    }
}
