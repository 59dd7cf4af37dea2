//! Snapshots for replicas: the engine walks over the keys while it serves clients, and all who wait
//! for one get what comes of that.
//!
//! It goes as fast as the slowest of them takes it.

use super::{Server, disk};
use crate::rdb::crc64;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes that may wait for the slowest replica before the walk goes on.
const WAITING_BYTES_MAX: u64 = 1 << 20;

/// Blocks between the walk and the replicas.
const BLOCKS_MAX: usize = 1;

const PAUSE: Duration = Duration::from_millis(1);

/// Brings who waits for it a snapshot.
pub async fn synchronise(server: Rc<Server>) {
    disk::until_free(&server).await;
    let begun = {
        let mut engine = server.engine.borrow_mut();
        // What was changed before is in the snapshot, and stands before its place in the stream.
        server.carry_journal(&mut engine);
        engine.keyspace.aftermath.journal.begin_anew();
        engine.begin_saving_for_replicas()
    };
    let Some((number, mark)) = begun else {
        // Who waited has gone.
        return server.engine.borrow_mut().end_payload();
    };
    server.flush();
    let (blocks, to_send) = mpsc::channel(BLOCKS_MAX);
    let sent = tokio::task::spawn_local(send(server.clone(), to_send, mark));
    let carried = disk::carry(&server, blocks, number).await;
    let is_sent = sent.await.unwrap_or(false);
    if let Err(problem) = &carried {
        tracing::warn!("a replica could not be given the data: {problem}");
    }
    {
        let mut engine = server.engine.borrow_mut();
        engine.end_payload();
        let is_under_way = engine.persistence.is_under_way(number);
        if is_under_way {
            engine.end_saving(is_sent, server.now());
        }
        let ended = if is_sent && is_under_way { "is sent" } else { "was given up" };
        tracing::warn!("the snapshot for replicas {ended}");
    }
    server.flush();
}

/// Sends what comes, with the checksum and the mark behind it. False if nobody is left to send to.
async fn send(server: Rc<Server>, mut blocks: mpsc::Receiver<Vec<u8>>, mark: String) -> bool {
    let mut checksum: u64 = 0;
    while let Some(block) = blocks.recv().await {
        let is_last = block.is_empty();
        let bytes = match is_last {
            false => block,
            true => [&checksum.to_le_bytes()[..], mark.as_bytes()].concat(),
        };
        checksum = crc64(checksum, &bytes);
        let waiting = |server: &Server| {
            let engine = server.engine.borrow();
            engine.replication.payload_waiting(&engine.clients)
        };
        while waiting(&server) > WAITING_BYTES_MAX {
            tokio::time::sleep(PAUSE).await;
        }
        if !server.engine.borrow_mut().send_payload(&bytes, is_last) {
            return false;
        }
        server.flush();
        if is_last {
            return true;
        }
    }
    false
}
