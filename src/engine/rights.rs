//! What a caller may run: everything, or only what reads. ACL users will have their place here.

use super::Engine;
use super::client::ClientId;
use super::row::Flag;
use super::table::Found;
use crate::proto::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    All,
    /// What changes nothing and does not list all keys: Upstash's read-only user.
    ReadOnly,
}

impl Engine {
    /// A client has shown who it is by other means than AUTH.
    pub fn trust(&mut self, id: ClientId, rights: Rights) {
        if let Some(client) = self.clients.get_mut(id) {
            (client.is_authenticated, client.rights) = (true, rights);
        }
        self.clients.mark_stranger(id, false);
    }
}

impl Rights {
    pub fn allow(self, found: Found) -> bool {
        let flags = found.row.flags;
        match self {
            Rights::All => true,
            // What a transaction holds is looked at by itself.
            Rights::ReadOnly => {
                (flags.has(Flag::Read) && !flags.has(Flag::ListsKeys)) || flags.has(Flag::Harmless)
            }
        }
    }

    /// NOPERM if a client with these rights may not run the command.
    pub(super) fn check(self, found: Found) -> Result {
        if self.allow(found) {
            return Ok(());
        }
        Err(Error::new(format!("NOPERM {}", denial(found))))
    }

    /// The same for what a script calls.
    pub(super) fn check_in_script(self, found: Found) -> Result {
        if self.allow(found) {
            return Ok(());
        }
        Err(Error::new(format!("ERR ACL failure in script: {}", denial(found))))
    }
}

/// In Upstash's words: there is no name of a user to tell.
fn denial(found: Found) -> String {
    let name = found.full_name();
    format!("this user has no permissions to run the '{name}' command or its subcommand")
}
