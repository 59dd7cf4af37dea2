//! ACL: users and what they may do.

use super::prelude::*;
use crate::engine::acl::file::is_blank;
use crate::engine::acl::selector::Selector;
use crate::engine::acl::token::make_token;
use crate::engine::acl::user::WrongRule;
use crate::engine::acl::{DEFAULT, denial_text};
use crate::engine::effect::{Answered, Effect, Outcome};
use crate::engine::row::ACL_CATEGORIES;
use crate::engine::table::Found;
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("acl", "6.0.0", &[
        row("cat",     "6.0.0", AtLeast(2), Keys::none(), &[NoScript, Loading, Stale], cat, "[category]", "Lists the categories, or the commands in one."),
        row("deluser", "6.0.0", AtLeast(3), Keys::none(), &[Admin, NoScript, Loading, Stale, SecretRules], deluser, "username [username ...]", "Removes users, and closes their connections.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
        row("dryrun",  "7.0.0", AtLeast(4), Keys::none(), &[Admin, NoScript, Loading, Stale], dryrun, "username command [arg [arg ...]]", "Tells whether a user may run a command, and does not run it."),
        row("genpass", "6.0.0", AtLeast(2), Keys::none(), &[NoScript, Loading, Stale], genpass, "[bits]", "Makes up a password."),
        row("getuser", "6.0.0", Exactly(3), Keys::none(), &[Admin, NoScript, Loading, Stale, SecretRules], getuser, "username", "Tells the rules of a user."),
        help("6.0.0"),
        row("list",    "6.0.0", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], list, "", "Lists all users with their rules, as a file would."),
        row("load",    "6.0.0", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], load, "", "Reads the users anew from their file."),
        row("log",     "6.0.0", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale], log, "[count | RESET]", "Lists what was refused of late, or forgets it."),
        row("resttoken", "7.4.0", Exactly(4), Keys::none(), &[NoScript, Loading, Stale, SecretRules], resttoken, "username password", "Makes the token with which a user asks over HTTP, as Upstash does."),
        row("save",    "6.0.0", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], save, "", "Writes the users to their file.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
        row("setuser", "6.0.0", AtLeast(3), Keys::none(), &[Admin, NoScript, Loading, Stale, SecretRules], setuser, "username [rule [rule ...]]", "Makes a user, or changes one's rules.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
        row("users",   "6.0.0", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], users, "", "Lists the names of all users."),
        row("whoami",  "6.0.0", Exactly(2), Keys::none(), &[NoScript, Loading, Stale], whoami, "", "Answers the name of the connection's user."),
    ], "Tells who may do what."),
]);

/// Passwords that GENPASS makes, in bits.
const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;
/// Entries that LOG shows if nothing is said.
const LOG_ENTRIES: usize = 10;

fn whoami(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.bulk(&cx.user().name);
    Ok(())
}

fn users(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let names: Vec<&[u8]> = cx.server().acl.all().map(|user| &*user.name).collect();
    reply.bulks(&names);
    Ok(())
}

fn list(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let lines: Vec<Vec<u8>> = cx.server().acl.all().map(|user| user.describe()).collect();
    reply.bulks(&lines);
    Ok(())
}

fn cat(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let wanted = args.next();
    if args.left() > 0 {
        return Err(Error::misused(args.all()[1], "ACL"));
    }
    let Some(wanted) = wanted else {
        reply.bulks(ACL_CATEGORIES);
        return Ok(());
    };
    let is_wanted = |name: &&&str| name.as_bytes().eq_ignore_ascii_case(wanted);
    let Some(category) = ACL_CATEGORIES.iter().find(is_wanted) else {
        return Err(Error::quoting("ERR Unknown category '", wanted, "'"));
    };
    let found = cx.table().all().filter(|found| found.is_in(category));
    let names: Vec<String> = found.map(|found| found.full_name()).collect();
    reply.bulks(&names);
    Ok(())
}

fn setuser(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let name = args.given();
    if name.iter().any(|&byte| is_blank(byte)) {
        return Err(Error::new("ERR Usernames can't contain spaces or null characters"));
    }
    cx.set_user(name, args.remaining()).map_err(wrong_rule)?;
    reply.ok();
    Ok(())
}

fn wrong_rule(wrong: WrongRule) -> Error {
    match wrong {
        WrongRule::Unmatched(word) => {
            Error::quoting("ERR Unmatched parenthesis in acl selector starting at '", &word, "'.")
        }
        WrongRule::Rule(rule, why) => {
            let after = format!("': {}", why.text());
            Error::quoting("ERR Error in ACL SETUSER modifier '", &rule, &after)
        }
    }
}

fn deluser(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    if args.remaining().contains(&DEFAULT) {
        return Err(Error::new("ERR The 'default' user cannot be removed"));
    }
    reply.count(args.filter(|name| cx.delete_user(name)).count());
    Ok(())
}

fn getuser(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(user) = cx.server().acl.get(args.given()) else {
        reply.null();
        return Ok(());
    };
    reply.map(6);
    let flags = user.flags();
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.bulks(&user.passwords());
    tell_rules(user.root(), reply);
    reply.bulk(b"selectors");
    reply.array(user.selectors().len());
    for selector in user.selectors() {
        reply.map(3);
        tell_rules(selector, reply);
    }
    Ok(())
}

fn tell_rules(selector: &Selector, reply: &mut Reply) {
    reply.bulk(b"commands");
    reply.bulk(&selector.command_rules().join(&b' '));
    reply.bulk(b"keys");
    reply.bulk(&selector.key_rules().join(&b' '));
    reply.bulk(b"channels");
    reply.bulk(&selector.channel_rules().join(&b' '));
}

fn dryrun(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let name = args.given();
    let Some(user) = cx.server().acl.get(name) else {
        return Err(Error::quoting("ERR User '", name, "' not found"));
    };
    let words = args.remaining();
    let Some(found) = find(cx, words) else {
        return Err(Error::quoting("ERR Command '", words[0], "' not found"));
    };
    if !found.row.arity.allows(words.len()) {
        return Err(Error::wrong_arity(&found.full_name()));
    }
    match user.check(found, words) {
        Ok(()) => reply.ok(),
        Err(denial) => reply.bulk(&denial_text(user, found, words, denial, true)),
    }
    Ok(())
}

fn find(cx: &Ctx, words: &[&[u8]]) -> Option<Found> {
    cx.table().resolve(&Args::new(words)).ok()
}

fn genpass(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let bits = match args.next() {
        None => PASSWORD_BITS,
        Some(_) if args.left() > 0 => return Err(Error::misused(args.all()[1], "ACL")),
        Some(word) => number::parse_i64(word).ok_or(Error::NotInteger)?,
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(Error::new(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to {PASSWORD_BITS_MAX}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut password = String::new();
    while password.len() < digits {
        password += &format!("{:016x}", cx.entropy());
    }
    reply.bulk(&password.as_bytes()[..digits]);
    Ok(())
}

/// The file of the users.
fn file(cx: &Ctx) -> Result<String> {
    cx.config().aclfile.clone().ok_or_else(|| {
        Error::new(
            "ERR This Redis instance is not configured to use an ACL file. You may want to \
             specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming \
             you have a Redis configuration file set) in order to store users in the Redis \
             configuration.",
        )
    })
}

fn load(cx: &mut Ctx, args: Args, _reply: &mut Reply) -> Result {
    let name = file(cx)?;
    let path = cx.config().place(&name);
    let refusal = format!("ERR Error loading ACLs, opening file '{name}': ");
    let effect = Effect::ReadFile { client: cx.client, path, refusal };
    cx.await_answers(effect, args, LoadOfUsers { name });
    Ok(())
}

/// An ACL LOAD whose file is being read.
#[derive(Debug)]
struct LoadOfUsers {
    name: String,
}

impl Answered for LoadOfUsers {
    fn go_on(&self, cx: &mut Ctx, outcome: &Outcome, reply: &mut Reply) -> Result {
        match outcome {
            Outcome::Read(text) => {
                let wrong = |text: Vec<u8>| Error::new([b"ERR ", &text[..]].concat());
                cx.load_users(&self.name, text).map_err(wrong)?;
                reply.ok();
            }
            Outcome::Failed(text) => reply.error_text(text),
            Outcome::Done | Outcome::Answers { .. } => unreachable!("it was a file that was read"),
        }
        Ok(())
    }
}

fn save(cx: &mut Ctx, args: Args, _reply: &mut Reply) -> Result {
    let path = cx.config().place(&file(cx)?);
    let bytes = cx.server().acl.save();
    let refusal = "ERR There was an error trying to save the ACLs. Please check the server logs \
                   for more information";
    let effect = Effect::WriteFile { client: cx.client, path, bytes, refusal: refusal.into() };
    cx.await_effect(effect, args);
    Ok(())
}

fn resttoken(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (name, password) = (args.given(), args.given());
    let login = cx.check_login(name, password, args.all()[1]);
    if !login.is_ok_and(|user| user.has_password(password)) {
        return Err(Error::quoting("ERR Wrong password or user \"", name, "\" does not exist"));
    }
    reply.bulk(make_token(name, password).as_bytes());
    Ok(())
}

fn log(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let count = match args.next() {
        None => LOG_ENTRIES,
        Some(_) if args.left() > 0 => return Err(Error::misused(args.all()[1], "ACL")),
        Some(word) if word.eq_ignore_ascii_case(b"reset") => {
            cx.clear_acl_log();
            reply.ok();
            return Ok(());
        }
        Some(word) => {
            let count = number::parse_i64(word).ok_or(Error::NotInteger)?;
            usize::try_from(count).unwrap_or(0)
        }
    };
    let now_ms = cx.now_ms();
    let entries = cx.server().acl.log.iter();
    reply.array(entries.len().min(count));
    for entry in entries.take(count) {
        reply.map(10);
        reply.bulk(b"count");
        reply.int(entry.count as i64);
        reply.bulk(b"reason");
        reply.bulk(entry.reason.name().as_bytes());
        reply.bulk(b"context");
        reply.bulk(entry.context.name().as_bytes());
        reply.bulk(b"object");
        reply.bulk(&entry.object);
        reply.bulk(b"username");
        reply.bulk(&entry.user);
        reply.bulk(b"age-seconds");
        reply.double((now_ms - entry.updated_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(&entry.client);
        reply.bulk(b"entry-id");
        reply.int(entry.id as i64);
        reply.bulk(b"timestamp-created");
        reply.int(entry.created_ms);
        reply.bulk(b"timestamp-last-updated");
        reply.int(entry.updated_ms);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::table::table;
    use crate::engine::acl::Rules;
    use crate::engine::acl::user::User;
    use crate::engine::row::ACL_CATEGORIES;
    use crate::util::rng::Rng;

    /// A rule of any kind, which may contradict those before it, or be wrong.
    fn rule(names: &[String], rng: &mut Rng) -> String {
        const OTHERS: &[&str] = &[
            "on",
            "off",
            "nopass",
            "resetpass",
            "skip-sanitize-payload",
            "sanitize-payload",
            ">pw",
            ">other",
            "<pw",
            "~*",
            "allkeys",
            "resetkeys",
            "&*",
            "allchannels",
            "resetchannels",
            "+@all",
            "-@all",
            "~",
            "&",
            "%R",
            "clearselectors",
            "reset",
            "+select|0",
            "+GET|x",
        ];
        let sign = ["+", "-"][rng.below(2)];
        let pattern = ["a", "b*", "[c", "*", "\"q", "d)", "\"e'\\\"\""][rng.below(7)];
        match rng.below(8) {
            0 => format!("{sign}@{}", ACL_CATEGORIES[rng.below(ACL_CATEGORIES.len())]),
            1 | 2 => format!("{sign}{}", names[rng.below(names.len())]),
            3 => format!("{}{pattern}", ["~", "%R~", "%W~", "%rw~", "%wr~"][rng.below(5)]),
            4 => format!("&{pattern}"),
            5 => {
                let count = rng.below(4);
                let rules: Vec<String> = (0..count).map(|_| rule(names, rng)).collect();
                format!("({})", rules.join(" "))
            }
            _ => OTHERS[rng.below(OTHERS.len())].to_owned(),
        }
    }

    /// What LIST tells of a user makes the same user, which LIST tells of in the same words.
    #[test]
    fn what_is_listed_makes_the_same_user() {
        let table = table();
        let names: Vec<String> = table.all().map(|found| found.full_name()).collect();
        let mut rng = Rng::from_seed(7);
        let mut changed = 0;
        for seed in 0..3_000 {
            let rules = Rules { table: &table, has_all_channels: seed % 2 == 0 };
            let mut user = User::new(b"alice", &rules);
            for _ in 0..rng.below(12) {
                let rule = rule(&names, &mut rng);
                changed += usize::from(user.set_all(&[rule.as_bytes()], &rules).is_ok());
            }
            let line = user.describe();
            let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
            let mut again = User::new(b"alice", &rules);
            let text = line.escape_ascii();
            again.set_all(&words[2..], &rules).unwrap_or_else(|why| panic!("{text}: {why:?}"));
            assert_eq!(again.describe(), line);
            assert!(again == user, "{text}");
        }
        assert!(changed > 5_000, "{changed}");
    }
}
