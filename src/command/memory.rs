//! MEMORY: how much memory the server uses, and how much a key does.
//!
//! What is allocated is counted exactly, as is what the tables of the databases take; a key's size
//! is that of its layout, without the allocator's rounding.

use super::prelude::*;
use crate::engine::Engine;
use crate::engine::script::Realm;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("memory", "4.0.0", &[
        row("doctor",       "4.0.0", Exactly(2), Keys::none(), &[], doctor, "", "Says in words whether memory looks healthy.").tips(&[VARIES, ALL_SHARDS, SPECIAL_REPLY]),
        help("4.0.0"),
        row("malloc-stats", "4.0.0", Exactly(2), Keys::none(), &[], malloc_stats, "", "Tells about the allocator.").tips(&[VARIES, ALL_SHARDS, SPECIAL_REPLY]),
        row("purge",        "4.0.0", Exactly(2), Keys::none(), &[], purge, "", "Does nothing: memory is given back when it is freed.").tips(&[ALL_SHARDS, ALL_SUCCEEDED]),
        row("stats",        "4.0.0", Exactly(2), Keys::none(), &[], stats, "", "Tells what memory is used for.").tips(&[VARIES, ALL_SHARDS, SPECIAL_REPLY]),
        row("usage",        "4.0.0", AtLeast(3), Keys::one(2).inspects(), &[Read], usage, "key [SAMPLES count]", "Answers the bytes that a key and its value take."),
    ], "Tells about memory."),
]);

/// Every element is counted, so that SAMPLES has nothing to say.
fn usage(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    while args.left() > 0 {
        if !args.accept("samples") || args.int()? < 0 {
            return Err(Error::Syntax);
        }
    }
    match cx.peek(key) {
        Some(entry) => reply.count(entry.size()),
        None => reply.null(),
    }
    Ok(())
}

/// The memory in use, in bytes, by what it is used for.
pub(super) struct MemoryUsage {
    pub allocated: u64,
    pub peak: u64,
    pub startup: u64,
    pub resident: u64,
    pub clients: u64,
    pub lua: u64,
    /// Sources of the scripts that `lua` holds compiled: part of no sum.
    pub scripts: u64,
    /// The machine of the libraries.
    pub functions_lua: u64,
    /// Sources of the libraries: part of no sum.
    pub functions: u64,
    /// Of the tables of each database, with its number; empty ones are left out.
    pub databases: Vec<(usize, u64)>,
    pub keys: u64,
}

impl MemoryUsage {
    fn now(cx: &mut Ctx) -> Self {
        cx.note_peak();
        Self::of(cx.server())
    }

    /// As it is, beside the peak as it was when somebody last looked.
    pub fn of(engine: &Engine) -> Self {
        let keyspace = &engine.keyspace;
        let databases = (0..keyspace.databases()).filter(|&db| !keyspace.db(db).is_empty());
        let machine = |realm| engine.scripts.loaded(realm);
        Self {
            allocated: engine.facts.allocated_bytes(),
            peak: engine.stats.peak_allocated,
            startup: engine.stats.startup_allocated,
            resident: engine.facts.memory().resident,
            clients: engine.clients.iter().map(|client| client.size() as u64).sum(),
            lua: machine(Realm::Scripts).map_or(0, |lua| lua.memory_bytes() as u64),
            scripts: machine(Realm::Scripts).map_or(0, |lua| lua.source_bytes() as u64),
            functions_lua: machine(Realm::Functions).map_or(0, |lua| lua.memory_bytes() as u64),
            functions: machine(Realm::Functions).map_or(0, |lua| lua.source_bytes() as u64),
            databases: databases.map(|db| (db, keyspace.db(db).overhead() as u64)).collect(),
            keys: (0..keyspace.databases()).map(|db| keyspace.db(db).len() as u64).sum(),
        }
    }

    /// All but keys and values.
    pub fn overhead(&self) -> u64 {
        let databases: u64 = self.databases.iter().map(|(_, bytes)| bytes).sum();
        self.startup + self.clients + self.lua + self.functions_lua + databases
    }

    pub fn dataset(&self) -> u64 {
        self.allocated.saturating_sub(self.overhead())
    }

    /// The share of the dataset in what was allocated since the start.
    pub fn dataset_percentage(&self) -> f64 {
        percentage(self.dataset(), self.allocated.saturating_sub(self.startup))
    }

    pub fn peak_percentage(&self) -> f64 {
        percentage(self.allocated, self.peak)
    }

    pub fn fragmentation(&self) -> f64 {
        self.resident as f64 / self.allocated.max(1) as f64
    }

    /// Resident bytes beyond those allocated. Negative where not all that is allocated was touched.
    pub fn fragmentation_bytes(&self) -> i64 {
        self.resident as i64 - self.allocated as i64
    }
}

fn percentage(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

/// In Redis's order; what there is none of here is told as nothing.
fn stats(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let usage = MemoryUsage::now(cx);
    let tables: u64 = usage.databases.iter().map(|(_, bytes)| bytes).sum();
    let bytes_per_key = usage.dataset().checked_div(usage.keys).unwrap_or(0);
    let before = [
        ("peak.allocated", usage.peak),
        ("total.allocated", usage.allocated),
        ("startup.allocated", usage.startup),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", usage.clients),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", usage.scripts),
        ("functions.caches", usage.functions),
    ];
    let behind = [
        ("overhead.db.hashtable.lut", Figure::Whole(tables as i64)),
        ("overhead.db.hashtable.rehashing", Figure::Whole(0)),
        ("overhead.total", Figure::Whole(usage.overhead() as i64)),
        ("db.dict.rehashing.count", Figure::Whole(0)),
        ("keys.count", Figure::Whole(usage.keys as i64)),
        ("keys.bytes-per-key", Figure::Whole(bytes_per_key as i64)),
        ("dataset.bytes", Figure::Whole(usage.dataset() as i64)),
        ("dataset.percentage", Figure::Broken(usage.dataset_percentage())),
        ("peak.percentage", Figure::Broken(usage.peak_percentage())),
        ("allocator.allocated", Figure::Whole(usage.allocated as i64)),
        // As in INFO: the allocator is not told from the process around it.
        ("allocator.active", Figure::Whole(usage.resident as i64)),
        ("allocator.resident", Figure::Whole(usage.resident as i64)),
        ("allocator.muzzy", Figure::Whole(0)),
        ("allocator-fragmentation.ratio", Figure::Broken(usage.fragmentation())),
        ("allocator-fragmentation.bytes", Figure::Whole(usage.fragmentation_bytes())),
        ("allocator-rss.ratio", Figure::Broken(1.0)),
        ("allocator-rss.bytes", Figure::Whole(0)),
        ("rss-overhead.ratio", Figure::Broken(1.0)),
        ("rss-overhead.bytes", Figure::Whole(0)),
        ("fragmentation", Figure::Broken(usage.fragmentation())),
        ("fragmentation.bytes", Figure::Whole(usage.fragmentation_bytes())),
    ];
    reply.map(before.len() + usage.databases.len() + behind.len());
    for (name, value) in before {
        reply.bulk(name.as_bytes());
        reply.int(value as i64);
    }
    for (db, bytes) in usage.databases {
        reply.bulk(format!("db.{db}").as_bytes());
        reply.map(2);
        reply.bulk(b"overhead.hashtable.main");
        reply.int(bytes as i64);
        // Times to live have no table of their own.
        reply.bulk(b"overhead.hashtable.expires");
        reply.int(0);
    }
    for (name, figure) in behind {
        reply.bulk(name.as_bytes());
        match figure {
            Figure::Whole(value) => reply.int(value),
            Figure::Broken(value) => reply.double(value),
        }
    }
    Ok(())
}

enum Figure {
    Whole(i64),
    Broken(f64),
}

/// Below this much memory nothing that could be measured means anything.
const WORTH_A_LOOK_BYTES: u64 = 5 * 1024 * 1024;

fn doctor(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let usage = MemoryUsage::now(cx);
    let mut findings = Vec::new();
    if usage.peak > usage.allocated / 2 * 3 {
        findings.push("Once more than half as much again was in use: what was freed may be kept by the allocator for later.");
    }
    if usage.fragmentation() > 1.4 {
        findings.push("The process holds 1.4 times what is allocated, or more: memory is fragmented, or was used at the peak.");
    }
    if usage.clients > usage.allocated / 2 {
        findings.push("Clients hold more than half of it: look at CLIENT LIST for those that do not read (omem, tot-mem).");
    }
    let text = match findings[..] {
        _ if usage.allocated < WORTH_A_LOOK_BYTES => {
            "Too little memory is in use for a diagnosis.\n".to_owned()
        }
        [] => "Memory looks healthy.\n".to_owned(),
        _ => findings.join("\n") + "\n",
    };
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn malloc_stats(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let usage = MemoryUsage::now(cx);
    let text = format!(
        "allocator: {ALLOCATOR}\nallocated bytes: {}\nresident bytes: {}\n",
        usage.allocated, usage.resident
    );
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// What INFO names as the allocator.
pub(super) use crate::util::alloc::NAME as ALLOCATOR;

fn purge(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.ok();
    Ok(())
}
