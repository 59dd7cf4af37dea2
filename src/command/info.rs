//! INFO: figures about the server, by section.
//!
//! A field of Redis's that toril could only make up is left out; one that is nothing here by nature
//! (replicas, forks, defragmentation) is told as nothing, because tools expect it.

mod keysizes;

use super::memory::{ALLOCATOR, MemoryUsage};
use super::prelude::*;
use crate::config::TORIL_VERSION;
use crate::engine::Engine;
use crate::engine::acl::selector::Reason;
use crate::engine::following::{Following, LinkStage};
use crate::engine::persistence::{Appending, SnapshotKind};
use crate::engine::script::Realm;
use crate::engine::tracking::Tracking;
use std::fmt::Display;
use std::io::Write;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    row("info", "1.0.0", AtLeast(1), Keys::none(), &[Loading, Stale, Dangerous], info, "[section [section ...]]", "Tells about the server.").tips(&[VARIES, ALL_SHARDS, SPECIAL_REPLY]),
]);

/// What of INFO's shows a section.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Shown {
    /// INFO alone.
    ByDefault,
    /// INFO all or everything.
    WithAll,
    /// Its name.
    Named,
}

struct Section {
    title: &'static str,
    shown: Shown,
    write: fn(&Engine, &mut Text),
}

const fn section(title: &'static str, write: fn(&Engine, &mut Text)) -> Section {
    Section { title, shown: Shown::ByDefault, write }
}

const fn asked_for(title: &'static str, write: fn(&Engine, &mut Text)) -> Section {
    Section { title, shown: Shown::WithAll, write }
}

const fn named(title: &'static str, write: fn(&Engine, &mut Text)) -> Section {
    Section { title, shown: Shown::Named, write }
}

const SECTIONS: &[Section] = &[
    section("Server", server),
    section("Clients", clients),
    section("Memory", memory),
    section("Persistence", persistence),
    section("Stats", stats),
    section("Replication", replication),
    section("CPU", cpu),
    section("Modules", |_, _| {}),
    asked_for("Commandstats", command_stats),
    section("Errorstats", error_stats),
    asked_for("Latencystats", latency_stats),
    section("Cluster", |_, text| text.field("cluster_enabled", 0)),
    section("Keyspace", keyspace),
    named("Keysizes", keysizes::write),
];

/// Lines `name:value`.
struct Text(Vec<u8>);

impl Text {
    fn field(&mut self, name: impl Display, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Bytes, and again as people read them.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(format_args!("{name}_human"), human(bytes));
    }

    /// What a standalone server without disk has none of.
    fn nothing(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.field(name, 0));
    }
}

fn info(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let asked = |name: &str| args.clone().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let all = asked("all") || asked("everything");
    let default = args.left() == 0 || asked("default");
    cx.note_peak();
    let mut text = Text(Vec::new());
    for section in SECTIONS {
        let is_meant =
            all && section.shown <= Shown::WithAll || default && section.shown == Shown::ByDefault;
        if is_meant || asked(section.title) {
            if !text.0.is_empty() {
                text.0.extend_from_slice(b"\r\n");
            }
            let _ = write!(text.0, "# {}\r\n", section.title);
            (section.write)(cx.server(), &mut text);
        }
    }
    reply.verbatim("txt", &text.0);
    Ok(())
}

fn server(engine: &Engine, text: &mut Text) {
    let (now, facts) = (engine.keyspace.now, &engine.facts);
    let uptime_s = (now.mono_us - engine.started.mono_us) / 1_000_000;
    let profile = engine.config.profile();
    text.field("redis_version", profile.version);
    profile.info.iter().for_each(|(name, value)| text.field(name, value));
    text.field("toril_version", TORIL_VERSION);
    // It is built from no repository of Redis's, and by no gcc: Redis's words for that.
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", "0000000000000000");
    text.field("redis_mode", "standalone");
    text.field("os", facts.os());
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", if cfg!(target_os = "linux") { "epoll" } else { "kqueue" });
    text.field("atomicvar_api", "c11-builtin");
    text.field("gcc_version", "0.0.0");
    text.field("process_id", facts.process_id());
    text.field("process_supervised", "no");
    text.field("run_id", &engine.run_id);
    text.field("tcp_port", facts.tcp_port());
    text.field("server_time_usec", now.wall_us());
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / 86_400);
    text.field("hz", engine.config.hz);
    text.field("configured_hz", engine.config.hz);
    text.field("lru_clock", (now.wall_ms / 1000) & LRU_CLOCK_MAX);
    text.field("executable", facts.executable());
    text.field("config_file", facts.config_file());
    text.field("io_threads_active", 0);
    if facts.tcp_port() != 0 {
        let binds: String = engine.config.bind.iter().map(|it| format!(",bind={it}")).collect();
        text.field("listener0", format_args!("name=tcp{binds},port={}", facts.tcp_port()));
    }
    if let Some(path) = &engine.config.unixsocket {
        text.field("listener1", format_args!("name=unix,bind={path}"));
    }
}

/// Redis has 24 bits for the second of an access.
pub(super) const LRU_CLOCK_MAX: i64 = 0xFF_FFFF;

fn clients(engine: &Engine, text: &mut Text) {
    let clients = &engine.clients;
    let count = |is_counted: fn(&crate::engine::client::Client) -> bool| {
        clients.iter().filter(|client| is_counted(client)).count()
    };
    let longest_input = clients.iter().map(|client| client.query_len).max().unwrap_or(0);
    let longest_output = clients.iter().map(|client| client.outbox.len()).max().unwrap_or(0);
    text.field("connected_clients", clients.len());
    text.field("cluster_connections", 0);
    text.field("maxclients", engine.config.maxclients);
    text.field("client_recent_max_input_buffer", longest_input);
    text.field("client_recent_max_output_buffer", longest_output);
    text.field("blocked_clients", count(|client| client.is_blocked() || client.is_held()));
    let tracking = engine.keyspace.aftermath.tracking.as_deref();
    text.field("tracking_clients", tracking.map_or(0, Tracking::client_count));
    text.field("pubsub_clients", count(|client| client.subscriptions() > 0));
    text.field("watching_clients", count(|client| !client.transaction.watched.is_empty()));
    text.field("clients_in_timeout_table", count(|client| client.timer.is_some()));
    text.field("total_watched_keys", engine.keyspace.aftermath.watched_count());
    text.field("total_blocking_keys", engine.keyspace.aftermath.waiters.key_count());
    text.field("total_blocking_keys_on_nokey", 0);
}

fn memory(engine: &Engine, text: &mut Text) {
    let usage = MemoryUsage::of(engine);
    text.bytes("used_memory", usage.allocated);
    text.bytes("used_memory_rss", usage.resident);
    text.bytes("used_memory_peak", usage.peak);
    text.field("used_memory_peak_perc", format_args!("{:.2}%", usage.peak_percentage()));
    text.field("used_memory_overhead", usage.overhead());
    text.field("used_memory_startup", usage.startup);
    text.field("used_memory_dataset", usage.dataset());
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", usage.dataset_percentage()));
    text.field("allocator_allocated", usage.allocated);
    text.field("allocator_active", usage.resident);
    text.field("allocator_resident", usage.resident);
    text.field("allocator_muzzy", 0);
    text.bytes("total_system_memory", engine.facts.memory().total);
    text.field("used_memory_lua", usage.lua);
    text.field("used_memory_vm_eval", usage.lua);
    text.field("used_memory_lua_human", human(usage.lua));
    text.field("used_memory_scripts_eval", usage.scripts);
    let scripts = engine.scripts.loaded(Realm::Scripts).map_or(0, |lua| lua.script_count());
    text.field("number_of_cached_scripts", scripts);
    let libraries = engine.scripts.loaded(Realm::Functions);
    text.field("number_of_functions", libraries.map_or(0, |lua| lua.function_count()));
    text.field("number_of_libraries", libraries.map_or(0, |lua| lua.libraries().count()));
    text.field("used_memory_vm_functions", usage.functions_lua);
    text.bytes("used_memory_vm_total", usage.lua + usage.functions_lua);
    text.field("used_memory_functions", usage.functions);
    text.bytes("used_memory_scripts", usage.scripts + usage.functions);
    text.bytes("maxmemory", engine.config.maxmemory);
    text.field("maxmemory_policy", engine.config.maxmemory_policy.word());
    // The allocator is asked for all that the process holds: what it keeps free is what there is
    // to know.
    text.field("allocator_frag_ratio", format_args!("{:.2}", usage.fragmentation()));
    text.field("allocator_frag_bytes", usage.fragmentation_bytes());
    text.field("allocator_rss_ratio", "1.00");
    text.field("allocator_rss_bytes", 0);
    text.field("rss_overhead_ratio", "1.00");
    text.field("rss_overhead_bytes", 0);
    text.field("mem_fragmentation_ratio", format_args!("{:.2}", usage.fragmentation()));
    text.field("mem_fragmentation_bytes", usage.fragmentation_bytes());
    text.field("mem_not_counted_for_evict", engine.keyspace.spare_bytes());
    text.nothing(&["mem_replication_backlog", "mem_total_replication_buffers"]);
    text.field("mem_clients_slaves", 0);
    text.field("mem_clients_normal", usage.clients);
    text.nothing(&["mem_cluster_links", "mem_aof_buffer"]);
    text.field("mem_allocator", ALLOCATOR);
    text.field("mem_overhead_db_hashtable_rehashing", 0);
    text.field("active_defrag_running", 0);
    text.field("lazyfree_pending_objects", engine.keyspace.doomed_count());
    text.field("lazyfreed_objects", engine.stats.lazily_freed);
}

fn persistence(engine: &Engine, text: &mut Text) {
    let state = &engine.persistence;
    let now_ms = engine.keyspace.now.wall_ms;
    text.field("loading", u8::from(state.loading().is_some()));
    text.field("async_loading", 0);
    if let Some(loading) = state.loading() {
        let per_cent = loading.bytes as f64 * 100.0 / loading.bytes_total.max(1) as f64;
        let passed_s = (now_ms - loading.since_ms) as f64 / 1000.0;
        let left = loading.bytes_total.saturating_sub(loading.bytes) as f64;
        let eta_s = passed_s * left / loading.bytes.max(1) as f64;
        text.field("loading_start_time", loading.since_ms / 1000);
        text.field("loading_total_bytes", loading.bytes_total);
        text.field("loading_rdb_used_mem", 0);
        text.field("loading_loaded_bytes", loading.bytes);
        text.field("loading_loaded_perc", format_args!("{per_cent:.2}"));
        text.field("loading_eta_seconds", eta_s as u64);
    }
    text.nothing(&["current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    text.field("current_fork_perc", "0.00");
    let saving = engine.keyspace.saving();
    let status = |is_good: bool| if is_good { "ok" } else { "err" };
    text.field("current_save_keys_processed", saving.map_or(0, |it| it.keys));
    text.field("current_save_keys_total", saving.map_or(0, |it| it.keys_total));
    text.field("rdb_changes_since_last_save", engine.unsaved_changes());
    text.field("rdb_bgsave_in_progress", u8::from(state.is_saving_aside()));
    text.field("rdb_last_save_time", state.saved_s());
    text.field("rdb_last_bgsave_status", status(!state.has_failed()));
    text.field("rdb_last_bgsave_time_sec", state.last_span_s.unwrap_or(-1));
    let span_s = state.aside_since_ms().map_or(-1, |since_ms| (now_ms - since_ms) / 1000);
    text.field("rdb_current_bgsave_time_sec", span_s);
    text.field("rdb_saves", state.saves);
    text.field("rdb_last_cow_size", 0);
    text.field("rdb_last_load_keys_expired", state.loaded_expired);
    text.field("rdb_last_load_keys_loaded", state.loaded_keys);
    let none = Appending::default();
    let appending = state.appending.as_ref().unwrap_or(&none);
    text.field("aof_enabled", u8::from(state.appending.is_some()));
    text.field("aof_rewrite_in_progress", u8::from(state.is_rewriting()));
    text.field("aof_rewrite_scheduled", u8::from(state.wants_rewrite()));
    text.field("aof_last_rewrite_time_sec", appending.last_span_s.unwrap_or(-1));
    let span_s =
        state.since_ms(SnapshotKind::Base).map_or(-1, |since_ms| (now_ms - since_ms) / 1000);
    text.field("aof_current_rewrite_time_sec", span_s);
    text.field("aof_last_bgrewrite_status", status(appending.rewrites_failed == 0));
    text.field("aof_rewrites", appending.rewrites);
    text.field("aof_rewrites_consecutive_failures", appending.rewrites_failed);
    text.field("aof_last_write_status", status(state.problem.is_none()));
    text.nothing(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if state.appending.is_some() {
        text.field("aof_current_size", appending.bytes);
        text.field("aof_base_size", appending.base_bytes);
        text.field("aof_pending_rewrite", u8::from(state.wants_rewrite()));
        text.field("aof_buffer_length", appending.waiting_bytes);
        text.field("aof_pending_bio_fsync", 0);
        text.field("aof_delayed_fsync", appending.delayed);
    }
}

fn stats(engine: &Engine, text: &mut Text) {
    let (stats, keyspace) = (&engine.stats, &engine.keyspace);
    let [commands, bytes_in, bytes_out, turns, turns_us] = stats.per_second();
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    text.field("total_connections_received", stats.connections);
    text.field("total_commands_processed", stats.commands);
    text.field("instantaneous_ops_per_sec", commands);
    text.field("total_net_input_bytes", stats.bytes_in);
    text.field("total_net_output_bytes", stats.bytes_out);
    text.nothing(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    text.field("instantaneous_input_kbps", kilobytes(bytes_in));
    text.field("instantaneous_output_kbps", kilobytes(bytes_out));
    text.field("instantaneous_input_repl_kbps", "0.00");
    text.field("instantaneous_output_repl_kbps", "0.00");
    text.field("rejected_connections", stats.rejected_connections);
    let syncs = engine.replication.syncs;
    text.field("sync_full", syncs.full);
    text.field("sync_partial_ok", syncs.partial);
    text.field("sync_partial_err", syncs.refused);
    text.field("expired_subkeys", keyspace.expired_field_count);
    text.field("expired_keys", keyspace.expired_count);
    text.field("expired_stale_perc", "0.00");
    text.nothing(&["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"]);
    text.field("evicted_keys", stats.evicted);
    text.field("evicted_clients", stats.evicted_clients);
    let evicted_scripts = engine.scripts.loaded(Realm::Scripts);
    let evicted_scripts = evicted_scripts.map_or(0, |lua| lua.evicted_count());
    text.field("evicted_scripts", evicted_scripts);
    text.nothing(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
    text.field("keyspace_hits", keyspace.hits);
    text.field("keyspace_misses", keyspace.misses);
    text.field("pubsub_channels", engine.pubsub.channels.len());
    text.field("pubsub_patterns", engine.pubsub.patterns.len());
    text.field("pubsubshard_channels", engine.pubsub.shards.len());
    text.nothing(&["latest_fork_usec", "total_forks", "migrate_cached_sockets"]);
    text.nothing(&["slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses"]);
    text.nothing(&["active_defrag_key_hits", "active_defrag_key_misses"]);
    text.nothing(&["total_active_defrag_time", "current_active_defrag_time"]);
    let tracking = engine.keyspace.aftermath.tracking.as_deref();
    text.field("tracking_total_keys", tracking.map_or(0, Tracking::key_count));
    text.field("tracking_total_items", tracking.map_or(0, Tracking::reader_count));
    text.field("tracking_total_prefixes", tracking.map_or(0, Tracking::prefix_count));
    text.field("unexpected_error_replies", 0);
    text.field("total_error_replies", stats.error_count);
    text.field("dump_payload_sanitizations", 0);
    text.field("total_reads_processed", stats.reads);
    text.field("total_writes_processed", stats.writes);
    text.nothing(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    text.field("client_query_buffer_limit_disconnections", stats.query_limit_disconnections);
    text.field("client_output_buffer_limit_disconnections", stats.output_limit_disconnections);
    text.nothing(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    text.field("eventloop_cycles", stats.turns);
    text.field("eventloop_duration_sum", stats.turns_us);
    let commands_us: u64 = stats.calls.iter().map(|calls| calls.micros).sum();
    text.field("eventloop_duration_cmd_sum", commands_us);
    text.field("instantaneous_eventloop_cycles_per_sec", turns);
    text.field("instantaneous_eventloop_duration_usec", turns_us / turns.max(1));
    text.field("acl_access_denied_auth", stats.denied[Reason::Login as usize]);
    text.field("acl_access_denied_cmd", stats.denied[Reason::Command as usize]);
    text.field("acl_access_denied_key", stats.denied[Reason::Key as usize]);
    text.field("acl_access_denied_channel", stats.denied[Reason::Channel as usize]);
}

/// Who is followed, and how the link is.
fn primary(engine: &Engine, following: &Following, text: &mut Text) {
    let since_s = |at_us: u64| engine.time().mono_us.saturating_sub(at_us) / 1_000_000;
    let is_up = following.stage == LinkStage::Up;
    let is_loading = following.stage == LinkStage::Loads;
    text.field("master_host", &following.host);
    text.field("master_port", following.port);
    text.field("master_link_status", if is_up { "up" } else { "down" });
    let heard_s = if is_up { since_s(following.heard_us) as i64 } else { -1 };
    text.field("master_last_io_seconds_ago", heard_s);
    text.field("master_sync_in_progress", u8::from(is_loading));
    text.field("slave_read_repl_offset", engine.replication.offset);
    text.field("slave_repl_offset", engine.replication.offset);
    if is_loading {
        let (loaded, all) = (following.loaded, following.to_load);
        let per_cent = all.map_or(0.0, |all| loaded as f64 * 100.0 / all.max(1) as f64);
        text.field("master_sync_total_bytes", all.map_or(-1, |all| all as i64));
        text.field("master_sync_read_bytes", loaded);
        text.field("master_sync_left_bytes", all.map_or(-1, |all| (all - loaded) as i64));
        text.field("master_sync_perc", format!("{per_cent:.2}"));
        text.field("master_sync_last_io_seconds_ago", since_s(following.heard_us));
    }
    if !is_up {
        let down_s = following.down_since_us.map_or(-1, |at_us| since_s(at_us) as i64);
        text.field("master_link_down_since_seconds", down_s);
    }
    let settings = &engine.config.replica;
    text.field("slave_priority", settings.priority);
    text.field("slave_read_only", u8::from(settings.read_only));
    text.field("replica_announced", u8::from(settings.is_announced));
}

fn replication(engine: &Engine, text: &mut Text) {
    let state = &engine.replication;
    text.field("role", if state.is_following() { "slave" } else { "master" });
    if let Some(following) = state.following() {
        primary(engine, following, text);
    }
    text.field("connected_slaves", state.replicas().count());
    if let Some(count) = engine.good_replicas() {
        text.field("min_slaves_good_slaves", count);
    }
    for (number, (id, replica)) in state.replicas().enumerate() {
        let lag_s = engine.time().mono_us.saturating_sub(replica.heard_us) / 1_000_000;
        let told = format!(
            "ip={},port={},state={},offset={},lag={lag_s}",
            engine.replica_address(id, replica),
            replica.port,
            replica.stage.name(),
            replica.acknowledged,
        );
        text.field(format!("slave{number}"), told);
    }
    if let Some(to) = &state.handed_over {
        text.field("handed_over_to", format_args!("{}:{}", to.url.host, to.url.port));
    }
    text.field("master_failover_state", engine.failover_state());
    text.field("master_replid", &state.id);
    let before = state.before.as_ref();
    let nobody = "0".repeat(state.id.len());
    text.field("master_replid2", before.map_or(&nobody, |(name, _)| name));
    text.field("master_repl_offset", engine.stream_offset());
    text.field("second_repl_offset", before.map_or(-1, |(_, end)| *end as i64));
    let backlog = state.backlog_len();
    text.field("repl_backlog_active", u8::from(backlog.is_some()));
    text.field("repl_backlog_size", engine.config.replica.backlog_bytes);
    text.field("repl_backlog_first_byte_offset", state.first_kept().unwrap_or(0));
    text.field("repl_backlog_histlen", backlog.unwrap_or(0));
}

fn cpu(engine: &Engine, text: &mut Text) {
    let times = engine.facts.cpu();
    let seconds = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.field("used_cpu_sys", seconds(times.system_us));
    text.field("used_cpu_user", seconds(times.user_us));
    text.field("used_cpu_sys_children", seconds(0));
    text.field("used_cpu_user_children", seconds(0));
    text.field("used_cpu_sys_main_thread", seconds(times.thread_system_us));
    text.field("used_cpu_user_main_thread", seconds(times.thread_user_us));
}

fn command_stats(engine: &Engine, text: &mut Text) {
    for found in engine.table.all() {
        let it = &engine.stats.calls[found.index];
        if it.calls == 0 && it.rejected == 0 {
            continue;
        }
        let micros_per_call = it.micros as f64 / it.calls.max(1) as f64;
        text.field(
            format_args!("cmdstat_{}", found.full_name()),
            format_args!(
                "calls={},usec={},usec_per_call={micros_per_call:.2},rejected_calls={},failed_calls={}",
                it.calls, it.micros, it.rejected, it.failed
            ),
        );
    }
}

fn latency_stats(engine: &Engine, text: &mut Text) {
    let percentiles = &engine.config.latency_percentiles;
    let is_kept = engine.config.latency_tracking;
    for found in engine.table.all().filter(|_| is_kept) {
        let Some(latency) = &engine.stats.calls[found.index].latency else { continue };
        let shown = percentiles.iter().map(|percentile| {
            let nanos = latency.percentile_nanos(percentile.parse().unwrap_or_default());
            format!("p{percentile}={:.3}", nanos as f64 / 1000.0)
        });
        text.field(
            format_args!("latency_percentiles_usec_{}", found.full_name()),
            shown.collect::<Vec<_>>().join(","),
        );
    }
}

fn error_stats(engine: &Engine, text: &mut Text) {
    for (code, count) in &engine.stats.errors {
        // A script may have made it up: what would end the field's name does not.
        let is_unsafe = |byte| matches!(byte, b'#' | b':');
        text.0.extend_from_slice(b"errorstat_");
        text.0.extend(code.iter().map(|&byte| if is_unsafe(byte) { b'_' } else { byte }));
        text.field("", format_args!("count={count}"));
    }
}

fn keyspace(engine: &Engine, text: &mut Text) {
    for db in 0..engine.keyspace.databases() {
        let (keys, expires) = (engine.keyspace.db(db).len(), engine.keyspace.db(db).expiring());
        if keys > 0 {
            let ttl_ms = average_ttl_ms(engine, db);
            let subexpiry = engine.keyspace.db(db).with_expiring_fields();
            text.field(
                format_args!("db{db}"),
                format_args!(
                    "keys={keys},expires={expires},avg_ttl={ttl_ms},subexpiry={subexpiry}"
                ),
            );
        }
    }
}

/// Of so many keys, picked at random, as Redis does: looking at all would stop the server.
const TTL_SAMPLES: usize = 64;

fn average_ttl_ms(engine: &Engine, db: usize) -> i64 {
    let keyspace = &engine.keyspace;
    let (db, now_ms) = (keyspace.db(db), keyspace.now.wall_ms);
    let mut rng = keyspace.rng.clone();
    let samples = (0..TTL_SAMPLES).filter_map(|_| db.expires_ms(db.random(&mut rng)?));
    let ttls: Vec<i64> = samples.map(|at_ms| (at_ms - now_ms).max(0)).collect();
    ttls.iter().sum::<i64>() / ttls.len().max(1) as i64
}

/// `1.50M`, as Redis rounds.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, char); 4] =
        [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, letter)) => format!("{:.2}{letter}", bytes as f64 / *unit as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_people_read_them() {
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1024), "1.00K");
        assert_eq!(human(1_610_612_736), "1.50G");
    }
}
