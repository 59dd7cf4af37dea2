//! Timers: a hierarchical wheel, where setting, moving and cancelling one costs the same with ten
//! timers as with a million.
//!
//! A tick is a u64, cut into digits of 6 bits. A timer hangs in the slot named by the highest digit
//! in which its deadline differs from the present: the digit's place is the level, its value the
//! slot. So the slots of a level are all in the future, ordered, and later than those of the level
//! below. When the present reaches a slot, its timers fire (level 0: one slot is one tick) or are
//! hung into lower levels ("cascade"). Eleven levels span every u64: no deadline is too far.
//!
//! Each slot is a ring through a sentinel, so that a timer is unhooked without knowing its slot.
//! Timers with equal deadlines always share a slot, which keeps their order through each cascade.
//! Free places are used again, or go where they are many and the last ones. More come a chunk at a
//! time, so that no insertion moves a timer.

use std::num::NonZeroU32;

use super::chunked::Chunked;
use super::rng::Rng;

const DIGIT_BITS: u32 = 6;
const SLOTS_PER_LEVEL: u32 = 1 << DIGIT_BITS;
const LEVELS: u32 = u64::BITS.div_ceil(DIGIT_BITS);
const SLOTS: u32 = LEVELS * SLOTS_PER_LEVEL;

/// The number of the sentinel of free places. Timers are numbered behind it.
const VACANT: u32 = SLOTS;

/// The deadline of a free place, and later than any other.
const NEVER: u64 = u64::MAX;

/// Free places are left alone as long as they are no more than the timers and these.
const SPARE_MAX: usize = 1_024;

/// So many go at a time: others wait meanwhile.
const TRIM_MAX: usize = 64;

/// Places looked at for a timer picked at random.
const SAMPLE_TRIES: usize = 16;

/// Names a timer until it fires or is cancelled. Places of timers lie behind the slots' sentinels,
/// so that none is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(NonZeroU32);

#[derive(Clone, Debug)]
pub struct Wheel<T> {
    /// The present: no timer hangs before it, and none after it needs another place.
    elapsed: u64,
    /// A bit for each level that has a timer, and for each such level one for each slot.
    levels_occupied: u16,
    slots_occupied: [u64; LEVELS as usize],
    /// Of the slots and of free places, by number.
    sentinels: [Link; VACANT as usize + 1],
    timers: Chunked<Timer<T>>,
    /// The slot that the present has reached and that is not yet emptied into lower levels.
    cascading: Option<u32>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    prev: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Timer<T> {
    link: Link,
    deadline: u64,
    payload: T,
}

impl Link {
    /// A ring of its own.
    fn alone(id: u32) -> Self {
        Self { prev: id, next: id }
    }
}

impl<T: Copy> Wheel<T> {
    /// Bytes of memory a timer.
    pub const TIMER_SIZE: usize = size_of::<Timer<T>>();

    pub fn new(now: u64) -> Self {
        Self {
            elapsed: now,
            levels_occupied: 0,
            slots_occupied: [0; LEVELS as usize],
            sentinels: std::array::from_fn(|slot| Link::alone(slot as u32)),
            timers: Chunked::default(),
            cascading: None,
            len: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held that no timer takes.
    pub fn spare_bytes(&self) -> usize {
        self.timers.heap_size() - self.len * Self::TIMER_SIZE
    }

    /// A deadline that has passed is due at once.
    #[inline]
    pub fn insert(&mut self, deadline: u64, payload: T) -> TimerId {
        let deadline = deadline.min(NEVER - 1);
        let mut id = self.sentinels[VACANT as usize].next;
        let timer = Timer { link: Link::alone(id), deadline, payload };
        if id == VACANT {
            self.timers.push(timer);
            id = VACANT + self.timers.len() as u32;
        } else {
            self.unhook(id);
            *self.timer_mut(id) = timer;
        }
        self.link(id, self.slot_for_new(deadline));
        self.len += 1;
        TimerId(NonZeroU32::new(id).expect("sentinels come first"))
    }

    /// The timer must be alive: its id is forgotten when it fires.
    pub fn cancel(&mut self, id: TimerId) -> T {
        self.unlink(id.0.get());
        self.release(id.0.get())
    }

    /// As cancelled and inserted anew: behind others with that deadline.
    pub fn rearm(&mut self, id: TimerId, deadline: u64) {
        let (id, deadline) = (id.0.get(), deadline.min(NEVER - 1));
        self.unlink(id);
        self.timer_mut(id).deadline = deadline;
        self.link(id, self.slot_for_new(deadline));
    }

    pub fn deadline(&self, id: TimerId) -> u64 {
        self.timer(id.0.get()).deadline
    }

    /// Picks a timer at random. Where most places are free it may be the next one due.
    pub fn sample(&self, rng: &mut Rng) -> Option<T> {
        let next = self.sentinels[self.next_slot()?.0 as usize].next;
        let mut tries = (0..SAMPLE_TRIES).map(|_| &self.timers[rng.below(self.timers.len())]);
        let picked = tries.find(|timer| timer.deadline != NEVER);
        Some(picked.unwrap_or(self.timer(next)).payload)
    }

    /// When `pop_due` has something to do: at the next deadline, or before it to cascade.
    pub fn next_deadline(&self) -> Option<u64> {
        match self.cascading {
            Some(slot) if !self.is_vacant(slot) => Some(self.elapsed),
            _ => self.next_slot().map(|(_, tick)| tick),
        }
    }

    /// Takes the next timer that is due: by deadline, equal ones in the order they were set. Each
    /// timer fired or cascaded takes one of `steps`; with none left this is `None`, and
    /// `next_deadline` is still not after `now`.
    pub fn pop_due(&mut self, now: u64, steps: &mut usize) -> Option<T> {
        let id = self.first_due(now, steps)?;
        self.unlink(id);
        Some(self.release(id))
    }

    /// As `pop_due`, but the timer stays: it is for the caller to cancel it.
    pub fn next_due(&mut self, now: u64, steps: &mut usize) -> Option<T> {
        let id = self.first_due(now, steps)?;
        Some(self.timer(id).payload)
    }

    /// A clock that was set back costs a step for each timer.
    fn first_due(&mut self, now: u64, steps: &mut usize) -> Option<u32> {
        if now < self.elapsed {
            self.rewind(now);
        }
        loop {
            if let Some(slot) = self.cascading {
                self.cascade(slot, steps)?;
            }
            let Some((slot, tick)) = self.next_slot().filter(|(_, tick)| *tick <= now) else {
                self.elapsed = now;
                return None;
            };
            self.elapsed = tick;
            if slot >= SLOTS_PER_LEVEL {
                self.cascading = Some(slot);
                continue;
            }
            *steps = steps.checked_sub(1)?;
            return Some(self.sentinels[slot as usize].next);
        }
    }

    /// Fires what is due, in at most `steps` steps.
    pub fn expire(&mut self, now: u64, mut steps: usize, fire: &mut dyn FnMut(T)) {
        while let Some(payload) = self.pop_due(now, &mut steps) {
            fire(payload);
        }
    }

    /// Gives up the memory of some timers, a chunk at a time; false once there are none. The wheel
    /// is good for nothing but that from then on.
    pub fn crumble(&mut self) -> bool {
        self.timers.drop_chunk()
    }

    /// Empties the slot into lower levels; `None` when the steps ran out before that.
    fn cascade(&mut self, slot: u32, steps: &mut usize) -> Option<()> {
        while !self.is_vacant(slot) {
            *steps = steps.checked_sub(1)?;
            let id = self.sentinels[slot as usize].next;
            self.unlink(id);
            self.link(id, self.slot_of(self.timer(id).deadline));
        }
        self.cascading = None;
        Some(())
    }

    /// The clock was set back: every timer is hung anew, as the present decides their slots.
    fn rewind(&mut self, now: u64) {
        let mut ids = Vec::with_capacity(self.len);
        for slot in 0..SLOTS {
            let mut id = self.sentinels[slot as usize].next;
            while id != slot {
                ids.push(id);
                id = self.timer(id).link.next;
            }
            self.sentinels[slot as usize] = Link::alone(slot);
        }
        self.levels_occupied = 0;
        self.slots_occupied = [0; LEVELS as usize];
        self.cascading = None;
        self.elapsed = now;
        for id in ids {
            self.link(id, self.slot_of(self.timer(id).deadline));
        }
    }

    /// The first slot that has timers, and the tick it begins at.
    fn next_slot(&self) -> Option<(u32, u64)> {
        if self.levels_occupied == 0 {
            return None;
        }
        let level = self.levels_occupied.trailing_zeros();
        let digit = self.slots_occupied[level as usize].trailing_zeros();
        let shift = level * DIGIT_BITS;
        let above = self.elapsed >> shift >> DIGIT_BITS << DIGIT_BITS;
        Some((level * SLOTS_PER_LEVEL + digit, (above | u64::from(digit)) << shift))
    }

    fn is_vacant(&self, slot: u32) -> bool {
        self.sentinels[slot as usize].next == slot
    }

    /// While a slot cascades, new timers of its span queue behind those still in it.
    #[inline]
    fn slot_for_new(&self, deadline: u64) -> u32 {
        let is_within = |slot: &u32| {
            let shift = slot / SLOTS_PER_LEVEL * DIGIT_BITS;
            deadline >> shift <= self.elapsed >> shift
        };
        self.cascading.filter(is_within).unwrap_or_else(|| self.slot_of(deadline))
    }

    fn slot_of(&self, deadline: u64) -> u32 {
        let deadline = deadline.max(self.elapsed);
        let differing = (deadline ^ self.elapsed) | 1;
        let level = differing.ilog2() / DIGIT_BITS;
        let digit = (deadline >> (level * DIGIT_BITS)) as u32 % SLOTS_PER_LEVEL;
        level * SLOTS_PER_LEVEL + digit
    }

    #[inline]
    fn link(&mut self, id: u32, slot: u32) {
        self.hook(id, slot);
        let level = slot / SLOTS_PER_LEVEL;
        self.slots_occupied[level as usize] |= 1 << (slot % SLOTS_PER_LEVEL);
        self.levels_occupied |= 1 << level;
    }

    #[inline]
    fn unlink(&mut self, id: u32) {
        let Link { prev, next } = self.unhook(id);
        // Only a sentinel can be on both sides.
        if prev == next {
            let level = prev / SLOTS_PER_LEVEL;
            let occupied = &mut self.slots_occupied[level as usize];
            *occupied &= !(1 << (prev % SLOTS_PER_LEVEL));
            self.levels_occupied &= !(u16::from(*occupied == 0) << level);
        }
    }

    /// Puts a timer at the end of a sentinel's ring.
    #[inline]
    fn hook(&mut self, id: u32, sentinel: u32) {
        let last = std::mem::replace(&mut self.sentinels[sentinel as usize].prev, id);
        self.timer_mut(id).link = Link { prev: last, next: sentinel };
        self.link_mut(last).next = id;
    }

    /// Takes a timer out of its ring; returns who was beside it.
    #[inline]
    fn unhook(&mut self, id: u32) -> Link {
        let link = self.timer(id).link;
        self.link_mut(link.prev).next = link.next;
        self.link_mut(link.next).prev = link.prev;
        link
    }

    #[inline]
    fn release(&mut self, id: u32) -> T {
        self.len -= 1;
        let timer = self.timer_mut(id);
        timer.deadline = NEVER;
        let payload = timer.payload;
        self.hook(id, VACANT);
        if self.timers.len() > 2 * self.len + SPARE_MAX {
            self.trim();
        }
        payload
    }

    /// Gives up free places behind the last timer.
    fn trim(&mut self) {
        if self.is_empty() {
            self.timers = Chunked::default();
            self.sentinels[VACANT as usize] = Link::alone(VACANT);
            return;
        }
        for _ in 0..TRIM_MAX {
            let last = VACANT + self.timers.len() as u32;
            if self.timer(last).deadline != NEVER {
                return;
            }
            self.unhook(last);
            self.timers.pop();
        }
    }

    /// Of a sentinel or a timer.
    #[inline]
    fn link_mut(&mut self, id: u32) -> &mut Link {
        match self.sentinels.get_mut(id as usize) {
            Some(link) => link,
            None => &mut self.timers[(id - VACANT - 1) as usize].link,
        }
    }

    #[inline]
    fn timer(&self, id: u32) -> &Timer<T> {
        &self.timers[(id - VACANT - 1) as usize]
    }

    fn timer_mut(&mut self, id: u32) -> &mut Timer<T> {
        &mut self.timers[(id - VACANT - 1) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;
    use std::collections::{BTreeMap, BTreeSet};

    /// Timers with their payloads, by deadline and by when they were set.
    type Model = BTreeMap<(u64, u64), (TimerId, u64)>;

    fn drain(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
        let mut fired = Vec::new();
        wheel.expire(now, usize::MAX, &mut |payload| fired.push(payload));
        fired
    }

    #[test]
    fn random_operations_agree_with_a_sorted_map() {
        for seed in 0..200 {
            let mut rng = Rng::from_seed(seed);
            let mut now = rng.next_u64() >> rng.below(64);
            let mut wheel = Wheel::new(now);
            let mut model = Model::new();
            // From a few ticks, where many deadlines are equal, to years.
            let span_bits_max = 1 + rng.below(45);
            for order in 0..600 {
                // Now and then a deadline that has passed.
                let span = rng.next_u64() & ((1 << (1 + rng.below(span_bits_max))) - 1);
                let deadline = (now - now.min(rng.below(3) as u64)).saturating_add(span);
                let victim = model.keys().copied().nth(rng.below(model.len().max(1)));
                match (rng.below(8), victim) {
                    (0, Some(key)) => {
                        let (id, payload) = model.remove(&key).unwrap();
                        assert_eq!(wheel.cancel(id), payload);
                    }
                    (1, Some(key)) => {
                        let (id, payload) = model.remove(&key).unwrap();
                        wheel.rearm(id, deadline);
                        assert_eq!(wheel.deadline(id), deadline);
                        model.insert((deadline.max(wheel.elapsed), order), (id, payload));
                    }
                    (2 | 3, _) => {
                        now = deadline.max(now);
                        let mut steps = rng.below(20);
                        while let Some(fired) = wheel.pop_due(now, &mut steps) {
                            let ((deadline, _), (_, payload)) = model.pop_first().unwrap();
                            assert_eq!(fired, payload);
                            assert!(deadline <= now);
                        }
                        let is_due = wheel.next_deadline().is_some_and(|tick| tick <= now);
                        assert!(steps == 0 || !is_due);
                    }
                    _ => {
                        let id = wheel.insert(deadline, order);
                        model.insert((deadline.max(wheel.elapsed), order), (id, order));
                    }
                }
                assert_eq!(wheel.len(), model.len());
                let first = model.first_key_value().map(|((deadline, _), _)| *deadline);
                assert_eq!(wheel.next_deadline().is_some(), first.is_some());
                assert!(wheel.next_deadline() <= first.map(|deadline| deadline.max(wheel.elapsed)));
            }
            let rest: Vec<u64> = model.values().map(|(_, payload)| *payload).collect();
            assert_eq!(wheel.sample(&mut rng).is_some(), !rest.is_empty());
            assert!(wheel.sample(&mut rng).is_none_or(|payload| rest.contains(&payload)));
            assert_eq!(drain(&mut wheel, u64::MAX), rest, "seed {seed}");
            assert!(wheel.is_empty() && wheel.levels_occupied == 0);
        }
    }

    #[test]
    fn nothing_fires_early() {
        let mut wheel = Wheel::new(1_000);
        for deadline in [1_001, 1_063, 1_064, 5_000, 1 << 36, u64::MAX - 1] {
            wheel.insert(deadline, deadline);
            assert_eq!(drain(&mut wheel, deadline - 1), [0; 0]);
            assert_eq!(drain(&mut wheel, deadline), [deadline]);
        }
    }

    #[test]
    fn a_sleeper_woken_at_next_deadline_cascades_a_few_times_at_most() {
        let mut wheel = Wheel::new(0);
        wheel.insert(123_456_789, 1);
        let mut wakes = 0;
        while let Some(tick) = wheel.next_deadline() {
            wakes += 1;
            let fired = drain(&mut wheel, tick);
            assert!(fired.is_empty() || tick == 123_456_789);
        }
        assert_eq!(wakes, 5);
    }

    #[test]
    fn order_holds_across_levels_and_a_cascade_cut_short() {
        let mut wheel = Wheel::new(0);
        for order in 0..4 {
            wheel.insert(5_000, order);
        }
        let mut steps = 2;
        assert_eq!(wheel.pop_due(5_000, &mut steps), None);
        assert!(wheel.next_deadline() <= Some(5_000));
        wheel.insert(5_000, 4);
        wheel.insert(4_999, 5);
        assert_eq!(drain(&mut wheel, 5_000), [5, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_clock_set_back_neither_loses_nor_hastens() {
        let mut wheel = Wheel::new(0);
        wheel.insert(2_000_000, 1);
        assert_eq!(drain(&mut wheel, 1_999_999), [0; 0]);
        assert_eq!(drain(&mut wheel, 500), [0; 0]);
        wheel.insert(510, 2);
        wheel.insert(2_000_000, 3);
        assert_eq!(drain(&mut wheel, 509), [0; 0]);
        assert_eq!(wheel.next_deadline(), Some(510));
        assert_eq!(drain(&mut wheel, 510), [2]);
        assert_eq!(drain(&mut wheel, 2_000_000), [1, 3]);
    }

    #[test]
    fn places_are_used_again() {
        let mut wheel = Wheel::new(0);
        let ids: Vec<TimerId> = (0..10).map(|payload| wheel.insert(10, payload)).collect();
        wheel.cancel(ids[3]);
        assert_eq!(wheel.timers.len(), 10);
        assert_eq!(wheel.insert(20, 2), ids[3]);
    }

    #[test]
    fn many_free_places_are_given_up() {
        let insert = |wheel: &mut Wheel<u64>| -> Vec<TimerId> {
            (0..10_000).map(|deadline| wheel.insert(deadline, deadline)).collect()
        };
        let mut wheel = Wheel::new(0);
        insert(&mut wheel).into_iter().for_each(|id| _ = wheel.cancel(id));
        assert!(wheel.timers.is_empty());
        // One stays, and it is the first.
        let ids = insert(&mut wheel);
        ids[1..].iter().rev().for_each(|&id| _ = wheel.cancel(id));
        assert!(wheel.timers.len() <= 2 + SPARE_MAX);
        assert_eq!(drain(&mut wheel, 10_000), [0]);
    }

    #[test]
    fn each_timer_is_sampled() {
        let mut wheel = Wheel::new(0);
        let ids: Vec<TimerId> = (0..2_000).map(|payload| wheel.insert(payload, payload)).collect();
        (0..1_990).for_each(|at| _ = wheel.cancel(ids[at]));
        let mut rng = Rng::from_seed(1);
        let seen: BTreeSet<u64> = (0..2_000).filter_map(|_| wheel.sample(&mut rng)).collect();
        assert!(seen.into_iter().eq(1_990..2_000));
    }
}
