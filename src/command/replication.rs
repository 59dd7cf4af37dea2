//! PSYNC, REPLCONF, REPLICAOF, ROLE and others: who follows whom, and how far; and TORIL HANDOVER,
//! after which another server leads.

use super::prelude::*;
use crate::config::{Secret, ServerUrl};
use crate::engine::effect::Effect;
use crate::engine::failover::Failover;
use crate::engine::following::LinkStage;
use crate::engine::handing_over::HandedOver;
use crate::engine::replication::{Replica, ReplicaStage, ReplicaWord};
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    row("failover",  "6.2.0",  AtLeast(1), Keys::none(), &[Admin, NoScript, Stale], failover, "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]", "Has a replica lead, and follows it from then on."),
    row("psync",     "2.8.0",  AtLeast(3), Keys::none(), &[Admin, NoScript, NoAsyncLoading, NoMulti, NeedsConnection], psync, "replicationid offset", "Follows the server, from an offset of its stream on or with a snapshot first."),
    row("replconf",  "3.0.0",  AtLeast(1), Keys::none(), &[Admin, NoScript, Loading, Stale, AllowBusy, NeedsConnection], replconf, "", "Tells what a replica can do, and how far it is."),
    row("replicaof", "5.0.0",  Exactly(3), Keys::none(), &[Admin, NoAsyncLoading, NoScript, Stale], replicaof, "<host port | NO ONE>", "Follows another server, or nobody any more."),
    row("role",      "2.8.12", Exactly(1), Keys::none(), &[NoScript, Loading, Stale, Fast, AclAdmin, Dangerous], role, "", "Answers the server's part in replication, and its replicas."),
    row("slaveof",   "1.0.0",  Exactly(3), Keys::none(), &[Admin, NoAsyncLoading, NoScript, Stale], replicaof, "<host port | NO ONE>", "Follows another server, or nobody any more."),
    row("sync",      "1.0.0",  Exactly(1), Keys::none(), &[Admin, NoScript, NoAsyncLoading, NoMulti, NeedsConnection], sync, "", "Follows the server, with a snapshot first."),
]);

fn psync(cx: &mut Ctx, mut args: Args, _reply: &mut Reply) -> Result {
    let history = args.word()?;
    let offset = args.int()?;
    if args.accept("failover") {
        cx.take_lead(history)?;
    }
    cx.follow_from(Some((history, offset)))
}

fn sync(cx: &mut Ctx, _args: Args, _reply: &mut Reply) -> Result {
    cx.follow_from(None)
}

fn replconf(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if !args.left().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    while let Some(name) = args.next() {
        let told = match &name.to_ascii_lowercase()[..] {
            b"listening-port" => ReplicaWord::Port(args.int()? as u16),
            b"ip-address" => ReplicaWord::Address(args.word()?),
            b"capa" => ReplicaWord::Capability(args.word()?),
            b"version" => ReplicaWord::Version(args.word()?),
            b"rdb-only" => ReplicaWord::RdbOnly(args.int_within(0..=1)? == 1),
            b"ack" => {
                let next = |args: &mut Args| u64::try_from(args.int().ok()?).ok();
                let offset = next(&mut args);
                let synced = if args.accept("fack") { next(&mut args) } else { None };
                if let Some(offset) = offset {
                    cx.note_replica(ReplicaWord::Acknowledged { offset, synced });
                }
                // Nobody is answered, whatever follows.
                return Ok(());
            }
            b"getack" => return Ok(()),
            _ => return Err(Error::quoting("ERR Unrecognized REPLCONF option: ", name, "")),
        };
        cx.note_replica(told);
    }
    reply.ok();
    Ok(())
}

fn role(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let engine = cx.server();
    if let Some(following) = engine.replication.following() {
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(following.host.as_bytes());
        reply.int(i64::from(following.port));
        reply.bulk(stage_name(following.stage));
        let is_up = following.stage == LinkStage::Up;
        reply.int(if is_up { engine.replication.offset as i64 } else { -1 });
        return Ok(());
    }
    let follows = |(_, it): &(_, &Replica)| it.stage == ReplicaStage::Follows;
    let replicas: Vec<_> = engine.replication.replicas().filter(follows).collect();
    reply.array(3);
    reply.bulk(b"master");
    reply.int(engine.stream_offset() as i64);
    reply.array(replicas.len());
    for (id, replica) in replicas {
        reply.array(3);
        reply.bulk(engine.replica_address(id, replica).as_bytes());
        reply.bulk_int(i64::from(replica.port));
        reply.bulk_int(replica.acknowledged as i64);
    }
    Ok(())
}

fn stage_name(stage: LinkStage) -> &'static [u8] {
    match stage {
        LinkStage::Down => b"connect",
        LinkStage::Connecting => b"connecting",
        LinkStage::Greets => b"handshake",
        LinkStage::Loads => b"sync",
        LinkStage::Up => b"connected",
    }
}

fn failover(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let is_abort = args.left() == 1 && args.accept("abort");
    let mut wanted = Failover { target: None, timeout_ms: None, is_forced: false };
    while args.left() > 0 {
        if args.left() > 1 && wanted.timeout_ms.is_none() && args.accept("timeout") {
            let span_ms = u64::try_from(args.int()?).ok().filter(|it| *it > 0);
            let refusal = || Error::new("ERR FAILOVER timeout must be greater than 0");
            wanted.timeout_ms = Some(span_ms.ok_or_else(refusal)?);
        } else if args.left() > 2 && wanted.target.is_none() && args.accept("to") {
            let host = String::from_utf8_lossy(args.word()?).into_owned();
            // What is no port is nobody's.
            wanted.target = Some((host, u16::try_from(args.int()?).unwrap_or(0)));
        } else if !wanted.is_forced && args.accept("force") {
            wanted.is_forced = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    if is_abort {
        cx.abort_failover()?
    } else {
        cx.fail_over(wanted)?
    }
    reply.ok();
    Ok(())
}

fn replicaof(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    cx.check_replicaof()?;
    if args.accept("no") && args.accept("one") {
        cx.lead();
        reply.ok();
        return Ok(());
    }
    let &[_, host, port] = args.all() else { return Err(Error::Syntax) };
    let port = number::parse_i64(port).and_then(|it| u16::try_from(it).ok());
    let port = port.ok_or_else(|| Error::new("ERR Invalid master port"))?;
    let host = String::from_utf8_lossy(host);
    if cx.server().replication.following().is_some_and(|it| it.host == host && it.port == port) {
        reply.status("OK Already connected to specified master");
        return Ok(());
    }
    cx.follow(&host, port);
    reply.ok();
    Ok(())
}

/// Who is asked for keys that are over counts those too whose time comes within this: the other
/// server may be ahead of us.
const SOON_MS: i64 = 2_000;

/// What `toril hand-over` asks of the server that it moves (engine/handing_over.rs).
pub(super) fn hand_over(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let all = args;
    if args.accept("pause") {
        let span_ms = args.int_within(1..=60_000)? as u64;
        args.end()?;
        let offset = cx.pause_to_hand_over(span_ms * 1_000)?;
        reply.int(offset as i64);
    } else if args.accept("resume") {
        args.end()?;
        cx.resume_from_handing_over();
        reply.ok();
    } else if args.accept("over") {
        args.end()?;
        count_over(cx, reply);
    } else if args.accept("reach") {
        let host = String::from_utf8_lossy(args.word()?).into_owned();
        let mut to = ServerUrl::to(host, args.int_within(1..=65_535)? as u16);
        read_login(&mut args, &mut to)?;
        args.end()?;
        cx.await_effect(Effect::Reach { client: cx.client, to }, all);
    } else if args.accept("done") {
        let offset = args.int_within(0..=i64::MAX)? as u64;
        let host = String::from_utf8_lossy(args.word()?).into_owned();
        let port = args.int_within(1..=65_535)? as u16;
        let mut to = ServerUrl::to(host, port);
        let forwards = args.accept("forward");
        let span_ms = if forwards { args.int_within(1..=i64::MAX / 1_000)? } else { 0 };
        if forwards {
            read_login(&mut args, &mut to)?;
        }
        args.end()?;
        let until_us = cx.now().mono_us.saturating_add(span_ms as u64 * 1_000);
        let forwards_until_us = if forwards { until_us } else { 0 };
        cx.hand_over(offset, HandedOver::to(to, forwards_until_us))?;
        reply.ok();
    } else {
        return Err(Error::Syntax);
    }
    Ok(())
}

/// How a server is spoken to: over TLS, and as whom.
fn read_login(args: &mut Args, to: &mut ServerUrl) -> Result {
    to.is_tls = args.accept("tls");
    if args.accept("auth") {
        to.user = Some(String::from_utf8_lossy(args.word()?).into_owned());
        to.password = Some(Secret::new(args.word()?));
    }
    Ok(())
}

/// Of each database that has keys: its number, and how many of them are over or soon will be.
fn count_over(cx: &mut Ctx, reply: &mut Reply) {
    let soon_ms = cx.now_ms() + SOON_MS;
    let keyspace = &cx.server().keyspace;
    let all = (0..keyspace.databases()).map(|number| (number, keyspace.db(number)));
    let counts: Vec<(usize, usize)> = all
        .filter(|(_, db)| !db.is_empty())
        .map(|(number, db)| {
            let is_over = |at_ms: i64| at_ms < soon_ms;
            (number, db.iter().filter(|it| db.expires_ms(it).is_some_and(is_over)).count())
        })
        .collect();
    reply.array(counts.len() * 2);
    for (number, count) in counts {
        reply.int(number as i64);
        reply.int(count as i64);
    }
}
