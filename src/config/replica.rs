//! The settings of a server that follows another, and of one that is followed.

use super::Secret;

/// Whom it follows, and how it does that.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// The host and the port of the primary; empty: it leads.
    pub replicaof: Vec<String>,
    /// The user that it logs in as there. None: the default user.
    pub masteruser: Option<Secret>,
    /// That user's password. None: it does not log in.
    pub masterauth: Option<Secret>,
    /// Whether clients may change nothing.
    pub read_only: bool,
    /// Whether clients read what there is while the link is down.
    pub serves_stale_data: bool,
    /// How much Sentinel would like to promote it; only reported.
    pub priority: u32,
    /// Whether Sentinel is to hear of it; only reported.
    pub is_announced: bool,
    /// The address that the primary is told. Empty: it sees one itself.
    pub announce_ip: String,
    /// The port that it is told; 0: the one that is listened on.
    pub announce_port: u16,
    /// Seconds of silence after which the primary is given up, or a replica of this server.
    pub timeout_s: u64,
    /// Seconds between two pings to replicas.
    pub ping_period_s: u64,
    /// Writes are refused while fewer replicas than these follow.
    pub min_to_write: u32,
    /// Of these a replica counts that was heard within so many seconds; 0: none is asked for.
    pub max_lag_s: u64,
    /// Bytes of the stream that are kept for replicas whose link was cut.
    pub backlog_bytes: u64,
}

impl ReplicaSettings {
    /// The primary's host and port; None if it leads.
    pub fn primary(&self) -> Option<(&str, u16)> {
        let [host, port] = &self.replicaof[..] else { return None };
        Some((host, port.parse().ok()?))
    }
}

impl Default for ReplicaSettings {
    fn default() -> Self {
        Self {
            replicaof: Vec::new(),
            masteruser: None,
            masterauth: None,
            read_only: true,
            serves_stale_data: true,
            priority: 100,
            is_announced: true,
            announce_ip: String::new(),
            announce_port: 0,
            timeout_s: 60,
            ping_period_s: 10,
            min_to_write: 0,
            max_lag_s: 10,
            backlog_bytes: 1024 * 1024,
        }
    }
}
