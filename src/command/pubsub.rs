//! PUBLISH, SUBSCRIBE and their family. A subscription is confirmed by a push, one per channel,
//! even where the request named several.

use super::prelude::*;
use crate::engine::pubsub::ChannelKind;
use crate::engine::row::Channels;
use crate::util::glob::{self, Case};

const SHARDS: Keys = Keys::span(1, -1).with(access::NOT_KEY);

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Pubsub, &[
    row("subscribe",    "2.0.0", AtLeast(2), Keys::none(), &[Pubsub, NoScript, Loading, Stale, AllowSubscriber, NeedsConnection, Harmless], subscribe, "channel [channel ...]", "Listens to channels.").channels(Channels::All),
    row("unsubscribe",  "2.0.0", AtLeast(1), Keys::none(), &[Pubsub, NoScript, Loading, Stale, AllowSubscriber, NeedsConnection], unsubscribe, "[channel [channel ...]]", "Listens to channels no more; without any, to none at all."),
    row("psubscribe",   "2.0.0", AtLeast(2), Keys::none(), &[Pubsub, NoScript, Loading, Stale, AllowSubscriber, NeedsConnection, Harmless], psubscribe, "pattern [pattern ...]", "Listens to all channels that patterns match.").channels(Channels::Patterns),
    row("punsubscribe", "2.0.0", AtLeast(1), Keys::none(), &[Pubsub, NoScript, Loading, Stale, AllowSubscriber, NeedsConnection], punsubscribe, "[pattern [pattern ...]]", "Listens to patterns no more; without any, to none at all."),
    row("ssubscribe",   "7.0.0", AtLeast(2), SHARDS,       &[Pubsub, NoScript, Loading, Stale, AllowSubscriber, NeedsConnection], ssubscribe, "shardchannel [shardchannel ...]", "Listens to shard channels.").channels(Channels::All),
    row("sunsubscribe", "7.0.0", AtLeast(1), SHARDS,       &[Pubsub, NoScript, Loading, Stale, AllowSubscriber, NeedsConnection], sunsubscribe, "[shardchannel [shardchannel ...]]", "Listens to shard channels no more; without any, to none at all."),
    row("publish",      "2.0.0", Exactly(3), Keys::none(), &[Pubsub, Loading, Stale, Fast, MayReplicate, ForReplicas], publish, "channel message", "Sends a message to all who listen; answers how many got it.").channels(Channels::First),
    row("spublish",     "7.0.0", Exactly(3), Keys::one(1).with(access::NOT_KEY), &[Pubsub, Loading, Stale, Fast, MayReplicate, ForReplicas], spublish, "shardchannel message", "Sends a message to all who listen to a shard channel.").channels(Channels::First),
    container("pubsub", "2.8.0", &[
        row("channels",      "2.8.0", AtLeast(2), Keys::none(), &[Pubsub, Loading, Stale], channels, "[pattern]", "Lists the channels that somebody listens to."),
        help("6.2.0"),
        row("numpat",        "2.8.0", Exactly(2), Keys::none(), &[Pubsub, Loading, Stale], numpat, "", "Counts the different patterns."),
        row("numsub",        "2.8.0", AtLeast(2), Keys::none(), &[Pubsub, Loading, Stale], numsub, "[channel [channel ...]]", "Counts those who listen to each channel."),
        row("shardchannels", "7.0.0", AtLeast(2), Keys::none(), &[Pubsub, Loading, Stale], shardchannels, "[pattern]", "Lists the shard channels that somebody listens to."),
        row("shardnumsub",   "7.0.0", AtLeast(2), Keys::none(), &[Pubsub, Loading, Stale], shardnumsub, "[shardchannel [shardchannel ...]]", "Counts those who listen to each shard channel."),
    ], "Tells who listens to what."),
]);

fn subscribe(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    join(cx, args, reply, ChannelKind::Channel)
}

fn psubscribe(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    join(cx, args, reply, ChannelKind::Pattern)
}

fn ssubscribe(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    join(cx, args, reply, ChannelKind::Shard)
}

fn unsubscribe(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    leave(cx, args, reply, ChannelKind::Channel)
}

fn punsubscribe(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    leave(cx, args, reply, ChannelKind::Pattern)
}

fn sunsubscribe(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    leave(cx, args, reply, ChannelKind::Shard)
}

fn join(cx: &mut Ctx, args: Args, reply: &mut Reply, kind: ChannelKind) -> Result {
    for name in args {
        cx.subscribe(kind, name);
        tell(cx, reply, kind.subscribed(), kind, Some(name));
    }
    Ok(())
}

fn leave(cx: &mut Ctx, args: Args, reply: &mut Reply, kind: ChannelKind) -> Result {
    if args.left() > 0 {
        for name in args {
            cx.unsubscribe(kind, name);
            tell(cx, reply, kind.unsubscribed(), kind, Some(name));
        }
        return Ok(());
    }
    let names = cx.caller().map(|client| client.names(kind).clone()).unwrap_or_default();
    for name in &names {
        cx.unsubscribe(kind, name);
        tell(cx, reply, kind.unsubscribed(), kind, Some(name));
    }
    if names.is_empty() {
        tell(cx, reply, kind.unsubscribed(), kind, None);
    }
    Ok(())
}

/// Channels and patterns count together, shard channels for themselves. As a push this reaches also
/// a client that has switched its replies off.
fn tell(cx: &mut Ctx, reply: &mut Reply, what: &str, kind: ChannelKind, name: Option<&[u8]>) {
    let Some(client) = cx.caller() else { return };
    let count = match kind {
        ChannelKind::Channel | ChannelKind::Pattern => {
            client.names(ChannelKind::Channel).len() + client.names(ChannelKind::Pattern).len()
        }
        ChannelKind::Shard => client.names(ChannelKind::Shard).len(),
    };
    let write = |reply: &mut Reply| {
        reply.push(3);
        reply.bulk(what.as_bytes());
        reply.bulk_or_null(name);
        reply.count(count);
    };
    if client.wants_replies() {
        return write(reply);
    }
    let mut push = Vec::new();
    write(&mut Reply::bytes(&mut push, reply.protocol()));
    cx.push(&push);
}

fn publish(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    reply.count(cx.publish(args.given(), args.given()));
    Ok(())
}

fn spublish(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    reply.count(cx.publish_shard(args.given(), args.given()));
    Ok(())
}

fn channels(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    list(cx, args, reply, ChannelKind::Channel)
}

fn shardchannels(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    list(cx, args, reply, ChannelKind::Shard)
}

fn list(cx: &mut Ctx, mut args: Args, reply: &mut Reply, kind: ChannelKind) -> Result {
    let pattern = args.next();
    if args.left() > 0 {
        return Err(Error::misused(args.all()[1], "PUBSUB"));
    }
    let names = cx.server().pubsub.of(kind).keys();
    let matches = |name: &[u8]| pattern.is_none_or(|it| glob::matches(it, name, Case::Sensitive));
    let names: Vec<&Box<[u8]>> = names.filter(|name| matches(name)).collect();
    reply.bulks(&names);
    Ok(())
}

fn numsub(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    count(cx, args, reply, ChannelKind::Channel)
}

fn shardnumsub(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    count(cx, args, reply, ChannelKind::Shard)
}

/// An array of pairs in both protocols.
fn count(cx: &mut Ctx, args: Args, reply: &mut Reply, kind: ChannelKind) -> Result {
    let listeners = cx.server().pubsub.of(kind);
    reply.array(args.left() * 2);
    for name in args {
        reply.bulk(name);
        reply.count(listeners.get(name).map_or(0, |clients| clients.len()));
    }
    Ok(())
}

fn numpat(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.count(cx.server().pubsub.patterns.len());
    Ok(())
}
