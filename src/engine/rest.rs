//! Requests of callers who have no connection of their own, as over Upstash's REST API. What cannot
//! be asked in that way is refused here, and transactions arrive whole.

use super::client::ClientId;
use super::journal::{EXEC, MULTI};
use super::row::Flag;
use super::table::{Found, QUOTED_BYTES_MAX};
use super::time::Now;
use super::{Engine, Ran};
use crate::proto::{Args, Error, Result};

impl Engine {
    /// Runs one request, unless it needs a connection.
    pub fn run_rest(&mut self, id: ClientId, args: Args, now: Now) -> Ran {
        self.run_with(id, now, |engine| match engine.check_rest(&args) {
            Ok(()) => engine.request(id, args),
            Err(error) => engine.refuse(id, &error),
        })
    }

    /// Runs requests as MULTI and EXEC would: all of them in one turn, or none. The answer is
    /// EXEC's array, or the error of the first that was refused.
    pub fn run_transaction(&mut self, id: ClientId, requests: &[Args], now: Now) -> Ran {
        self.run_with(id, now, |engine| {
            let start = engine.clients[id].outbox.position();
            let (multi, exec) = ([MULTI], [EXEC]);
            engine.request(id, Args::new(&multi));
            for &args in requests {
                if !engine.is_queueing(id) {
                    return engine.clients[id].transaction.close();
                }
                engine.clients[id].outbox.truncate(start);
                match engine.check_rest(&args) {
                    Ok(()) => engine.request(id, args),
                    Err(error) => engine.refuse(id, &error),
                }
            }
            if !engine.is_queueing(id) {
                return engine.clients[id].transaction.close();
            }
            engine.clients[id].outbox.truncate(start);
            engine.request(id, Args::new(&exec));
            if engine.is_held(id) {
                engine.clients[id].transaction.close();
            }
        })
    }

    /// Whether a transaction goes well so far: nothing was refused, or put off by CLIENT PAUSE.
    fn is_queueing(&self, id: ClientId) -> bool {
        let transaction = &self.clients[id].transaction;
        transaction.is_open() && !transaction.is_refused && !self.is_held(id)
    }

    /// Refuses what is unknown and what needs a connection, in Upstash's words.
    fn check_rest(&self, args: &Args) -> Result {
        let word = args.all()[0];
        let quoted = &word[..word.len().min(QUOTED_BYTES_MAX)];
        let name = || String::from_utf8_lossy(quoted).to_ascii_uppercase();
        let Some(found) = self.table.find(word) else {
            return Err(Error::new(format!(
                "ERR Command is not available: '{}'. See docs/http.md for what toril serves",
                name()
            )));
        };
        if needs_connection(found, args) {
            return Err(Error::new(format!(
                "ERR Command \"{}\" is not allowed in REST or it has a special context path",
                name()
            )));
        }
        Ok(())
    }
}

/// Whether a request means the state of a connection, may wait, or leaves nobody to answer it.
fn needs_connection(found: Found, args: &Args) -> bool {
    let flags = found.row.flags;
    if flags.has(Flag::BlocksByOption) {
        // The names of streams follow the options, and may be any.
        let is = |word: &&&[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let mut options = args.all().iter().take_while(|word| !is(word, "streams"));
        return options.any(|word| is(&word, "block"));
    }
    flags.has(Flag::NeedsConnection) || flags.has(Flag::Blocking)
}
