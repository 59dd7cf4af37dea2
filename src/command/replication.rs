//! PSYNC, REPLCONF, ROLE and others: who follows this server, and how far. toril itself follows
//! nobody yet: REPLICAOF refuses, and FAILOVER is absent.

use super::prelude::*;
use crate::engine::replication::{Replica, ReplicaStage, ReplicaWord};
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    row("psync",     "2.8.0",  AtLeast(3), Keys::none(), &[Admin, NoScript, NoAsyncLoading, NoMulti, NeedsConnection], psync, "replicationid offset", "Follows the server, from an offset of its stream on or with a snapshot first."),
    row("replconf",  "3.0.0",  AtLeast(1), Keys::none(), &[Admin, NoScript, Loading, Stale, AllowBusy, NeedsConnection], replconf, "", "Tells what a replica can do, and how far it is."),
    row("replicaof", "5.0.0",  Exactly(3), Keys::none(), &[Admin, NoAsyncLoading, NoScript, Stale], replicaof, "<host port | NO ONE>", "Refused but for NO ONE: toril follows nobody yet."),
    row("role",      "2.8.12", Exactly(1), Keys::none(), &[NoScript, Loading, Stale, Fast, AclAdmin, Dangerous], role, "", "Answers the server's part in replication, and its replicas."),
    row("slaveof",   "1.0.0",  Exactly(3), Keys::none(), &[Admin, NoAsyncLoading, NoScript, Stale], replicaof, "<host port | NO ONE>", "Refused but for NO ONE: toril follows nobody yet."),
    row("sync",      "1.0.0",  Exactly(1), Keys::none(), &[Admin, NoScript, NoAsyncLoading, NoMulti, NeedsConnection], sync, "", "Follows the server, with a snapshot first."),
]);

fn psync(cx: &mut Ctx, mut args: Args, _reply: &mut Reply) -> Result {
    let history = args.word()?;
    let offset = args.int()?;
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
                let offset = args.int().ok().and_then(|it| u64::try_from(it).ok());
                offset.into_iter().for_each(|it| cx.note_replica(ReplicaWord::Acknowledged(it)));
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

/// Who leads already may be told to.
fn replicaof(_cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if args.accept("no") && args.accept("one") {
        reply.ok();
        return Ok(());
    }
    let port = number::parse_i64(args.all()[2]);
    Err(Error::new(match port {
        Some(0..=65_535) => "ERR toril follows no other server yet",
        _ => "ERR Invalid master port",
    }))
}
