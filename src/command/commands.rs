//! COMMAND: the table of commands, printed.

use super::prelude::*;
use super::{arguments, complexity, history};
use crate::engine::keys::Spec;
use crate::engine::row::{ACL_CATEGORIES, Flag};
use crate::engine::table::Found;
use crate::util::glob::{self, Case};

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Introspection, &[
    row("command", "2.8.13", AtLeast(1), Keys::none(), &[Loading, Stale], command, "", "Tells everything about all commands.").tips(&[ORDER_VARIES]).with_subcommands(&[
        row("count",           "2.8.13", Exactly(2), Keys::none(), &[Loading, Stale], count, "", "Counts the commands."),
        row("docs",            "7.0.0",  AtLeast(2), Keys::none(), &[Loading, Stale], docs, "[command-name [command-name ...]]", "Answers what people want to know of commands.").tips(&[ORDER_VARIES]),
        row("getkeys",         "2.8.13", AtLeast(3), Keys::none(), &[Loading, Stale], getkeys, "command [arg [arg ...]]", "Lists the keys of a request."),
        row("getkeysandflags", "7.0.0",  AtLeast(3), Keys::none(), &[Loading, Stale], getkeysandflags, "command [arg [arg ...]]", "Lists the keys of a request and what becomes of them."),
        help("5.0.0"),
        row("info",            "2.8.13", AtLeast(2), Keys::none(), &[Loading, Stale], info, "[command-name [command-name ...]]", "Tells everything about some commands.").tips(&[ORDER_VARIES]),
        row("list",            "7.0.0",  AtLeast(2), Keys::none(), &[Loading, Stale], list, "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]", "Lists the names of commands.").tips(&[ORDER_VARIES]),
    ]),
]);

/// Whether there is such a command for clients: the provider may not know it.
fn is_there(cx: &Ctx, found: &Found) -> bool {
    let profile = cx.config().profile();
    found.row.flags.has(Flag::ForTests) || !profile.lacks(&found.full_name(), found.row.since)
}

/// The commands that are there.
fn commands(cx: &Ctx) -> Vec<Found> {
    cx.table().commands().filter(|found| is_there(cx, found)).collect()
}

/// The subcommands that are there.
fn subcommands(cx: &Ctx, found: Found) -> Vec<Found> {
    cx.table().subcommands(found).filter(|sub| is_there(cx, sub)).collect()
}

fn command(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let hides_all = cx.config().profile().hides_commands;
    let commands = if hides_all { Vec::new() } else { commands(cx) };
    reply.array(commands.len());
    for found in commands {
        describe(cx, found, reply);
    }
    Ok(())
}

fn count(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.count(commands(cx).len());
    Ok(())
}

fn info(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    if args.left() == 0 {
        return command(cx, args, reply);
    }
    reply.array(args.left());
    for name in args {
        match find(cx, name) {
            Some(found) => describe(cx, found, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

/// By `get` or `client|list`.
pub(super) fn find(cx: &Ctx, name: &[u8]) -> Option<Found> {
    let table = cx.table();
    let found = match name.iter().position(|&byte| byte == b'|') {
        Some(bar) => table.find_subcommand(table.find(&name[..bar])?, &name[bar + 1..]),
        None => table.find(name),
    };
    found.filter(|found| is_there(cx, found))
}

fn describe(cx: &Ctx, found: Found, reply: &mut Reply) {
    let row = found.row;
    reply.array(10);
    reply.bulk(found.full_name().as_bytes());
    reply.int(row.arity.as_redis());

    let named = Flag::ALL.iter().filter(|(flag, name)| row.flags.has(*flag) && !name.is_empty());
    let movable = row.keys.are_movable().then_some("movablekeys");
    statuses(named.map(|(_, name)| *name).chain(movable).collect(), reply);

    let (first, last, step) = row.keys.as_range();
    [first, last, step].into_iter().for_each(|number| reply.int(number));

    let categories = ACL_CATEGORIES.iter().filter(|category| found.is_in(category));
    let categories: Vec<String> = categories.map(|category| format!("@{category}")).collect();
    statuses(categories.iter().map(String::as_str).collect(), reply);

    reply.set(row.tips.len());
    row.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));

    reply.set(row.keys.specs().count());
    for spec in row.keys.specs() {
        describe_keys(spec, reply);
    }

    let subcommands = subcommands(cx, found);
    reply.set(subcommands.len());
    for sub in subcommands {
        describe(cx, sub, reply);
    }
}

fn statuses(names: Vec<&str>, reply: &mut Reply) {
    reply.set(names.len());
    for name in names {
        reply.status(name);
    }
}

fn describe_keys(spec: &Spec, reply: &mut Reply) {
    reply.map(3);
    reply.bulk(b"flags");
    statuses(access_names(spec.access), reply);

    reply.bulk(b"begin_search");
    match spec.begin {
        Begin::At(index) => {
            step(reply, "index", 1);
            number(reply, "index", index as i64);
        }
        Begin::Behind(keyword, from) => {
            step(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(keyword.to_ascii_uppercase().as_bytes());
            number(reply, "startfrom", from);
        }
        Begin::Option(_) | Begin::Unknown => step(reply, "unknown", 0),
    }

    reply.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step: keystep, limit } => {
            step(reply, "range", 3);
            number(reply, "lastkey", last);
            number(reply, "keystep", keystep as i64);
            number(reply, "limit", limit as i64);
        }
        Find::Counted { at, first, step: keystep } => {
            step(reply, "keynum", 3);
            number(reply, "keynumidx", at as i64);
            number(reply, "firstkey", first as i64);
            number(reply, "keystep", keystep as i64);
        }
        Find::Unknown => step(reply, "unknown", 0),
    }
}

/// Opens one of the two steps of a key specification; `fields` numbers or words follow.
fn step(reply: &mut Reply, kind: &str, fields: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn number(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.int(value);
}

fn access_names(access: u16) -> Vec<&'static str> {
    let flags = access::ALL.iter().filter(|(flag, _)| access & flag != 0);
    flags.map(|(_, name)| *name).collect()
}

fn docs(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let found: Vec<Found> = match args.left() {
        0 => commands(cx),
        _ => args.filter_map(|name| find(cx, name)).collect(),
    };
    reply.map(found.len());
    for found in found {
        document(cx, found, reply);
    }
    Ok(())
}

fn document(cx: &Ctx, found: Found, reply: &mut Reply) {
    let row = found.row;
    let changes = history::of(&found);
    let arguments = arguments::of(&found);
    let doc_flag = history::doc_flag(&found);
    let (since, instead) = history::deprecation(&found).unzip();
    let texts = [
        ("summary", Some(row.summary)),
        ("since", Some(row.since)),
        ("group", Some(found.category.group())),
        ("complexity", complexity::of(&found)),
    ];
    let replacement = [("deprecated_since", since), ("replaced_by", instead)];
    let told = texts.iter().chain(&replacement).filter(|(_, text)| text.is_some()).count();
    let others = [
        doc_flag.is_some(),
        !changes.is_empty(),
        !arguments.is_empty(),
        !row.subcommands.is_empty(),
    ];
    reply.bulk(found.full_name().as_bytes());
    reply.map(told + others.into_iter().filter(|is_told| *is_told).count());

    tell(&texts, reply);
    if let Some(flag) = doc_flag {
        reply.bulk(b"doc_flags");
        statuses(vec![flag], reply);
    }
    tell(&replacement, reply);
    if !changes.is_empty() {
        reply.bulk(b"history");
        reply.set(changes.len());
        for (version, text) in changes {
            reply.bulks(&[version, text]);
        }
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        arguments::describe(&arguments, reply);
    }
    if !row.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        let subcommands = subcommands(cx, found);
        reply.map(subcommands.len());
        for sub in subcommands {
            document(cx, sub, reply);
        }
    }
}

/// The fields that have a text.
fn tell(texts: &[(&str, Option<&str>)], reply: &mut Reply) {
    for (name, text) in texts {
        if let Some(text) = text {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
}

fn getkeys(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let keys = keys_of(cx, args.remaining())?;
    reply.array(keys.len());
    for (key, _) in keys {
        reply.bulk(key);
    }
    Ok(())
}

fn getkeysandflags(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let keys = keys_of(cx, args.remaining())?;
    reply.array(keys.len());
    for (key, access) in keys {
        reply.array(2);
        reply.bulk(key);
        statuses(access_names(access), reply);
    }
    Ok(())
}

/// The keys of a request with what becomes of each.
fn keys_of<'a>(cx: &Ctx, words: &[&'a [u8]]) -> Result<Vec<(&'a [u8], u16)>> {
    let request = Args::new(words);
    let found = cx.table().resolve(&request);
    let row = found.map_err(|_| Error::new("ERR Invalid command specified"))?.row;
    let may_lack_keys = row.flags.has(Flag::NoMandatoryKeys);
    if row.keys.specs().all(|spec| spec.access & access::NOT_KEY != 0) {
        return Err(Error::new("ERR The command has no key arguments"));
    }
    if !row.arity.allows(words.len()) {
        return Err(Error::new("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    match row.keys.visit(words, |place, access| keys.push((words[place], access))) {
        Some(()) if !keys.is_empty() => Ok(keys),
        _ if may_lack_keys => Ok(Vec::new()),
        _ => Err(Error::new("ERR Invalid arguments specified for command")),
    }
}

fn list(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let mut names: Vec<String> = Vec::new();
    let mut collect = |wanted: &dyn Fn(&Found) -> bool| {
        let there = cx.table().all().filter(|found| is_there(cx, found));
        names.extend(there.filter(wanted).map(|found| found.full_name()));
    };
    match args.left() {
        0 => collect(&|_| true),
        3 if args.accept("filterby") => {
            let (kind, value) = (args.given(), args.given());
            match &kind.to_ascii_lowercase()[..] {
                // There are no modules.
                b"module" => {}
                b"aclcat" => {
                    let is_it = |it: &&&str| it.as_bytes().eq_ignore_ascii_case(value);
                    if let Some(category) = ACL_CATEGORIES.iter().find(is_it) {
                        collect(&|found| found.is_in(category));
                    }
                }
                b"pattern" => collect(&|found| {
                    glob::matches(value, found.full_name().as_bytes(), Case::Ignored)
                }),
                _ => return Err(Error::Syntax),
            }
        }
        _ => return Err(Error::Syntax),
    }
    reply.bulks(&names);
    Ok(())
}
