//! Sessions of pages. One is given to a page that has shown it may have it, and shown with each
//! request from then on. It lives with the process, and belongs to a user.

use crate::config::Secret;
use crate::engine::Engine;
use crate::engine::acl::user::User;
use std::collections::VecDeque;
use std::rc::Rc;

/// At most so many: the one that was used longest ago makes room.
const SESSIONS_MAX: usize = 64;

/// One that nobody has shown for so long is over.
const IDLE_US_MAX: u64 = 24 * 3600 * 1_000_000;

/// Tokens that were wrong, in so much time, before all are refused unseen.
const FAILURES_MAX: usize = 10;
const FAILURES_US: u64 = 1_000_000;

struct Session {
    secret: Secret,
    user: Rc<User>,
    used_us: u64,
}

/// Those that were given.
#[derive(Default)]
pub struct Sessions {
    all: Vec<Session>,
    failed_us: VecDeque<u64>,
}

impl Sessions {
    /// Gives one to a user: 192 random bits, as hexadecimal digits.
    pub fn give(&mut self, engine: &Engine, user: &Rc<User>) -> String {
        let now_us = engine.keyspace.now.mono_us;
        self.all.retain(|session| now_us - session.used_us < IDLE_US_MAX);
        if self.all.len() >= SESSIONS_MAX {
            let oldest = self.all.iter().enumerate().min_by_key(|(_, it)| it.used_us);
            if let Some((at, _)) = oldest {
                self.all.swap_remove(at);
            }
        }
        let text: String = (0..3).map(|_| format!("{:016x}", engine.facts.entropy())).collect();
        let secret = Secret::new(text.as_bytes());
        self.all.push(Session { secret, user: user.clone(), used_us: now_us });
        text
    }

    /// Whose session this is. None if it is nobody's, or of a user who has been changed since.
    pub fn user(&mut self, engine: &Engine, shown: &[u8]) -> Option<Rc<User>> {
        let now_us = engine.keyspace.now.mono_us;
        let is_live = |it: &&mut Session| now_us - it.used_us < IDLE_US_MAX;
        let mut known = self.all.iter_mut().filter(is_live);
        let session = known.find(|session| session.secret.admits(shown))?;
        session.used_us = now_us;
        let user = session.user.clone();
        is_current(engine, &user).then_some(user)
    }

    /// Whether a token may be tried now.
    pub fn may_try(&mut self, now_us: u64) -> bool {
        self.failed_us.retain(|&at_us| now_us - at_us < FAILURES_US);
        self.failed_us.len() < FAILURES_MAX
    }

    /// A token was wrong.
    pub fn note_failure(&mut self, now_us: u64) {
        self.failed_us.push_back(now_us);
    }
}

/// Whether a user is still as it was: a change puts another in its place.
fn is_current(engine: &Engine, user: &Rc<User>) -> bool {
    let is_same = |now: &Rc<User>| Rc::ptr_eq(now, user);
    is_same(engine.acl.reader()) || engine.acl.get(&user.name).is_some_and(is_same) && user.is_on
}
