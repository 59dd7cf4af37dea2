//! CONFIG SET: settings that change while the server runs.

use super::client::ClientId;
use super::effect::Effect;
use super::{Engine, context::Ctx};
use crate::config::{Config, RESERVED_FILES, SetError, World};
use crate::proto::{Args, Error, Reply, Result};

/// As long as the process has another's allocator.
const NEEDS_PROCESS: &str = "maxmemory needs toril's own process: Server::spawn()";

impl Ctx<'_> {
    /// Changes all of these settings or none, and lets the changes take effect. Where to listen is
    /// for the server to try first.
    pub fn configure(
        &mut self,
        settings: &[(&[u8], &[u8])],
        args: Args,
        reply: &mut Reply,
    ) -> Result {
        let changed = self.engine.changed_config(self.client, settings);
        let (config, refusal) = changed.map_err(|error| Error::new(error.text()))?;
        match refusal {
            None => {
                self.engine.adopt(config);
                reply.ok();
            }
            Some(refusal) => {
                let refusal = String::from_utf8_lossy(&refusal.text()).into_owned();
                let (bind, port) = (config.bind.clone(), config.port);
                let client = self.client;
                let effect = Effect::Listen { client, bind, port, refusal };
                self.await_config(effect, args, config);
            }
        }
        Ok(())
    }
}

impl Engine {
    /// What would be in force after a change; and if it moves where the server listens, what to
    /// say if it cannot.
    fn changed_config(
        &self,
        id: ClientId,
        settings: &[(&[u8], &[u8])],
    ) -> std::result::Result<(Config, Option<SetError>), SetError> {
        let mut config = self.config.clone();
        let world = World {
            allows_guarded: self.allows(self.config.enable_protected_configs, id),
            directory: &|from, name| self.facts.directory(from, name),
        };
        let changed = config.set_many(settings, &world)?;
        if config.files.appendonly != self.config.files.appendonly {
            let reason = "toril begins and ends an append-only file at its start alone";
            return Err(SetError::failed(b"appendonly", reason));
        }
        if config.maxmemory != 0 && self.facts.is_guest() {
            return Err(SetError::failed(b"maxmemory", NEEDS_PROCESS));
        }
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
        for (setting, file) in config.tls.files() {
            let is_new = !file.is_empty() && changed.iter().any(|row| row.name == setting);
            if is_new && !self.facts.has_tls_file(setting, file) {
                let reason = "Unable to update TLS configuration. Check server logs.";
                return Err(SetError::failed(setting.as_bytes(), reason));
            }
        }
        // As in Redis, what was named first is told to be why.
        let refusal = changed.iter().find_map(|row| {
            let reason = match row.name {
                "bind" => "Failed to bind to specified addresses.",
                "port" => "Unable to listen on this port. Check server logs.",
                _ => return None,
            };
            Some(SetError::failed(row.name.as_bytes(), reason))
        });
        Ok((config, refusal))
    }

    /// Puts other settings in force.
    pub(super) fn adopt(&mut self, config: Config) {
        let memory = |config: &Config| {
            let clients = config.maxmemory_clients.bytes(config.maxmemory);
            (config.maxmemory, config.maxmemory_policy, clients)
        };
        let memory_before = memory(&self.config);
        if config.requirepass != self.config.requirepass {
            self.set_default_password(config.requirepass.as_ref());
        }
        if !config.keep_dollar && self.config.keep_dollar {
            self.drop_dollars();
        }
        self.config = config;
        self.find_what_is_slow();
        self.keyspace.aftermath.classes = self.config.notify_keyspace_events;
        self.keyspace.limits = self.config.limits.clone();
        if self.config.timeout_s > 0 {
            self.look_for_idle_clients();
        }
        self.watch_save_rules();
        self.heed_settings();
        self.settle_authority();
        if memory(&self.config) != memory_before {
            self.weigh_all();
            self.evict_later();
        }
        self.ask(Effect::Reconfigure);
    }
}
