//! CLIENT: lists connections, names them, pauses, unblocks and closes them, and tells them which
//! keys to forget.

mod tracking;

use super::connection::set_name;
use super::prelude::*;
use crate::engine::acl::user::User;
use crate::engine::client::{Client, ClientId, ClientPart, ReplyMode};
use crate::util::number;
use std::rc::Rc;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Connection, &[
    container("client", "2.4.0", &[
        row("caching",  "6.0.0",  Exactly(3), Keys::none(), &[NoScript, Loading, Stale], tracking::caching, "YES|NO", "Lets the keys of the next command be tracked, or not."),
        row("getname",  "2.6.9",  Exactly(2), Keys::none(), &[NoScript, Loading, Stale], getname, "", "Answers the connection's name."),
        row("getredir", "6.0.0",  Exactly(2), Keys::none(), &[NoScript, Loading, Stale], tracking::getredir, "", "Answers who is told which keys the connection is to forget."),
        help("5.0.0"),
        row("id",       "5.0.0",  Exactly(2), Keys::none(), &[NoScript, Loading, Stale], id, "", "Answers the connection's number."),
        row("info",     "6.2.0",  Exactly(2), Keys::none(), &[NoScript, Loading, Stale], info, "", "Answers the connection's line of CLIENT LIST.").tips(&[VARIES]),
        row("kill",     "2.4.0",  AtLeast(3), Keys::none(), &[Admin, NoScript, Loading, Stale], kill, "<ip:port | <[ID client-id] | [TYPE NORMAL|MASTER|SLAVE|REPLICA|PUBSUB] | [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME YES|NO] | [MAXAGE maxage]> [...]>", "Closes the connections for which all that is given holds."),
        row("list",     "2.4.0",  AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale], list, "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID client-id [client-id ...]]", "Lists the connections, one per line.").tips(&[VARIES]),
        row("no-evict", "7.0.0",  Exactly(3), Keys::none(), &[Admin, NoScript, Loading, Stale], no_evict, "ON|OFF", "Exempts the connection from being closed when memory is short."),
        row("no-touch", "7.2.0",  Exactly(3), Keys::none(), &[NoScript, Loading, Stale], no_touch, "ON|OFF", "Lets the connection read keys without it counting as an access."),
        row("pause",    "3.0.0",  AtLeast(3), Keys::none(), &[Admin, NoScript, Loading, Stale], pause, "timeout [WRITE|ALL]", "Holds all requests back, or those that write, for so many milliseconds."),
        row("reply",    "3.2.0",  Exactly(3), Keys::none(), &[NoScript, Loading, Stale], reply_mode, "ON|OFF|SKIP", "Switches replies on or off, or leaves out the next one."),
        row("setinfo",  "7.2.0",  Exactly(4), Keys::none(), &[NoScript, Loading, Stale], setinfo, "<LIB-NAME libname | LIB-VER libver>", "Tells which library the client uses.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
        row("setname",  "2.6.9",  Exactly(3), Keys::none(), &[NoScript, Loading, Stale], setname, "connection-name", "Gives the connection a name.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
        row("tracking", "6.0.0",  AtLeast(3), Keys::none(), &[NoScript, Loading, Stale], tracking::tracking, "ON|OFF [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]", "Has the connection told which of the keys that it has read have changed."),
        row("trackinginfo", "6.2.0", Exactly(2), Keys::none(), &[NoScript, Loading, Stale], tracking::trackinginfo, "", "Tells how the connection's keys are tracked."),
        row("unblock",  "5.0.0",  AtLeast(3), Keys::none(), &[Admin, NoScript, Loading, Stale], unblock, "client-id [TIMEOUT|ERROR]", "Ends the wait of a blocked client."),
        row("unpause",  "6.2.0",  Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], unpause, "", "Lets requests go on that CLIENT PAUSE holds back."),
    ], "Tells about connections and controls them.").with_flags(&[NeedsConnection, KeepsCaching]),
]);

fn id(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.int(cx.client.0 as i64);
    Ok(())
}

fn getname(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let name = cx.caller().map(|client| &*client.name);
    reply.bulk_or_null(name.filter(|name| !name.is_empty()));
    Ok(())
}

fn setname(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    set_name(cx, args.given())?;
    reply.ok();
    Ok(())
}

fn setinfo(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (option, value) = (args.given(), args.given());
    let Some(client) = cx.caller() else { return Ok(()) };
    let place = match &option.to_ascii_lowercase()[..] {
        b"lib-name" => &mut client.lib_name,
        b"lib-ver" => &mut client.lib_version,
        _ => return Err(Error::quoting("ERR Unrecognized option '", option, "'")),
    };
    if !value.iter().all(u8::is_ascii_graphic) {
        let rule = " cannot contain spaces, newlines or special characters.";
        return Err(Error::quoting("ERR ", option, rule));
    }
    *place = value.into();
    reply.ok();
    Ok(())
}

fn no_evict(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let is_on = on_or_off(args)?;
    if let Some(client) = cx.caller() {
        client.no_evict = is_on; // It is weighed anew when its answer is sent.
    }
    reply.ok();
    Ok(())
}

fn no_touch(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let is_on = on_or_off(args)?;
    if let Some(client) = cx.caller() {
        client.no_touch = is_on;
    }
    reply.ok();
    Ok(())
}

fn on_or_off(mut args: Args) -> Result<bool> {
    if args.accept("on") {
        Ok(true)
    } else if args.accept("off") {
        Ok(false)
    } else {
        Err(Error::Syntax)
    }
}

/// Its own reply comes only if replies are on afterwards.
fn reply_mode(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(client) = cx.caller() else { return Ok(()) };
    if args.accept("on") {
        client.reply_mode = ReplyMode::On;
        reply.ok();
    } else if args.accept("off") {
        client.reply_mode = ReplyMode::Off;
    } else if args.accept("skip") {
        if client.reply_mode != ReplyMode::Off {
            client.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(Error::Syntax);
    }
    Ok(())
}

fn pause(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let span = args.given();
    let only_writes = match args.next() {
        None => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"all") => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"write") => true,
        Some(_) => return Err(Error::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let span = Timeout::millis(span, cx.now_ms())?;
    cx.pause(span.micros(), only_writes);
    reply.ok();
    Ok(())
}

fn unpause(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    cx.unpause();
    reply.ok();
    Ok(())
}

fn unblock(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if args.left() > 2 {
        return Err(Error::misused(args.all()[1], "CLIENT"));
    }
    let id = args.given();
    let error = match args.next() {
        None => None,
        Some(reason) if reason.eq_ignore_ascii_case(b"timeout") => None,
        Some(reason) if reason.eq_ignore_ascii_case(b"error") => {
            Some(Error::new("UNBLOCKED client unblocked via CLIENT UNBLOCK"))
        }
        Some(_) => {
            return Err(Error::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = number::parse_i64(id).ok_or(Error::NotInteger)?;
    reply.flag(cx.unblock(ClientId(id as u64), error));
    Ok(())
}

/// The types of client that LIST and KILL tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Normal,
    Pubsub,
    /// The server that this one follows.
    Master,
    Replica,
}

impl Type {
    fn of(client: &Client) -> Self {
        match (client.part, client.subscriptions()) {
            (ClientPart::Primary, _) => Type::Master,
            (ClientPart::Replica, 0) => Type::Replica,
            (ClientPart::User, 0) => Type::Normal,
            _ => Type::Pubsub,
        }
    }

    fn parse(word: &[u8]) -> Result<Self> {
        match &word.to_ascii_lowercase()[..] {
            b"normal" => Ok(Type::Normal),
            b"pubsub" => Ok(Type::Pubsub),
            b"master" => Ok(Type::Master),
            b"replica" | b"slave" => Ok(Type::Replica),
            _ => Err(Error::quoting("ERR Unknown client type '", word, "'")),
        }
    }
}

/// What CLIENT KILL asks for; each condition that is given must hold.
#[derive(Default)]
struct Filter<'a> {
    id: Option<ClientId>,
    of_type: Option<Type>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    age_s_min: Option<i64>,
    user: Option<Rc<User>>,
    /// Whom to leave out: the caller, unless it said SKIPME no.
    except: Option<ClientId>,
}

impl<'a> Filter<'a> {
    fn parse(cx: &Ctx, mut args: Args<'a>) -> Result<Self> {
        let caller = cx.client;
        if args.left() == 1 {
            // The form of old: an address alone, which may be the caller's own.
            return Ok(Self { addr: args.next(), ..Self::default() });
        }
        let mut filter = Self { except: Some(caller), ..Self::default() };
        while let Some(option) = args.next() {
            let value = args.word()?;
            match &option.to_ascii_lowercase()[..] {
                b"id" => {
                    let id = number::parse_i64(value)
                        .filter(|&id| id > 0)
                        .ok_or_else(|| Error::new("ERR client-id should be greater than 0"))?;
                    filter.id = Some(ClientId(id as u64));
                }
                b"maxage" => {
                    let age = number::parse_i64(value).ok_or_else(|| {
                        Error::new("ERR maxage is not an integer or out of range")
                    })?;
                    if age <= 0 {
                        return Err(Error::new("ERR maxage should be greater than 0"));
                    }
                    filter.age_s_min = Some(age);
                }
                b"type" => filter.of_type = Some(Type::parse(value)?),
                b"addr" => filter.addr = Some(value),
                b"laddr" => filter.laddr = Some(value),
                b"user" => {
                    let no_such = || Error::quoting("ERR No such user '", value, "'");
                    filter.user = Some(cx.server().acl.get(value).ok_or_else(no_such)?.clone());
                }
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.except = Some(caller),
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.except = None,
                _ => return Err(Error::Syntax),
            }
        }
        Ok(filter)
    }

    fn admits(&self, client: &Client, now_us: u64) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.of_type.is_none_or(|of_type| of_type == Type::of(client))
            && self.addr.is_none_or(|addr| addr == client.peer.addr.as_bytes())
            && self.laddr.is_none_or(|laddr| laddr == client.peer.laddr.as_bytes())
            && self.age_s_min.is_none_or(|age_s| client.age_s(now_us) as i64 >= age_s)
            && self.user.as_ref().is_none_or(|user| Rc::ptr_eq(user, &client.user))
            && self.except != Some(client.id)
    }
}

/// The others are gone at once; the caller goes when it has read the answer.
fn kill(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let filter = Filter::parse(cx, args)?;
    let now_us = cx.now().mono_us;
    let admitted = cx.clients().iter().filter(|client| filter.admits(client, now_us));
    let doomed: Vec<ClientId> = admitted.map(|client| client.id).collect();
    doomed.iter().for_each(|&id| cx.close(id));
    match (args.left(), doomed.len()) {
        (1, 0) => return Err(Error::new("ERR No such client")),
        (1, _) => reply.ok(),
        (_, count) => reply.count(count),
    }
    Ok(())
}

fn info(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let mut text = Vec::new();
    let words_len = len_of(&args);
    let (now_us, db) = (cx.now().mono_us, cx.db);
    if let Some(client) = cx.caller() {
        client.describe(db, words_len, now_us, &mut text);
    }
    reply.verbatim("txt", &text);
    Ok(())
}

/// Bytes of a request's words.
fn len_of(args: &Args) -> usize {
    args.all().iter().map(|word| word.len()).sum()
}

fn list(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let words_len = len_of(&args);
    let mut ids = cx.clients().ids();
    match args.left() {
        0 => {}
        2 if args.accept("type") => {
            let of_type = Type::parse(args.given())?;
            ids.retain(|&id| Type::of(&cx.clients()[id]) == of_type);
        }
        2.. if args.accept("id") => {
            ids.clear();
            for word in args {
                let id =
                    number::parse_i64(word).ok_or_else(|| Error::new("ERR Invalid client ID"))?;
                ids.push(ClientId(id as u64));
            }
        }
        _ => return Err(Error::Syntax),
    }
    let mut text = Vec::new();
    for id in ids {
        if let Some(client) = cx.clients().get(id) {
            let (db, words_len) = if id == cx.client { (cx.db, words_len) } else { (client.db, 0) };
            client.describe(db, words_len, cx.now().mono_us, &mut text);
        }
    }
    reply.verbatim("txt", &text);
    Ok(())
}
