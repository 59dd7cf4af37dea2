//! XCLAIM and XAUTOCLAIM: what one consumer has pending becomes another's.

use super::*;
use crate::data::stream::{ConsumerId, Group, Pending, StreamLog};
use crate::util::number;

/// How entries are claimed, as the options of the two commands say.
struct Claim {
    consumer: ConsumerId,
    now_ms: i64,
    /// Only what was delivered so long ago.
    idle_ms: i64,
    /// What counts as the time of the delivery.
    delivered_ms: i64,
    /// How often the entry was delivered; None counts one more, if entries are answered.
    count: Option<u64>,
    /// What nobody has pending becomes pending.
    force: bool,
    only_ids: bool,
}

impl Claim {
    /// Takes over what is pending of an entry that is in the stream.
    fn take(&self, group: &mut Group, id: StreamId, effects: &mut Effects) {
        let before = match group.pending().get(id) {
            Some(pending) => {
                let idle_ms = self.now_ms.saturating_sub(pending.delivered_ms);
                if self.idle_ms > 0 && idle_ms < self.idle_ms {
                    return;
                }
                pending.count
            }
            None if self.force => 1,
            None => return,
        };
        let count = match self.count {
            Some(count) => count,
            None => before.wrapping_add(u64::from(!self.only_ids)),
        };
        let pending = Pending { consumer: self.consumer, delivered_ms: self.delivered_ms, count };
        group.assign(id, pending);
        group.of_mut(self.consumer).active_ms = Some(self.now_ms);
        effects.changes += 1;
        effects.claimed.push((id, pending));
    }

    /// What is pending of an entry that is no longer there goes.
    fn drop_lost(group: &mut Group, id: StreamId, effects: &mut Effects) {
        if group.acknowledge(id) {
            effects.changes += 1;
            effects.lost.push(id);
        }
    }

    fn answer(&self, log: &StreamLog, claimed: &[(StreamId, Pending)], reply: &mut Reply) {
        reply.array(claimed.len());
        for (id, _) in claimed {
            match log.get(*id) {
                Some(entry) if !self.only_ids => answer(reply, entry),
                _ => reply.bulk(&id.text()),
            }
        }
    }
}

fn parse_idle(word: &[u8], command: &str) -> Result<i64> {
    let idle_ms = number::parse_i64(word).map(|ms| ms.max(0));
    idle_ms.ok_or_else(|| Error::new(format!("ERR Invalid min-idle-time argument for {command}")))
}

/// XCLAIM's options, which stand behind the ids.
#[derive(Default)]
struct Options {
    delivered_ms: Option<i64>,
    count: Option<u64>,
    force: bool,
    only_ids: bool,
    last_id: StreamId,
}

impl Options {
    fn parse(mut args: Args, now_ms: i64) -> Result<Self> {
        fn value(args: &mut Args, option: &str) -> Result<i64> {
            number::parse_i64(args.given()).ok_or_else(|| {
                Error::new(format!("ERR Invalid {option} option argument for XCLAIM"))
            })
        }
        let mut it = Self::default();
        while let Some(word) = args.peek() {
            let has_value = args.left() > 1;
            if args.accept("force") {
                it.force = true;
            } else if args.accept("justid") {
                it.only_ids = true;
            } else if has_value && args.accept("idle") {
                it.delivered_ms = Some(now_ms.wrapping_sub(value(&mut args, "IDLE")?));
            } else if has_value && args.accept("time") {
                it.delivered_ms = Some(value(&mut args, "TIME")?);
            } else if has_value && args.accept("retrycount") {
                it.count = u64::try_from(value(&mut args, "RETRYCOUNT")?).ok();
            } else if has_value && args.accept("lastid") {
                it.last_id = parse_id(args.given(), 0)?;
            } else {
                return Err(Error::quoting("ERR Unrecognized XCLAIM option '", word, "'"));
            }
        }
        Ok(it)
    }
}

pub(super) fn xclaim(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name, consumer) = (args.key(), args.given(), args.given());
    let now_ms = cx.happens_ms();
    look_for_either(cx, key, name)?;
    let idle_ms = parse_idle(args.given(), "XCLAIM")?;
    let ids = args.map_while(|word| parse_id(word, 0).ok());
    let ids: Vec<StreamId> = ids.collect();
    args.take_words(ids.len())?;
    let options = Options::parse(args, now_ms)?;

    let mut effects = Effects::default();
    let mut stream = cx.edit_existing::<Stream>(key);
    let (log, groups) = stream.parts_mut();
    let group = groups.get_mut(name).expect("it was looked for");
    if options.last_id > group.last_id {
        group.last_id = options.last_id;
        effects.has_advanced = true;
    }
    let claim = Claim {
        consumer: effects.enroll(group, consumer, now_ms),
        now_ms,
        idle_ms,
        // A clock that is ahead is no reason to fail.
        delivered_ms: options.delivered_ms.filter(|ms| (0..=now_ms).contains(ms)).unwrap_or(now_ms),
        count: options.count,
        force: options.force,
        only_ids: options.only_ids,
    };
    for id in ids {
        match log.get(id) {
            Some(_) => claim.take(group, id, &mut effects),
            None => Claim::drop_lost(group, id, &mut effects),
        }
    }
    claim.answer(log, &effects.claimed, reply);
    // With what was claimed its LASTID is journaled.
    effects.has_advanced &= effects.claimed.is_empty();
    effects.changes += usize::from(effects.has_advanced);
    stream.commit_aside(effects.changes);
    effects.tell(cx, key, [name, consumer]);
    Ok(())
}

pub(super) fn xautoclaim(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    /// Entries looked at per entry wanted.
    const ATTEMPTS: usize = 10;
    const COUNT: usize = 100;
    /// So that Redis's list of ids is not too long to be counted.
    const COUNT_MAX: i64 = i64::MAX / 16;
    let (key, name, consumer) = (args.key(), args.given(), args.given());
    let idle_ms = parse_idle(args.given(), "XAUTOCLAIM")?;
    let start = parse_start(args.given())?;
    let (mut count, mut only_ids) = (COUNT, false);
    while args.left() > 0 {
        if args.left() > 1 && args.accept("count") {
            let wanted = number::parse_i64(args.given());
            let wanted = wanted.filter(|count| (1..=COUNT_MAX).contains(count));
            count = wanted.ok_or_else(|| Error::new("ERR COUNT must be > 0"))? as usize;
        } else if args.accept("justid") {
            only_ids = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    let now_ms = cx.happens_ms();
    look_for_either(cx, key, name)?;
    let tells_lost = !cx.config().profile().is_newer("7.0.0");

    let mut effects = Effects::default();
    let mut stream = cx.edit_existing::<Stream>(key);
    let (log, groups) = stream.parts_mut();
    let group = groups.get_mut(name).expect("it was looked for");
    let claim = Claim {
        consumer: effects.enroll(group, consumer, now_ms),
        now_ms,
        idle_ms,
        delivered_ms: now_ms,
        count: None,
        force: false,
        only_ids,
    };
    let mut next = Some(start);
    let mut attempts = count.saturating_mul(ATTEMPTS);
    let cursor = loop {
        let found = next.and_then(|next| group.pending().since(next).next());
        let Some((id, _)) = found else { break StreamId::MIN };
        if attempts == 0 || effects.claimed.len() + effects.lost.len() == count {
            break id;
        }
        attempts -= 1;
        match log.get(id) {
            Some(_) => claim.take(group, id, &mut effects),
            None => Claim::drop_lost(group, id, &mut effects),
        }
        next = id.next();
    };
    reply.array(if tells_lost { 3 } else { 2 });
    reply.bulk(&cursor.text());
    claim.answer(log, &effects.claimed, reply);
    if tells_lost {
        reply.array(effects.lost.len());
        effects.lost.iter().for_each(|id| reply.bulk(&id.text()));
    }
    stream.commit_aside(effects.changes);
    effects.tell(cx, key, [name, consumer]);
    Ok(())
}
