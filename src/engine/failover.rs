//! FAILOVER: the lead goes to a replica, and this server follows it from then on.
//!
//! Writes are held back until a replica has all that was changed. Then it is asked to lead, by the
//! very request with which one asks to follow it: who gets `PSYNC history offset FAILOVER` from the
//! server that it follows leads, and answers with the new name of the history. Until that answer
//! has come the writes wait, and then they are refused as on any replica. Nobody else may begin to
//! lead meanwhile, so no change is lost: the one thing that must not be given up by itself is the
//! question, since nobody knows whether it has arrived.

use super::Engine;
use super::alarms::Alarm;
use super::client::ClientId;
use super::context::Ctx;
use super::pause::PauseOwner;
use super::replication::{Replica, ReplicaStage};
use crate::proto::{Error, Result};

/// How often it is looked how far replicas are. Writes are held back for twice as long each time,
/// so that they go on if nobody looks any more.
const LOOK_US: u64 = 100_000;
const PAUSE_US: u64 = 2 * LOOK_US;

const IN_PROGRESS: &str = "ERR FAILOVER already in progress.";
const NONE_IN_PROGRESS: &str = "ERR No failover in progress.";
const NO_REPLICAS: &str = "ERR FAILOVER requires connected replicas.";
const NO_SUCH_REPLICA: &str = "ERR FAILOVER target HOST and PORT is not a replica.";
const FOLLOWS: &str = "ERR FAILOVER is not valid when server is a replica.";
const HANDS_OVER: &str =
    "ERR FAILOVER is not valid when server has been, or is being, handed over.";
const FORCE_WANTS_MORE: &str = "ERR FAILOVER with force option requires both a timeout and target \
    HOST and IP.";
const REPLICAOF_REFUSED: &str = "ERR REPLICAOF not allowed while failing over.";
const LEADS: &str = "ERR PSYNC FAILOVER can't be sent to a master.";
const OTHER_HISTORY: &str = "ERR PSYNC FAILOVER replid must match my replid.";
const FAILING_OVER: &str = "NOMASTERLINK Can't SYNC while failing over";

/// Where a replica is reached.
pub type ReplicaPlace = (String, u16);

/// Who is to lead, and when.
#[derive(Clone, Debug)]
pub struct Failover {
    /// None: the first that has all.
    pub target: Option<ReplicaPlace>,
    /// Milliseconds that are waited for it; None: as long as it takes.
    pub timeout_ms: Option<u64>,
    /// Whether it leads behind that although it has not all. What it lacks is lost.
    pub is_forced: bool,
}

/// One that is under way.
#[derive(Debug)]
pub(super) struct FailingOver {
    wanted: Failover,
    /// The monotonic clock at the end of its time.
    until_us: Option<u64>,
    /// What a replica has to have: all up to when the writes were held back.
    offset: u64,
    /// Whether the replica was asked to lead.
    has_asked: bool,
}

impl Failover {
    fn name(&self) -> String {
        match &self.target {
            Some((host, port)) => format!("{}:{port}", host.escape_debug()),
            None => "any replica".into(),
        }
    }
}

impl Ctx<'_> {
    /// Begins to hand over the lead. It goes on behind the answer.
    ///
    /// # Errors
    /// One is under way, nobody is there who could lead, or what is asked makes no sense.
    pub fn fail_over(&mut self, wanted: Failover) -> Result {
        let state = &self.engine.replication;
        if state.failing_over.is_some() {
            return Err(Error::new(IN_PROGRESS));
        }
        if state.is_following() {
            return Err(Error::new(FOLLOWS));
        }
        if state.is_handing_over() {
            return Err(Error::new(HANDS_OVER));
        }
        if !state.replicas().any(|(_, it)| it.port > 0) {
            return Err(Error::new(NO_REPLICAS));
        }
        let is_vague = wanted.target.is_none() || wanted.timeout_ms.is_none();
        if wanted.is_forced && is_vague {
            return Err(Error::new(FORCE_WANTS_MORE));
        }
        let is_target = |(id, it): (ClientId, &Replica)| self.engine.is_target(&wanted, id, it);
        if !state.replicas().any(is_target) {
            return Err(Error::new(NO_SUCH_REPLICA));
        }
        self.engine.begin_failover(wanted);
        Ok(())
    }

    /// Gives a failover up, which leaves the lead here.
    ///
    /// # Errors
    /// None is under way.
    pub fn abort_failover(&mut self) -> Result {
        if self.engine.replication.failing_over.is_none() {
            return Err(Error::new(NONE_IN_PROGRESS));
        }
        self.engine.abort_failover("Failover manually aborted");
        Ok(())
    }

    /// The server that is followed wants this one to lead, on from a history.
    ///
    /// # Errors
    /// Nobody is followed, or not this history, or it is not known who leads.
    pub fn take_lead(&mut self, history: &[u8]) -> Result {
        self.check_sync()?;
        let state = &self.engine.replication;
        if !state.is_following() {
            return Err(Error::new(LEADS));
        }
        if !history.eq_ignore_ascii_case(state.id.as_bytes()) {
            return Err(Error::new(OTHER_HISTORY));
        }
        tracing::warn!("The server that was followed wants this one to lead");
        self.lead();
        Ok(())
    }

    /// Refuses to let others change whom this server follows while it hands over the lead.
    ///
    /// # Errors
    /// It does.
    pub fn check_replicaof(&self) -> Result {
        self.check_failover(REPLICAOF_REFUSED)
    }

    /// Refuses to be followed while it is not known who leads.
    ///
    /// # Errors
    /// It is not known.
    pub fn check_sync(&self) -> Result {
        self.check_failover(FAILING_OVER)
    }

    fn check_failover(&self, refusal: &'static str) -> Result {
        match self.engine.replication.failing_over {
            Some(_) => Err(Error::new(refusal)),
            None => Ok(()),
        }
    }
}

impl Engine {
    /// As INFO names how far a failover is.
    pub fn failover_state(&self) -> &'static str {
        match &self.replication.failing_over {
            None => "no-failover",
            Some(it) if it.has_asked => "failover-in-progress",
            Some(_) => "waiting-for-sync",
        }
    }

    /// Whether a replica is one that may lead.
    fn is_target(&self, wanted: &Failover, id: ClientId, replica: &Replica) -> bool {
        let place = || (self.replica_address(id, replica), replica.port);
        // Who names no port, as `toril hand-over`, is no server.
        replica.port > 0 && wanted.target.as_ref().is_none_or(|target| *target == place())
    }

    fn begin_failover(&mut self, wanted: Failover) {
        tracing::warn!("FAILOVER requested to {}.", wanted.name());
        let now_us = self.keyspace.now.mono_us;
        let until_us =
            wanted.timeout_ms.map(|span| now_us.saturating_add(span.saturating_mul(1_000)));
        let offset = self.stream_offset();
        self.pause(PauseOwner::Failover, PAUSE_US, true);
        let state = FailingOver { wanted, until_us, offset, has_asked: false };
        self.replication.failing_over = Some(Box::new(state));
        self.replication.ask_replicas();
        self.alarms.set(now_us, Alarm::Failover);
    }

    /// Looks now and then how far a failover is.
    pub(super) fn look_at_failover(&mut self) {
        self.go_on_with_failover();
        if self.replication.failing_over.is_some() {
            self.pause(PauseOwner::Failover, PAUSE_US, true);
            self.alarms.set(self.keyspace.now.mono_us + LOOK_US, Alarm::Failover);
        }
    }

    /// Asks a replica to lead once it may; gives up when the time is over.
    pub(super) fn go_on_with_failover(&mut self) {
        let Some(state) = self.replication.failing_over.as_ref().filter(|it| !it.has_asked) else {
            return;
        };
        let is_late = state.until_us.is_some_and(|until_us| self.keyspace.now.mono_us >= until_us);
        let wanted = state.wanted.clone();
        let has_all =
            |it: &Replica| it.stage == ReplicaStage::Follows && it.acknowledged >= state.offset;
        let is_ready =
            |(id, it): &(ClientId, &Replica)| has_all(it) && self.is_target(&wanted, *id, it);
        let ready = self.replication.replicas().find(is_ready);
        let ready = ready.map(|(id, it)| (self.replica_address(id, it), it.port));
        if let Some(place) = ready {
            self.ask_to_lead(place);
        } else if is_late && let Some(target) = wanted.target.clone().filter(|_| wanted.is_forced) {
            tracing::warn!("FAILOVER to {} time out exceeded, failing over.", wanted.name());
            self.ask_to_lead(target);
        } else if is_late {
            self.abort_failover("Replica never caught up before timeout");
        }
    }

    /// From here on the replica may lead at any moment.
    fn ask_to_lead(&mut self, (host, port): ReplicaPlace) {
        if let Some(state) = &mut self.replication.failing_over {
            state.has_asked = true;
        }
        self.follow_server(&host, port);
    }

    /// The replica leads.
    pub(super) fn end_failover(&mut self) {
        if self.replication.failing_over.take().is_some() {
            self.unpause(PauseOwner::Failover);
        }
    }

    /// This server leads on.
    pub fn abort_failover(&mut self, reason: &str) {
        let Some(state) = self.replication.failing_over.take() else { return };
        tracing::warn!("FAILOVER to {} aborted: {reason}", state.wanted.name());
        if state.has_asked {
            self.lead();
        }
        self.unpause(PauseOwner::Failover);
    }
}
