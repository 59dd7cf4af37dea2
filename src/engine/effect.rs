//! What the engine asks of the world. The client that asked is parked until the server answers.

use super::client::ClientId;

/// An errand for the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Stops the whole server for a while, as DEBUG SLEEP does.
    Sleep { client: ClientId, micros: u64 },
    /// Ends the process.
    Shutdown { client: Option<ClientId> },
    /// Closes the connection at once: CLIENT KILL, or a limit that was passed.
    Close { client: ClientId },
    /// Settings changed, perhaps some that the server has taken from the configuration at start.
    Reconfigure,
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The error that the client gets.
    Failed(String),
}
