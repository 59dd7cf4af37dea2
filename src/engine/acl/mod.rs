//! Users: who may do what.
//!
//! A client is always some user's: that of `default` at first, another's once it has logged in. A
//! user is a name, passwords and rules (user.rs); its rules are kept as selectors, which answer
//! whether a request is allowed (selector.rs). Users are never changed where they are: a change
//! puts another in the place of one, and in the hands of its clients. So a script goes on with
//! what it was allowed when it began.
//!
//! Whoever may do everything costs a request one look at a flag of the client. For anybody else
//! `Engine::check_user` looks at a bit for the command, and at each key and channel.

pub mod file;
pub mod log;
mod login;
pub mod selector;
pub mod token;
pub mod user;

use super::Engine;
use super::client::ClientId;
use super::context::Origin;
use super::row::Flag;
use super::table::{Found, Table};
use crate::config::NewUserChannels;
use crate::proto::{Error, Result};
use log::{AclLog, Context};
use selector::{Denial, Reason, Selector};
use std::collections::BTreeMap;
use std::rc::Rc;
use user::{User, WrongRule};

/// The user that a client is before it has logged in.
pub const DEFAULT: &[u8] = b"default";

/// What Upstash calls the user of its token for readers.
const READER: &[u8] = b"default_ro";

/// What rules are read with.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub table: &'a Table,
    /// What a new selector begins with: `acl-pubsub-default`.
    pub has_all_channels: bool,
}

impl Rules<'_> {
    fn new_selector(&self) -> Selector {
        Selector::new(self.table, self.has_all_channels)
    }
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    Syntax,
    Unknown,
    KeysAreAll,
    ChannelsAreAll,
    PartOfSubcommand,
    NoSuchPassword,
    NoHash,
}

impl RuleError {
    pub fn text(self) -> &'static str {
        match self {
            RuleError::Syntax => "Syntax error",
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::KeysAreAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and \
                 does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::ChannelsAreAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid \
                 and does not have any effect. Try 'resetchannels' to start with an empty list of \
                 channels"
            }
            RuleError::PartOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::NoHash => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
        }
    }
}

/// All users, and what was refused to them.
pub struct Acl {
    users: BTreeMap<Box<[u8]>, Rc<User>>,
    /// Whose token over HTTP may only read.
    reader: Rc<User>,
    pub log: AclLog,
}

impl Acl {
    /// With `default`, who may do everything.
    pub fn new(table: &Table) -> Self {
        let rules = Rules { table, has_all_channels: true };
        let reader = User::reader(READER, Selector::of_commands(table, only_reads), &rules);
        let mut acl =
            Self { users: BTreeMap::new(), reader: reader.into(), log: AclLog::default() };
        acl.put(default_user(table));
        acl
    }

    /// None if there is no user of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Rc<User>> {
        self.users.get(name)
    }

    /// Who everybody is at first.
    pub fn default_user(&self) -> &Rc<User> {
        self.users.get(DEFAULT).expect("it cannot be removed")
    }

    /// Who may only read, over HTTP.
    pub fn reader(&self) -> &Rc<User> {
        &self.reader
    }

    /// In the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &User> {
        self.users.values().map(|user| &**user)
    }

    fn put(&mut self, user: User) -> Rc<User> {
        let user = Rc::new(user);
        self.users.insert(user.name.clone(), user.clone());
        user
    }
}

/// The user `default` of a server that knows no other.
fn default_user(table: &Table) -> User {
    let rules = Rules { table, has_all_channels: true };
    let mut user = User::new(DEFAULT, &rules);
    user.set_all(&[b"on", b"nopass", b"~*", b"&*", b"+@all"], &rules).expect("good rules");
    user
}

/// What changes nothing and does not list all keys: what Upstash's token for readers allows. What
/// a transaction holds is looked at by itself.
fn only_reads(found: Found) -> bool {
    let flags = found.row.flags;
    (flags.has(Flag::Read) && !flags.has(Flag::ListsKeys)) || flags.has(Flag::Harmless)
}

/// Says what a user may not do. With `details`, which key or channel it is: only to who may know.
pub fn denial_text(
    user: &User,
    found: Found,
    words: &[&[u8]],
    denial: Denial,
    details: bool,
) -> Vec<u8> {
    let name = [b"User ", &user.name[..]].concat();
    let word = words.get(denial.place).copied().unwrap_or_default();
    let command = found.full_name();
    match (denial.reason, details) {
        // In Upstash's words.
        (Reason::Command, _) if user.is_reader => {
            format!("this user has no permissions to run the '{command}' command or its subcommand")
                .into_bytes()
        }
        (Reason::Command, _) => {
            [&name, &b" has no permissions to run the '"[..], command.as_bytes(), b"' command"]
                .concat()
        }
        (Reason::Key, true) => {
            [&name, &b" has no permissions to access the '"[..], word, b"' key"].concat()
        }
        (Reason::Channel, true) => {
            [&name, &b" has no permissions to access the '"[..], word, b"' channel"].concat()
        }
        (Reason::Channel, false) => b"No permissions to access a channel".to_vec(),
        _ => b"No permissions to access a key".to_vec(),
    }
}

/// What EXEC says of a request that was allowed when it was queued.
const CHANGED: &[u8] = b"NOPERM ACLs rules changed between the moment the transaction was \
    accumulated and the EXEC call. This command is no longer allowed for the following reason: ";

fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Command => "no permission to execute the command or subcommand",
        Reason::Key => "no permission to touch the specified keys",
        Reason::Channel => "no permission to access one of the channels used as arguments",
        Reason::Login => "no permission",
    }
}

impl Engine {
    /// How rules are read here and now.
    pub fn rules(&self) -> Rules<'_> {
        Rules {
            table: &self.table,
            has_all_channels: self.config.acl_pubsub_default == NewUserChannels::All,
        }
    }

    /// Whether a user who may not do everything may run a request, whatever its origin. What is
    /// refused is noted.
    ///
    /// # Errors
    /// What the client, or its script, is told.
    #[inline(never)]
    pub(super) fn check_user(
        &mut self,
        id: ClientId,
        user: &Rc<User>,
        found: Found,
        words: &[&[u8]],
        origin: Origin,
    ) -> Result {
        let Err(denial) = user.check(found, words) else { return Ok(()) };
        let context = match origin {
            Origin::Script => Context::Script,
            Origin::Exec => Context::Multi,
            _ if self.clients[id].transaction.is_open() => Context::Multi,
            _ => Context::TopLevel,
        };
        let name = found.full_name();
        let object = match denial.reason {
            Reason::Command => name.as_bytes(),
            _ => words[denial.place],
        };
        self.note_denial(id, denial.reason, context, object, &user.name);
        Err(Error::new(match origin {
            Origin::Exec => [CHANGED, why(denial.reason).as_bytes()].concat(),
            Origin::Script => {
                let text = denial_text(user, found, words, denial, false);
                [b"ERR ACL failure in script: ", &text[..]].concat()
            }
            _ => [b"NOPERM ", &denial_text(user, found, words, denial, false)[..]].concat(),
        }))
    }

    /// As `check_user`, of the client's own user.
    #[inline]
    pub(super) fn recheck_user(
        &mut self,
        id: ClientId,
        found: Found,
        words: &[&[u8]],
        origin: Origin,
    ) -> Result {
        match self.clients[id].is_unrestricted {
            true => Ok(()),
            false => self.check_client(id, found, words, origin),
        }
    }

    /// The same of a client that is known not to be free to do everything.
    ///
    /// # Errors
    /// As `check_user`.
    #[cold]
    #[inline(never)]
    pub(super) fn check_client(
        &mut self,
        id: ClientId,
        found: Found,
        words: &[&[u8]],
        origin: Origin,
    ) -> Result {
        let user = self.clients[id].user.clone();
        self.check_user(id, &user, found, words, origin)
    }

    /// ACL SETUSER: makes a user, or changes one.
    ///
    /// # Errors
    /// The rule that is wrong; then nothing is changed.
    pub fn set_user(
        &mut self,
        name: &[u8],
        words: &[&[u8]],
        caller: Option<ClientId>,
    ) -> std::result::Result<(), WrongRule> {
        let rules = self.rules();
        let before = self.acl.get(name).cloned();
        let mut user = match &before {
            Some(user) => User::clone(user),
            None => User::new(name, &rules),
        };
        user.set_all(words, &rules)?;
        let user = self.acl.put(user);
        if let Some(before) = before {
            self.hand_over(&before, &user, caller);
        }
        Ok(())
    }

    /// ACL DELUSER: false if there was none.
    pub fn delete_user(&mut self, name: &[u8], caller: Option<ClientId>) -> bool {
        let Some(user) = self.acl.users.remove(name) else { return false };
        self.close_clients_of(&user, caller);
        true
    }
}
