//! AUTH, HELLO, PING, SELECT and the like: who the client is, which protocol and which database it
//! uses.

use super::database::db_index;
use super::prelude::*;
use crate::engine::client::State;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Connection, &[
    row("auth",   "1.0.0", AtLeast(2), Keys::none(), &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy, NeedsConnection, SecretArguments], auth, "[username] password", "Proves who the client is."),
    row("echo",   "1.0.0", Exactly(2), Keys::none(), &[Loading, Stale, Fast, Harmless], echo, "message", "Answers the message."),
    row("hello",  "6.0.0", AtLeast(1), Keys::none(), &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy, NeedsConnection, SecretLogin], hello, "[protover [AUTH username password] [SETNAME clientname]]", "Chooses the protocol and tells about the server."),
    row("ping",   "1.0.0", AtLeast(1), Keys::none(), &[Fast, AllowSubscriber, Harmless, TellsHealth, Streamed], ping, "[message]", "Answers PONG, or the message.").tips(&[ALL_SHARDS, ALL_SUCCEEDED]),
    row("quit",   "1.0.0", AtLeast(1), Keys::none(), &[AllowBusy, NoScript, Loading, Stale, Fast, NoAuth, PassesQueue, AllowSubscriber, NeedsConnection], quit, "", "Closes the connection."),
    row("reset",  "6.2.0", Exactly(1), Keys::none(), &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy, PassesQueue, AllowSubscriber, NeedsConnection], reset, "", "Makes the connection as good as new."),
    row("select", "1.0.0", Exactly(2), Keys::none(), &[Loading, Stale, Fast, NeedsConnection, Streamed], select, "index", "Chooses the database."),
]);

fn ping(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if args.len() > 2 {
        return Err(Error::new("ERR wrong number of arguments for 'ping' command"));
    }
    let message = args.next();
    let is_subscribed = cx.caller().is_some_and(|client| client.subscriptions() > 0);
    if is_subscribed && reply.protocol() == Protocol::Resp2 {
        // A RESP2 subscriber tells answers from messages by their first element.
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.unwrap_or_default());
        return Ok(());
    }
    match message {
        Some(message) => reply.bulk(message),
        None => reply.status("PONG"),
    }
    Ok(())
}

fn echo(_cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    reply.bulk(args.given());
    Ok(())
}

fn select(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    cx.db = db_index(cx, args.word()?)?;
    reply.ok();
    Ok(())
}

fn quit(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    if let Some(client) = cx.caller() {
        client.state = State::Closing;
    }
    reply.ok();
    Ok(())
}

fn auth(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if args.len() > 3 {
        return Err(Error::Syntax);
    }
    let user = if args.len() == 3 { args.given() } else { b"default" };
    if args.len() == 2 && cx.server().acl.default_user().needs_no_password {
        return Err(Error::new(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        ));
    }
    cx.log_in(user, args.given(), args.all()[0])?;
    reply.ok();
    Ok(())
}

fn hello(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let protocol = match args.next() {
        None => reply.protocol(),
        Some(b"2") => Protocol::Resp2,
        Some(b"3") => Protocol::Resp3,
        Some(version) if crate::util::number::parse_i64(version).is_none() => {
            return Err(Error::new("ERR Protocol version is not an integer or out of range"));
        }
        Some(_) => return Err(Error::NoProto),
    };
    let (mut name, mut login) = (None, None);
    while let Some(option) = args.next() {
        if option.eq_ignore_ascii_case(b"auth") && args.left() >= 2 {
            login = Some((args.given(), args.given()));
        } else if option.eq_ignore_ascii_case(b"setname") && args.left() >= 1 {
            name = Some(args.given());
        } else {
            return Err(Error::quoting("ERR Syntax error in HELLO option '", option, "'"));
        }
    }
    if let Some((user, password)) = login {
        cx.log_in(user, password, args.all()[0])?;
    }
    let is_authenticated = cx.caller().is_some_and(|client| client.is_authenticated);
    if !is_authenticated && cx.server().acl.needs_login() {
        return Err(Error::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        set_name(cx, name)?;
    }
    reply.set_protocol(protocol);
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(cx.config().profile().version.as_bytes());
    reply.bulk(b"proto");
    reply.int(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.int(cx.client.0 as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    let follows = cx.server().replication.is_following();
    reply.bulk(if follows { b"replica" } else { b"master" });
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// Names may hold whatever is printable and not a blank, so that CLIENT LIST can be split.
pub(super) fn set_name(cx: &mut Ctx, name: &[u8]) -> Result {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(Error::new(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ));
    }
    if let Some(client) = cx.caller() {
        client.name = name.into();
    }
    Ok(())
}

fn reset(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    cx.end_transaction();
    cx.unsubscribe_all();
    cx.set_monitoring(false);
    cx.end_tracking();
    cx.db = 0;
    cx.log_out();
    reply.set_protocol(Protocol::Resp2);
    if let Some(client) = cx.caller() {
        client.name = Box::default();
        client.no_evict = false;
        client.no_touch = false;
        client.dollars = None;
        client.reply_mode = crate::engine::client::ReplyMode::On;
    }
    reply.status("RESET");
    Ok(())
}
