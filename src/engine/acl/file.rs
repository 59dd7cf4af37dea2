//! Users in files: the lines `user NAME rules` of a redis.conf, and a file of such lines alone
//! (`aclfile`), which ACL LOAD reads and ACL SAVE writes. The server is who reads and writes.

use super::user::{User, WrongRule, merge_selectors};
use super::{Acl, DEFAULT, RuleError, default_user};
use crate::engine::Engine;
use crate::engine::client::ClientId;
use crate::util::quote;
use std::collections::BTreeMap;
use std::rc::Rc;

type Users = BTreeMap<Box<[u8]>, Rc<User>>;

const NOTHING_CHANGED: &str =
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";

impl Engine {
    /// Puts the users of a file in the place of all that there are. Clients stay with the user of
    /// their name; who has none any more is closed.
    ///
    /// # Errors
    /// All that is wrong in the file, in Redis's words; then nothing is changed.
    pub fn load_users(
        &mut self,
        file: &str,
        text: &[u8],
        caller: Option<ClientId>,
    ) -> Result<(), Vec<u8>> {
        let mut users = self.read_users(file, text)?;
        let has_default = users.contains_key(DEFAULT);
        if !has_default {
            users.insert(DEFAULT.into(), default_user(&self.table).into());
        }
        let before = std::mem::replace(&mut self.acl.users, users);
        if !has_default {
            // Redis would forget `requirepass` here, and let everybody in.
            self.set_default_password(self.config.requirepass.clone().as_ref());
        }
        for (name, user) in before {
            match self.acl.get(&name).cloned() {
                Some(new) => self.hand_over(&user, &new, caller),
                None => self.close_clients_of(&user, caller),
            }
        }
        Ok(())
    }

    fn read_users(&self, file: &str, text: &[u8]) -> Result<Users, Vec<u8>> {
        let (mut users, mut errors) = (Users::new(), Vec::new());
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = trim(line);
            if line.is_empty() {
                continue;
            }
            let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
            let [b"user", name, rules @ ..] = &words[..] else {
                let rule = "should start with user keyword followed by the username";
                errors.extend(format!("{file}:{number} {rule}. ").into_bytes());
                continue;
            };
            if users.contains_key(*name) {
                errors.extend(b"WARNING: Duplicate user '");
                errors.extend_from_slice(name);
                errors.extend(format!("' found on line {number}. ").into_bytes());
                continue;
            }
            let mut user = User::new(name, &self.rules());
            self.read_rules(&mut user, rules, &format!("{file}:{number}: "), &mut errors);
            users.insert(Box::from(*name), user.into());
        }
        if errors.is_empty() {
            return Ok(users);
        }
        errors.extend(NOTHING_CHANGED.bytes());
        Err(errors)
    }

    /// As Redis does, tells of every name that is unknown, but only of the first error of another
    /// kind, which may be the reason for those that follow.
    fn read_rules(&self, user: &mut User, rules: &[&[u8]], place: &str, errors: &mut Vec<u8>) {
        let Ok(rules) = merge_selectors(rules) else {
            errors.extend(place.bytes());
            errors.extend(b"Unmatched parenthesis in selector definition.");
            return;
        };
        let mut has_failed = false;
        for rule in rules {
            let Err(why) = user.set(trim(&rule), &self.rules()) else { continue };
            if why != RuleError::Unknown && std::mem::replace(&mut has_failed, true) {
                continue;
            }
            errors.extend(place.bytes());
            if why == RuleError::Unknown {
                errors.extend(b"Error in applying operation '");
                errors.extend(rule);
                errors.extend(b"': ");
            }
            errors.extend(format!("{}. ", why.text()).into_bytes());
        }
    }

    /// The lines of a redis.conf that make these users. There are none where users have a file of
    /// their own, or where nobody has said anything but `requirepass`.
    pub fn user_lines(&self) -> Vec<String> {
        let mut plain = default_user(&self.table);
        if let Some(secret) = &self.config.requirepass {
            let rule = [b">", secret.reveal()].concat();
            plain.set(&rule, &self.rules()).expect("a good rule");
        }
        let is_plain = self.acl.all().eq([&plain]);
        if is_plain || self.config.aclfile.is_some() {
            return Vec::new();
        }
        self.acl.all().map(line_of).collect()
    }

    /// The users that stand in the redis.conf, each at most once.
    ///
    /// # Errors
    /// In words like Redis's.
    pub fn load_configured_users(&mut self) -> Result<(), String> {
        let users = self.config.users.clone();
        if !users.is_empty() && self.config.aclfile.is_some() {
            return Err("Configuring Redis with users defined in redis.conf and at the same \
                        setting an ACL file path is invalid. This setup is very likely to lead to \
                        configuration errors and security holes, please define either an ACL file \
                        or declare users directly in your redis.conf, but not both."
                .into());
        }
        for words in users {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let (name, rules) = words.split_first().expect("the name was looked for");
            if name.iter().any(|&byte| is_blank(byte)) {
                return Err("Spaces not allowed in ACL usernames".into());
            }
            let rules = [&[&b"reset"[..]], rules].concat();
            self.set_user(name, &rules, None).map_err(|wrong| match wrong {
                WrongRule::Unmatched(_) => "Unmatched parenthesis in selector definition.".into(),
                // A rule may be a password.
                WrongRule::Rule(rule, why) => {
                    let rule = if why == RuleError::Unknown { &rule[..] } else { b"(hidden)" };
                    format!(
                        "Error loading ACL rule '{}' for the user named '{}': {}",
                        rule.escape_ascii(),
                        name.escape_ascii(),
                        why.text()
                    )
                }
            })?;
        }
        Ok(())
    }
}

impl Acl {
    /// The lines of a file that makes these users.
    pub fn save(&self) -> Vec<u8> {
        self.all().flat_map(|user| [user.describe(), b"\n".to_vec()].concat()).collect()
    }
}

/// A user as a line of a redis.conf, where quotes have a meaning and all is UTF-8.
fn line_of(user: &User) -> String {
    let mut line = b"user".to_vec();
    for word in [vec![user.name.to_vec()], user.rules()].concat() {
        line.push(b' ');
        let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) && !b"\"'".contains(byte);
        if word.iter().all(is_plain) && !word.is_empty() {
            line.extend(word);
        } else {
            quote::quoted(&word, &mut line);
        }
    }
    String::from_utf8(line).expect("what is no ASCII is escaped")
}

/// Whether a byte cannot be in a user's name.
pub fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b)
}

fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}
