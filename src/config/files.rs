//! What the server begins with, and the settings of snapshots and of the append-only file, but for
//! when a snapshot is taken.

use super::{AppendSync, Secret};

/// What is written to files, and read from them.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The file in `dir` that it is saved to.
    pub dbfilename: String,
    /// Whether such a file has a checksum.
    pub rdbchecksum: bool,
    /// Whether writes are refused while the data cannot be saved.
    pub stop_writes_on_bgsave_error: bool,
    /// Whether all changes are appended to a file.
    pub appendonly: bool,
    /// How the names of its files begin.
    pub appendfilename: String,
    /// The folder in `dir` that they are in.
    pub appenddirname: String,
    /// When they are synced.
    pub appendfsync: AppendSync,
    /// Whether one that ends too soon is cut behind what is whole.
    pub aof_load_truncated: bool,
    /// It is written anew when it has grown by so much since; 0: never.
    pub auto_aof_rewrite_percentage: u32,
    /// Not before it has so many bytes.
    pub auto_aof_rewrite_min_size: u64,
    /// The file that is read at the start. Empty: `dbfilename` if there is one; `no`: none.
    pub load: String,
    /// The URL of the server whose data it begins with. None: nobody's.
    pub import: Option<Secret>,
    /// The pattern of the keys that are taken from there. Empty: all.
    pub import_match: String,
    /// Whether what belongs to modules is left out of it.
    pub load_partly: bool,
    /// Whether what stands before its first fault is kept.
    pub repair: bool,
}

impl Default for FileSettings {
    fn default() -> Self {
        const MB: u64 = 1024 * 1024;
        Self {
            dbfilename: "dump.rdb".into(),
            rdbchecksum: true,
            stop_writes_on_bgsave_error: true,
            appendonly: false,
            appendfilename: "appendonly.aof".into(),
            appenddirname: "appendonlydir".into(),
            appendfsync: AppendSync::EverySecond,
            aof_load_truncated: true,
            auto_aof_rewrite_percentage: 100,
            auto_aof_rewrite_min_size: 64 * MB,
            load: String::new(),
            import: None,
            import_match: String::new(),
            load_partly: false,
            repair: false,
        }
    }
}
