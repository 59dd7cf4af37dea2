//! DUMP and RESTORE: a value as the bytes in which it travels between servers.

use super::prelude::*;
use crate::engine::keyspace::Used;
use crate::rdb::{self, Flaw, Made};
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Generic, &[
    row("dump",    "2.6.0", Exactly(2), Keys::one(1).reads(),      &[Read],                      dump,    "key", "Answers a value as bytes that RESTORE takes, here or on a Redis server.").tips(&[VARIES]),
    row("restore", "2.6.0", AtLeast(4), Keys::one(1).overwrites(), &[Write, DenyOom, Dangerous], restore, RESTORE_SYNTAX, "Makes a key of what DUMP answered."),
]);

/// What a cluster's nodes say to each other.
#[rustfmt::skip]
pub const ASKING: Family = Family::new(Category::Server, &[
    row("restore-asking", "3.0.0", AtLeast(4), Keys::one(1).overwrites(), &[Write, DenyOom, Dangerous, Asking], restore, RESTORE_SYNTAX, "The same as RESTORE: there is no cluster.").acl_families(&[Category::Generic]),
]);

const RESTORE_SYNTAX: &str =
    "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]";

/// A key's value as DUMP answers it. None if there is no such key.
pub(super) fn payload_of(cx: &mut Ctx, key: &[u8]) -> Option<Vec<u8>> {
    let (limits, compresses) = (cx.limits().clone(), cx.config().rdbcompression);
    let entry = cx.read_any(key)?;
    Some(rdb::dump(&entry.value, &limits, compresses))
}

fn dump(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    match payload_of(cx, args.key()) {
        Some(payload) => reply.bulk(&payload),
        None => reply.null(),
    }
    Ok(())
}

/// What may stand behind RESTORE's value.
#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
    /// Since the last access, in seconds.
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn read(mut args: Args) -> Result<Self> {
        let mut options = Self::default();
        while args.left() > 0 {
            let has_value = args.left() > 1;
            if args.accept("replace") {
                options.replaces = true;
            } else if args.accept("absttl") {
                options.is_absolute = true;
            } else if has_value && options.frequency.is_none() && args.accept("idletime") {
                let error = || Error::new("ERR Invalid IDLETIME value, must be >= 0");
                options.idle_s = Some(u64::try_from(args.int()?).map_err(|_| error())?);
            } else if has_value && options.idle_s.is_none() && args.accept("freq") {
                let error = || Error::new("ERR Invalid FREQ value, must be >= 0 and <= 255");
                options.frequency = Some(u8::try_from(args.int()?).map_err(|_| error())?);
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    /// What counts of it under the policy of eviction, as in Redis.
    fn used(&self, is_lfu: bool) -> Used {
        match (is_lfu, self.frequency, self.idle_s) {
            (true, Some(frequency), _) => Used::Often(frequency),
            (false, _, Some(idle_s)) => Used::Idle(idle_s as u32),
            _ => Used::Unknown,
        }
    }
}

fn restore(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, ttl, payload) = (args.key(), args.given(), args.given());
    let options = Options::read(args)?;
    if !options.replaces && cx.exists(key) {
        return Err(Error::new("BUSYKEY Target key name already exists."));
    }
    let ttl = number::parse_i64(ttl).ok_or(Error::NotInteger)?;
    if ttl < 0 {
        return Err(Error::new("ERR Invalid TTL value, must be >= 0"));
    }
    let value = rdb::restore(payload, cx.limits()).map_err(refusal)?;
    reply.ok();
    let start_ms = if options.is_absolute { 0 } else { cx.now_ms() };
    let at_ms = (ttl > 0).then(|| start_ms.saturating_add(ttl));
    if at_ms.is_some_and(|at_ms| at_ms <= cx.now_ms()) {
        if cx.remove(key, "del") {
            cx.journal_as(&[b"DEL", key]);
        }
        return Ok(());
    }
    let used = options.used(cx.config().maxmemory_policy.is_lfu());
    let lifetime = at_ms.map_or(Lifetime::Endless, Lifetime::Until);
    // A Redis 7.0 that follows takes no later payload than its own.
    let old = cx
        .server()
        .replication
        .has_old()
        .then(|| rdb::dump_as(Made::FOR_REDIS_7_0, &value, cx.limits(), true));
    cx.restore(key, value, lifetime, used, "restore");
    let at_ms = at_ms.filter(|_| !options.is_absolute);
    if at_ms.is_none() && old.is_none() {
        return Ok(());
    }
    let (mut buffer, mut words) = (itoa::Buffer::new(), args.all().to_vec());
    if let Some(at_ms) = at_ms {
        words[2] = buffer.format(at_ms).as_bytes();
        words.push(b"ABSTTL");
    }
    words[3] = old.as_deref().unwrap_or(payload);
    cx.journal_as(&words);
    Ok(())
}

fn refusal(flaw: Flaw) -> Error {
    match flaw {
        Flaw::Unsealed => Error::new("ERR DUMP payload version or checksum are wrong"),
        Flaw::Short | Flaw::Corrupt | Flaw::Empty | Flaw::Foreign(_) => {
            Error::new("ERR Bad data format")
        }
    }
}
