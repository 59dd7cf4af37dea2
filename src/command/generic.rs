//! DEL, RENAME, TYPE and others: commands on keys of any type.

use super::database::db_index;
use super::prelude::*;
use super::scan::admits;
use crate::engine::keyspace::KeyValue;
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Generic, &[
    row("copy",      "6.2.0", AtLeast(3), Keys::one(1).reads().and(Keys::one(2).overwrites()), &[Write, DenyOom], copy, "source destination [DB destination-db] [REPLACE]", "Gives a copy of a value another name."),
    row("del",       "1.0.0", AtLeast(2), Keys::span(1, -1).removes(),  &[Write],           del,       "key [key ...]", "Deletes keys.").tips(&[MULTI_SHARD, SUM]),
    row("exists",    "1.0.0", AtLeast(2), Keys::span(1, -1).inspects(), &[Read, Fast],      exists,    "key [key ...]", "Counts those keys that exist.").tips(&[MULTI_SHARD, SUM]),
    row("keys",      "1.0.0", Exactly(2), Keys::none(),                 &[Read, Dangerous, ListsKeys], keys,      "pattern",       "Lists all keys that match.").tips(&[ALL_SHARDS, ORDER_VARIES]),
    row("move",      "1.0.0", Exactly(3), Keys::one(1).updates().with(access::ACCESS), &[Write, Fast], move_key, "key db", "Moves a key to another database, where it must not exist."),
    row("randomkey", "1.0.0", Exactly(1), Keys::none(),                 &[Read],            randomkey, "",              "Answers a key picked at random.").tips(&[ALL_SHARDS, SPECIAL_REPLY, VARIES]),
    row("rename",    "1.0.0", Exactly(3), Keys::one(1).pops().and(Keys::one(2).overwrites()), &[Write], rename, "key newkey", "Gives a value another name, whatever that held."),
    row("renamenx",  "1.0.0", Exactly(3), Keys::one(1).pops().and(Keys::one(2).with(access::OW | access::INSERT)), &[Write, Fast], renamenx, "key newkey", "Gives a value another name, which must be free."),
    row("touch",     "3.2.1", AtLeast(2), Keys::span(1, -1).inspects(), &[Read, Fast],      touch,     "key [key ...]", "Counts those keys that exist, which counts as an access to them.").tips(&[MULTI_SHARD, SUM]),
    row("type",      "1.0.0", Exactly(2), Keys::one(1).inspects(),      &[Read, Fast],      type_name, "key",           "Tells of what type a value is."),
    row("unlink",    "4.0.0", AtLeast(2), Keys::span(1, -1).removes(),  &[Write, Fast],     unlink,    "key [key ...]", "Deletes keys: the same as DEL.").tips(&[MULTI_SHARD, SUM]),
    row("wait",      "3.0.0", Exactly(3), Keys::none(),                 &[Blocking],        wait,      "numreplicas timeout", "Waits until so many replicas have all that was changed.").tips(&[ALL_SHARDS, MIN]).acl_families(&[Category::Connection]),
    row("waitaof",   "7.2.0", Exactly(4), Keys::none(),                 &[Blocking],        waitaof,   "numlocal numreplicas timeout", "Waits until the append-only file is synced.").tips(&[ALL_SHARDS, MIN]).acl_families(&[Category::Connection]),
]);

fn del(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let deleted = args.filter(|key| cx.remove(key, "del")).count();
    reply.count(deleted);
    Ok(())
}

/// Redis frees what is removed in this way in the background if it is more than this, and counts
/// that. Here only what is much larger is freed later, however it was removed.
const LAZY_PIECES_MIN: usize = 65;

fn unlink(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    for key in args.remaining() {
        let is_lazy = cx.peek(key).is_some_and(|entry| entry.value.pieces() >= LAZY_PIECES_MIN);
        cx.count_lazily_freed(usize::from(is_lazy));
    }
    del(cx, args, reply)
}

/// A key that is named twice counts twice.
fn exists(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let existing = args.filter(|key| cx.inspect(key).is_some()).count();
    reply.count(existing);
    Ok(())
}

/// The one command that is an access even for a client that said NO-TOUCH.
fn touch(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let touched = args.filter(|key| cx.touch(key)).count();
    reply.count(touched);
    Ok(())
}

fn type_name(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    reply.status(cx.inspect(args.key()).map_or("none", |entry| entry.value.type_name()));
    Ok(())
}

/// Keys whose time is up are passed over, not removed: the timer wheel is about to.
fn keys(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let pattern = args.given();
    let keyspace = cx.keyspace();
    let is_wanted =
        |entry: &&KeyValue| admits(pattern, &entry.key.text()) && !keyspace.is_over(cx.db, entry);
    let wanted: Vec<&KeyValue> = keyspace.db(cx.db).iter().filter(is_wanted).collect();
    reply.array(wanted.len());
    wanted.iter().for_each(|entry| reply.bulk(&entry.key.text()));
    Ok(())
}

fn randomkey(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let picked = cx.random_key();
    reply.bulk_or_null(picked.map(|entry| entry.key.text()).as_deref());
    Ok(())
}

fn rename(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    give_name(cx, args, true)?;
    reply.ok();
    Ok(())
}

fn renamenx(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let is_given = give_name(cx, args, false)?;
    reply.flag(is_given);
    Ok(())
}

/// False if nothing was done: it has that name, or may not have it.
fn give_name(cx: &mut Ctx, mut args: Args, replaces: bool) -> Result<bool> {
    let (key, name) = (args.key(), args.given());
    if !cx.exists(key) {
        return Err(Error::NoSuchKey);
    }
    if key == name || (!replaces && cx.exists(name)) {
        return Ok(false);
    }
    let place = (cx.db, name);
    cx.rename(key, place, "rename_from", "rename_to");
    Ok(true)
}

fn move_key(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, from, to) = (args.key(), cx.db, db_index(cx, args.word()?)?);
    if from == to {
        return Err(Error::SameObject);
    }
    let is_moved = cx.exists(key) && !cx.exists_in(to, key);
    if is_moved {
        cx.rename(key, (to, key), "move_from", "move_to");
    }
    reply.flag(is_moved);
    Ok(())
}

fn copy(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (source, target) = (args.key(), args.key());
    let (mut db, mut replaces) = (cx.db, false);
    while args.left() > 0 {
        if args.accept("replace") {
            replaces = true;
        } else if args.left() > 1 && args.accept("db") {
            db = db_index(cx, args.word()?)?;
        } else {
            return Err(Error::Syntax);
        }
    }
    if db == cx.db && source == target {
        return Err(Error::SameObject);
    }
    let copy = cx.read_any(source).map(|entry| entry.value.clone());
    let expires_ms = cx.expires_ms(source);
    let copy = copy.filter(|_| replaces || !cx.exists_in(db, target));
    reply.flag(copy.is_some());
    if let Some(value) = copy {
        cx.put_copy((db, target), value, expires_ms);
    }
    Ok(())
}

fn wait(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if cx.server().replication.is_following() {
        return Err(Error::new(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis \
             4.0 if a replica is configured to be writable (which is not the default) writes to \
             replicas are just local and are not propagated.",
        ));
    }
    let (replicas, timeout) = (args.int()?, Timeout::millis(args.word()?, cx.now_ms())?);
    let of = Empty::Replicas { offset: cx.server().stream_offset() };
    let wanted = Acknowledgement { of, wants_file: false, replicas };
    cx.block(Wait { on: On::Nothing, timeout, empty: of }, wanted, args, reply)
}

fn waitaof(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let wants_file = args.int_within(0..=1)? == 1;
    let replicas = number::parse_i64(args.word()?).filter(|count| *count >= 0);
    let replicas = replicas.ok_or(Error::NotPositive)?;
    let timeout = Timeout::millis(args.word()?, cx.now_ms())?;
    let engine = cx.server();
    if engine.replication.is_following() {
        return Err(Error::new(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to \
             replicas are just local and are not propagated.",
        ));
    }
    if wants_file && engine.persistence.appending.is_none() {
        return Err(Error::new(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    let until = engine.keyspace.aftermath.journal.file_offset();
    let of = Empty::Synced { until, offset: engine.stream_offset() };
    let wanted = Acknowledgement { of, wants_file, replicas };
    cx.block(Wait { on: On::Nothing, timeout, empty: of }, wanted, args, reply)
}

/// Waits until all that was changed has come so far.
#[derive(Debug)]
struct Acknowledgement {
    of: Empty,
    /// Whether the append-only file has to be synced, and how many replicas it takes.
    wants_file: bool,
    replicas: i64,
}

impl Attempt for Acknowledgement {
    fn keys(&self) -> Range<usize> {
        0..0
    }

    fn attempt(&self, cx: &mut Ctx, _: Args, _: Woken, reply: &mut Reply) -> Result<bool> {
        let reached = cx.server().reached(self.of);
        let is_enough =
            reached.replicas as i64 >= self.replicas && (reached.is_synced || !self.wants_file);
        if is_enough {
            self.of.write(reply, reached);
        } else {
            cx.hear_how_far(self.replicas > 0);
        }
        Ok(is_enough)
    }
}
