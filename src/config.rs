//! Every setting and limit: its redis.conf name, default and reason.

/// The sizes up to which Redis keeps a value in its compact encoding. OBJECT ENCODING answers by
/// them; toril's own layouts do not depend on them.
#[derive(Clone, Debug)]
pub struct Limits {
    pub hash_entries_max: usize,
    pub hash_value_bytes_max: usize,
    /// Positive: elements a node; -1 to -5: 4, 8, 16, 32, 64 KB a node.
    pub list_node_size: i64,
    pub set_intset_entries_max: usize,
    pub set_entries_max: usize,
    pub set_value_bytes_max: usize,
    pub zset_entries_max: usize,
    pub zset_value_bytes_max: usize,
    pub stream_node_bytes_max: usize,
    pub stream_node_entries_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hash_entries_max: 128,
            hash_value_bytes_max: 64,
            list_node_size: -2,
            set_intset_entries_max: 512,
            set_entries_max: 128,
            set_value_bytes_max: 64,
            zset_entries_max: 128,
            zset_value_bytes_max: 64,
            stream_node_bytes_max: 4096,
            stream_node_entries_max: 100,
        }
    }
}
