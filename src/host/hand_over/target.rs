//! The server, or the servers of a cluster, that take over.
//!
//! Each gets what is about its keys over one connection, in the order in which it happened. How
//! much may be under way is bounded. Where a cluster answers that a slot has moved, nothing else is
//! said until all that was under way is answered and what went astray has come to the right node.

use super::lane::{Lane, Parcel};
use crate::engine::hash_slot::hash_slot;
use crate::proto::request;
use crate::rdb::crc64;
use crate::remote::{PATIENCE, Place, Response, Talk};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Bytes under way to one server, beyond which it has to answer first.
const WINDOW_BYTES: usize = 8 << 20;

/// How often a slot may move while the same things are on their way.
const ROUNDS_MAX: usize = 16;

const SLOTS: usize = 1 << 14;

/// Versions of RDB that RESTORE is tried with, the newest first.
const VERSIONS: [u16; 7] = [12, 11, 10, 9, 8, 7, 6];

/// Servers that take over.
pub struct Target {
    pub place: Place,
    lanes: Vec<Lane>,
    /// Of each slot of a cluster, the lane of the node that has it.
    owners: Option<Vec<usize>>,
    changed: Rc<Notify>,
}

/// What is known of it.
#[derive(Debug, Default)]
pub struct TargetFacts {
    /// `Redis 7.4.1`.
    pub name: String,
    pub is_cluster: bool,
    /// The newest version of RDB that RESTORE takes; None if it takes none.
    pub reads: Option<u16>,
    /// What RESTORE was answered that is no refusal of a version.
    pub refusal: Option<String>,
    /// Keys by database.
    pub keys: BTreeMap<usize, u64>,
    /// The server that one of its nodes follows.
    pub follows: Option<String>,
    /// Bytes that are left of maxmemory; None where there is none, or it is not told.
    pub room_bytes: Option<u64>,
    pub policy: Option<String>,
    /// The longest word that it takes, where that is told.
    pub word_bytes_max: Option<u64>,
    /// Whether it knows HPEXPIREAT, and FUNCTION.
    pub has_field_ttls: bool,
    pub has_functions: bool,
    /// Milliseconds that its clock is ahead of ours.
    pub ahead_ms: i64,
}

impl Target {
    /// Connects to it, or to the nodes of a cluster.
    ///
    /// # Errors
    /// Why not.
    pub async fn open(place: &Place) -> Result<Self, String> {
        let changed = Rc::new(Notify::new());
        let mut talk = Talk::open(place).await?;
        let info = talk.info("cluster").await?;
        let mut this = Self { place: place.clone(), lanes: Vec::new(), owners: None, changed };
        if info.get("cluster_enabled") == "1" {
            this.learn_slots(&talk.ask(&["CLUSTER", "SLOTS"]).await?).await?;
        } else {
            this.lane(place).await?;
        }
        Ok(this)
    }

    /// The lane to a server, which may be a new one.
    async fn lane(&mut self, place: &Place) -> Result<usize, String> {
        if let Some(at) = self.lanes.iter().position(|lane| lane.place.is(place)) {
            return Ok(at);
        }
        self.lanes.push(Lane::open(place, &self.changed).await?);
        Ok(self.lanes.len() - 1)
    }

    async fn learn_slots(&mut self, answer: &Response) -> Result<(), String> {
        let mut owners = vec![usize::MAX; SLOTS];
        let Response::List(ranges) = answer else { return Err(self.strange("CLUSTER SLOTS")) };
        for range in ranges {
            let Response::List(parts) = range else { return Err(self.strange("CLUSTER SLOTS")) };
            let [Response::Integer(first), Response::Integer(last), Response::List(node), ..] =
                &parts[..]
            else {
                return Err(self.strange("CLUSTER SLOTS"));
            };
            let [host, Response::Integer(port), ..] = &node[..] else {
                return Err(self.strange("CLUSTER SLOTS"));
            };
            let place = self.place.beside(&host.text(), *port as u16);
            let lane = self.lane(&place).await?;
            for slot in (*first).max(0)..=(*last).min(SLOTS as i64 - 1) {
                owners[slot as usize] = lane;
            }
        }
        let nobody_has = owners.iter().filter(|lane| **lane == usize::MAX).count();
        if nobody_has > 0 {
            return Err(format!(
                "{}: {nobody_has} of {SLOTS} slots of the cluster are nobody's",
                self.place
            ));
        }
        self.owners = Some(owners);
        Ok(())
    }

    fn strange(&self, command: &str) -> String {
        format!("{}: the answer to {command} makes no sense", self.place)
    }

    pub fn is_cluster(&self) -> bool {
        self.owners.is_some()
    }

    /// Each server of it.
    pub fn places(&self) -> Vec<Place> {
        self.lanes.iter().map(|lane| lane.place.clone()).collect()
    }

    /// Says something to who has its slot.
    ///
    /// # Errors
    /// What ends the hand-over.
    pub async fn send(&mut self, parcel: Parcel) -> Result<(), String> {
        let at = self.owners.as_ref().map_or(0, |owners| owners[usize::from(parcel.slot)]);
        self.send_over(at, parcel).await
    }

    /// Says something to all of them, behind what was said before to any.
    ///
    /// # Errors
    /// What ends the hand-over.
    pub async fn send_to_all(&mut self, db: usize, bytes: &[u8]) -> Result<(), String> {
        for at in 0..self.lanes.len() {
            let parcel = Parcel { db, slot: 0, bytes: bytes.to_vec(), answers: 1 };
            self.send_over(at, parcel).await?;
        }
        Ok(())
    }

    async fn send_over(&mut self, at: usize, parcel: Parcel) -> Result<(), String> {
        let lane = &mut self.lanes[at];
        lane.put(parcel);
        if lane.is_full() {
            lane.flush().await?;
        }
        while self.lanes[at].bytes_under_way() > WINDOW_BYTES {
            self.lanes[at].flush().await?;
            self.wait().await?;
        }
        self.tend().await
    }

    /// Says all that waits.
    ///
    /// # Errors
    /// What ends the hand-over.
    pub async fn flush(&mut self) -> Result<(), String> {
        for lane in &mut self.lanes {
            lane.flush().await?;
        }
        self.tend().await
    }

    /// Until something was answered.
    ///
    /// # Errors
    /// Nothing was, for too long.
    async fn wait(&self) -> Result<(), String> {
        timeout(PATIENCE, self.changed())
            .await
            .map_err(|_| format!("{} has not answered for {} s", self.place, PATIENCE.as_secs()))
    }

    /// Until something was answered.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How far each was told; `has_answered` tells whether all of it is done.
    pub fn mark(&self) -> Vec<u64> {
        self.lanes.iter().map(|lane| lane.parcels().0).collect()
    }

    pub fn has_answered(&self, mark: &[u64]) -> bool {
        let are_done = |(lane, sent): (&Lane, &u64)| lane.parcels().1 >= *sent;
        self.lanes.iter().zip(mark).all(are_done) && !self.lanes.iter().any(Lane::has_astray)
    }

    /// Until all that was said is done.
    ///
    /// # Errors
    /// What ends the hand-over.
    pub async fn settle(&mut self) -> Result<(), String> {
        self.flush().await?;
        while !self.has_answered(&self.mark()) {
            self.wait().await?;
            self.tend().await?;
        }
        Ok(())
    }

    /// Looks whether anything has failed, and brings what went astray where it belongs.
    async fn tend(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            if let Some(fault) = self.lanes.iter().find_map(Lane::fault) {
                return Err(fault);
            }
            if !self.lanes.iter().any(Lane::has_astray) {
                return Ok(());
            }
            self.redirect().await?;
        }
        Err(format!("{}: slots of the cluster move back and forth", self.place))
    }

    async fn redirect(&mut self) -> Result<(), String> {
        self.answer_all().await?;
        let astray: Vec<_> = self.lanes.iter().flat_map(Lane::take_astray).collect();
        for (mut parcel, redirect) in astray {
            let place = self.place.beside(&redirect.host, redirect.port);
            let at = self.lane(&place).await?;
            if redirect.is_for_good {
                if let Some(owners) = &mut self.owners {
                    owners[usize::from(parcel.slot)] = at;
                }
            } else if parcel.answers > 1 {
                return Err(format!(
                    "{}: slot {} moves from node to node: begin again when it has moved",
                    self.place, parcel.slot
                ));
            } else {
                let mut bytes = Vec::new();
                request::write(&[b"ASKING"], &mut bytes);
                bytes.append(&mut parcel.bytes);
                (parcel.bytes, parcel.answers) = (bytes, 2);
            }
            self.lanes[at].put(parcel);
        }
        self.answer_all().await
    }

    /// Until nothing is under way, however it was answered.
    async fn answer_all(&mut self) -> Result<(), String> {
        for lane in &mut self.lanes {
            lane.flush().await?;
        }
        loop {
            if let Some(fault) = self.lanes.iter().find_map(Lane::fault) {
                return Err(fault);
            }
            if self.lanes.iter().all(|lane| lane.bytes_under_way() == 0) {
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// Keys by database, of all together.
    ///
    /// # Errors
    /// What happened to a connection.
    pub async fn keys(&self, talks: &mut [Talk]) -> Result<BTreeMap<usize, u64>, String> {
        let mut all = BTreeMap::new();
        for talk in talks {
            for (db, keys) in talk.info("keyspace").await?.keys_by_db() {
                *all.entry(db).or_default() += keys;
            }
        }
        Ok(all)
    }

    /// A connection to each that waits for answers.
    ///
    /// # Errors
    /// What happened to a connection.
    pub async fn talks(&self) -> Result<Vec<Talk>, String> {
        let mut talks = Vec::new();
        for place in self.places() {
            talks.push(Talk::open(&place).await?);
        }
        Ok(talks)
    }

    /// Asks all that there is to know before.
    ///
    /// # Errors
    /// What happened to a connection, or a user who may not even ask.
    pub async fn facts(&self, talks: &mut [Talk], now_ms: i64) -> Result<TargetFacts, String> {
        let mut facts = TargetFacts { is_cluster: self.is_cluster(), ..TargetFacts::default() };
        facts.keys = self.keys(talks).await?;
        for (at, talk) in talks.iter_mut().enumerate() {
            self.learn(at, talk, &mut facts, now_ms).await?;
        }
        Ok(facts)
    }

    async fn learn(
        &self,
        at: usize,
        talk: &mut Talk,
        facts: &mut TargetFacts,
        now_ms: i64,
    ) -> Result<(), String> {
        let server = talk.info("server").await?;
        facts.name = match (server.get("valkey_version"), server.get("redis_version")) {
            ("", version) => format!("Redis {version}"),
            (version, _) => format!("Valkey {version}"),
        };
        let info = talk.info("replication").await?;
        if info.get("role") == "slave" {
            let place = format!("{}:{}", info.get("master_host"), info.get("master_port"));
            facts.follows.get_or_insert(place);
        }
        let memory = talk.info("memory").await?;
        if let max @ 1.. = memory.number("maxmemory") {
            let room = max.saturating_sub(memory.number("used_memory"));
            facts.room_bytes = Some(facts.room_bytes.unwrap_or(0) + room);
        }
        facts.policy = Some(memory.get("maxmemory_policy").to_owned()).filter(|it| !it.is_empty());
        let word_bytes = talk.setting("proto-max-bulk-len").await.and_then(|it| it.parse().ok());
        facts.word_bytes_max = word_bytes.into_iter().chain(facts.word_bytes_max).min();
        let key = self.key_of(at);
        (facts.reads, facts.refusal) = probe(talk, &key).await?;
        facts.has_field_ttls = knows(talk, "HPEXPIREAT").await?;
        facts.has_functions = knows(talk, "FUNCTION").await?;
        if let Ok(time_ms) = talk.time_ms().await {
            facts.ahead_ms = time_ms - now_ms;
        }
        Ok(())
    }

    /// A key that a server has the slot of, and that nobody uses.
    fn key_of(&self, at: usize) -> String {
        let names = (0..).map(|number| format!("toril:hand-over:{number}"));
        let is_there = |key: &String| {
            let slot = usize::from(hash_slot(key.as_bytes()));
            self.owners.as_ref().is_none_or(|owners| owners[slot] == at)
        };
        names.take(100_000).find(is_there).unwrap_or_default()
    }
}

/// Whether a server has a command. One that tells nothing about commands is believed to.
async fn knows(talk: &mut Talk, command: &str) -> Result<bool, String> {
    let answer = talk.ask_anything(&["COMMAND", "INFO", command]).await?;
    Ok(!matches!(answer, Response::List(all) if all.first() == Some(&Response::Null)))
}

/// The newest version of RDB that RESTORE takes, tried with a value of a kind that there is none
/// of: it is refused whatever comes. Else what it answers.
async fn probe(talk: &mut Talk, key: &str) -> Result<(Option<u16>, Option<String>), String> {
    const NO_KIND: u8 = 200;
    let mut refusal = None;
    for version in VERSIONS {
        let mut payload = vec![NO_KIND];
        payload.extend(version.to_le_bytes());
        payload.extend(crc64(0, &payload).to_le_bytes());
        let words: [&[u8]; 6] = [b"RESTORE", key.as_bytes(), b"0", &payload, b"ABSTTL", b"REPLACE"];
        match talk.ask_anything(&words).await? {
            Response::Error(text) if text.contains("Bad data format") => {
                return Ok((Some(version), None));
            }
            Response::Error(text) if text.contains("DUMP payload version") => {}
            Response::Error(text) => refusal = Some(text),
            _ => {}
        }
    }
    Ok((None, refusal))
}
