//! CONFIG SET: settings that change while the server runs.

use super::Engine;
use super::effect::Effect;
use crate::config::{RESERVED_FILES, SetError};

impl Engine {
    /// Changes all of these settings or none, and lets the changes take effect.
    pub fn configure(&mut self, settings: &[(&[u8], &[u8])]) -> Result<(), SetError> {
        let mut config = self.config.clone();
        let changed = config.set_many(settings)?;
        if changed.iter().any(|row| row.name == "maxclients") {
            let clients_max = self.facts.files_max().saturating_sub(RESERVED_FILES as u64);
            if config.maxclients as u64 > clients_max {
                let reason = format!(
                    "The operating system is not able to handle the specified number of clients, \
                     try with {clients_max}"
                );
                return Err(SetError::failed(b"maxclients", reason));
            }
        }
        self.config = config;
        self.keyspace.ledger.classes = self.config.notify_keyspace_events;
        self.keyspace.limits = self.config.limits.clone();
        if self.config.timeout_s > 0 {
            self.look_for_idle_clients();
        }
        if changed.iter().any(|row| row.name.starts_with("maxmemory")) {
            self.weigh_all();
            self.evict_later();
        }
        self.ask(Effect::Reconfigure);
        Ok(())
    }
}
