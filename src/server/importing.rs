//! `--import`: the server begins with the data of another one, which goes on as it was.
//!
//! All of it is asked for as a replica asks, so that it is of one moment. Who lets nobody follow,
//! as most managed servers do, is walked over with SCAN and asked for key by key, and so is one of
//! which only some keys are wanted: then nothing else leaves it, and it makes no snapshot. What is
//! changed there meanwhile may be here as it was before or as it is behind.

use super::Server;
use crate::config::{Limits, Secret, ServerUrl};
use crate::persist::{LoadInto, LoadReport};
use crate::rdb::{self, KeyRecord};
use crate::remote::{Feed, Place, Response, SentKey, Talk, Tls};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Keys that are asked for at once.
const COUNT: &str = "500";

/// How often a server is asked whether it has read its own data.
const LOADING_LOOK: Duration = Duration::from_secs(1);

/// Takes over the data of the server that a URL names.
///
/// # Errors
/// Why not, without the URL's password.
pub async fn import(server: &Rc<Server>, url: &Secret) -> Result<(), String> {
    let began = Instant::now();
    let config = server.engine.borrow().config.clone();
    let url = ServerUrl::parse(&String::from_utf8_lossy(url.reveal()))?;
    let place = Place::new(url, &Rc::new(Tls::new(config.tls)));
    server.engine.borrow_mut().set_loading(Some(0));
    let mut into = Importing {
        server,
        limits: &config.limits,
        is_partial: config.files.load_partly,
        keys: 0,
        foreign: 0,
    };
    let pattern = config.files.import_match;
    let mut talk = Talk::open(&place).await?;
    let run_id = server.engine.borrow().run_id.clone();
    let dbs = databases_of(&mut talk, &run_id).await?;
    let is_all = pattern.is_empty() && place.db.is_none();
    let feed = if is_all { Some(Feed::open(&place, false, &config.limits).await) } else { None };
    match feed {
        Some(Ok(feed)) => into.take_snapshot(feed).await?,
        refused => {
            if let Some(Err(reason)) = refused {
                tracing::warn!("{reason}: keys are asked for one by one, not as of one moment");
            }
            let dbs = place.db.map_or(dbs, |db| vec![db]);
            into.take_keys(&mut talk, &dbs, &pattern).await?;
        }
    }
    let Importing { keys, foreign, .. } = into;
    server.engine.borrow_mut().set_loading(None);
    if foreign > 0 {
        tracing::warn!("left out: {foreign} keys that toril cannot read");
    }
    if keys == 0 && !pattern.is_empty() {
        tracing::warn!("No key of {place} fits {pattern}");
    }
    tracing::warn!("{keys} keys imported from {place} in {} ms", began.elapsed().as_millis());
    Ok(())
}

/// The databases that have keys, once the server knows; the first where it does not tell.
async fn databases_of(talk: &mut Talk, run_id: &str) -> Result<Vec<usize>, String> {
    loop {
        let Ok(info) = talk.info("default").await else { return Ok(vec![0]) };
        if info.get("run_id") == run_id {
            return Err(format!("{} is this very server", talk.place));
        }
        if info.get("loading") != "1" {
            return Ok(info.keys_by_db().into_keys().collect());
        }
        tracing::warn!("{} reads its own data still", talk.place);
        sleep(LOADING_LOOK).await;
    }
}

struct Importing<'a> {
    server: &'a Server,
    /// How values are laid out here.
    limits: &'a Limits,
    /// Whether what toril cannot read is left out.
    is_partial: bool,
    /// Keys that have come, and those that were left out.
    keys: u64,
    foreign: u64,
}

impl Importing<'_> {
    /// All that a server holds, as of one moment.
    async fn take_snapshot(&mut self, mut feed: Feed) -> Result<(), String> {
        while let Some(keys) = feed.next_keys().await? {
            keys.into_iter().try_for_each(|key| self.take(key))?;
        }
        let LoadReport { libraries, foreign, .. } = feed.report();
        for (module, count) in foreign {
            self.leave_out(&format!("{count} of {module}"), *count)?;
        }
        self.take_libraries(libraries)
    }

    /// The keys that fit a pattern, one by one; all, and the functions, where it is empty.
    async fn take_keys(
        &mut self,
        talk: &mut Talk,
        dbs: &[usize],
        pattern: &str,
    ) -> Result<(), String> {
        for &db in dbs {
            if db > 0 {
                talk.ask(&["SELECT", &db.to_string()]).await?;
            }
            let mut cursor = "0".to_owned();
            loop {
                let fits: &[&str] = if pattern.is_empty() { &[] } else { &["MATCH", pattern] };
                let words = [&["SCAN", &cursor, "COUNT", COUNT], fits].concat();
                let (next, keys) = scanned(talk.ask(&words).await?)
                    .ok_or_else(|| format!("{}: SCAN is answered with nonsense", talk.place))?;
                self.take_some(talk, db, &keys).await?;
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        if pattern.is_empty() { self.take_functions(talk).await } else { Ok(()) }
    }

    /// Keys of these names, as far as they are still there.
    async fn take_some(
        &mut self,
        talk: &mut Talk,
        db: usize,
        keys: &[Vec<u8>],
    ) -> Result<(), String> {
        let both = |key: &Vec<u8>| ["PTTL", "DUMP"].map(|name| vec![name.into(), key.clone()]);
        let requests: Vec<Vec<Vec<u8>>> = keys.iter().flat_map(both).collect();
        let answers = talk.ask_all(&requests).await?;
        for (key, answers) in keys.iter().zip(answers.as_chunks::<2>().0) {
            let (expires_ms, payload) = match answers {
                [_, Response::Null] => continue,
                [Response::Integer(-1), Response::Text(payload)] => (None, payload),
                // It is gone between the two.
                [Response::Integer(left), _] if *left < 0 => continue,
                [Response::Integer(left), Response::Text(payload)] => {
                    let now_ms = self.server.engine.borrow().keyspace.now.wall_ms;
                    (Some(now_ms + left), payload)
                }
                _ => return Err(format!("{}: DUMP is answered with no text", talk.place)),
            };
            match rdb::restore(payload, self.limits) {
                Ok(value) => self.take(SentKey { db, key: key.clone(), value, expires_ms })?,
                Err(flaw) => {
                    let key = key.escape_ascii();
                    self.leave_out(&format!("the key '{key}', which {flaw:?}"), 1)?;
                }
            }
        }
        Ok(())
    }

    /// Its functions, if it has any and shows them.
    async fn take_functions(&mut self, talk: &mut Talk) -> Result<(), String> {
        match talk.ask_anything(&["FUNCTION", "DUMP"]).await? {
            Response::Text(payload) => {
                let libraries = rdb::restore_libraries(&payload);
                let libraries = libraries
                    .map_err(|_| format!("{}: FUNCTION DUMP makes no sense", talk.place))?;
                self.take_libraries(&libraries)
            }
            Response::Error(error) => {
                tracing::warn!("left out: functions of {}, which answers: {error}", talk.place);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_libraries(&mut self, libraries: &[Vec<u8>]) -> Result<(), String> {
        for source in libraries {
            let loaded = self.server.engine.borrow_mut().load_library(source);
            if let Err(error) = loaded {
                self.leave_out(&format!("functions that do not load: {error}"), 0)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, sent: SentKey) -> Result<(), String> {
        let SentKey { db, key, value, expires_ms } = sent;
        let mut engine = self.server.engine.borrow_mut();
        if db >= engine.keyspace.databases() {
            return Err(format!("it has keys in database {db}: start with --databases {}", db + 1));
        }
        if expires_ms.is_some_and(|at_ms| at_ms < engine.keyspace.now.wall_ms) {
            return Ok(());
        }
        self.keys += 1;
        let key = key.into();
        let record = KeyRecord { key, value, expires_ms, idle_s: None, frequency: None };
        // A walk may come by a key twice.
        let taken = engine.take_in(db, record, true);
        taken.map_err(|key| format!("the key '{}' comes twice", key.escape_ascii()))
    }

    /// Leaves something out, where that was allowed.
    fn leave_out(&mut self, what: &str, keys: u64) -> Result<(), String> {
        if !self.is_partial {
            return Err(format!("toril cannot read {what}; --load-partly yes leaves it out"));
        }
        tracing::warn!("left out: {what}");
        self.foreign += keys;
        Ok(())
    }
}

/// The next cursor of a walk, and keys.
fn scanned(answer: Response) -> Option<(String, Vec<Vec<u8>>)> {
    let Response::List(parts) = answer else { return None };
    let [cursor, Response::List(keys)] = &parts[..] else { return None };
    let key = |it: &Response| match it {
        Response::Text(bytes) => Some(bytes.clone()),
        _ => None,
    };
    Some((cursor.text(), keys.iter().map(key).collect::<Option<_>>()?))
}
