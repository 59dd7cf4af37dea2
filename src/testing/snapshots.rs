//! TORIL SNAPSHOT and RESTORE: all data, kept under a name and brought back.
//!
//! Data is all that the numbered databases hold. Scripts, functions, users, settings, clients and
//! the clock stay as they are.

use super::Testing;
use crate::engine::Ctx;
use crate::engine::keyspace::Snapshot;
use crate::proto::{Args, Error, Reply, Result};
use std::collections::BTreeMap;

/// All that were taken, by their names.
pub type Snapshots = BTreeMap<Vec<u8>, Snapshot>;

/// The name of one that is given none.
const UNNAMED: &[u8] = b"default";

/// `SNAPSHOT [name] | LIST | DROP name`
pub fn snapshot(testing: &mut Testing, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let snapshots = &mut testing.snapshots;
    if args.accept("list") {
        args.end()?;
        reply.map(snapshots.len());
        for (name, snapshot) in snapshots {
            reply.bulk(name);
            reply.count(snapshot.len());
        }
        return Ok(());
    }
    if args.accept("drop") {
        let name = args.word().map_err(|_| Error::new("ERR DROP takes the name of a snapshot"))?;
        args.end()?;
        snapshots.remove(name).ok_or_else(|| unknown(snapshots, name))?;
    } else {
        let name = args.next().unwrap_or(UNNAMED);
        args.end()?;
        snapshots.insert(name.to_vec(), cx.keyspace().snapshot());
    }
    reply.ok();
    Ok(())
}

/// `RESTORE [name]`
pub fn restore(testing: &mut Testing, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let name = args.next().unwrap_or(UNNAMED);
    args.end()?;
    let found = testing.snapshots.get(name);
    let snapshot = found.ok_or_else(|| unknown(&testing.snapshots, name))?;
    if cx.server().replication.is_following() {
        return Err(Error::new("ERR all data is that of the server that is followed"));
    }
    cx.bring_back(snapshot);
    reply.ok();
    Ok(())
}

/// Says which there are.
fn unknown(snapshots: &Snapshots, name: &[u8]) -> Error {
    let quoted = |name: &[u8]| [b"'", name, b"'"].concat();
    let names: Vec<Vec<u8>> = snapshots.keys().map(|name| quoted(name)).collect();
    let known = match names.len() {
        0 => b"none was taken".to_vec(),
        1 => [b"there is ", &*names[0]].concat(),
        _ => [b"there are ", &*names.join(&b", "[..])].concat(),
    };
    Error::new([b"ERR no snapshot ", &*quoted(name), b": ", &*known].concat())
}
