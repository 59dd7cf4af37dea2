//! The table of all commands, put together from the families.

use super::*;
use crate::engine::row::Family;
use crate::engine::table::Table;

/// The families in alphabetical order.
#[rustfmt::skip]
pub const FAMILIES: &[&Family] = &[
    &acl::FAMILY,
    &bitmap::FAMILY,
    &client::FAMILY,
    &cluster::FAMILY,
    &commands::FAMILY,
    &config::FAMILY,
    &connection::FAMILY,
    &database::FAMILY,
    &debug::FAMILY,
    &dump::ASKING,
    &dump::FAMILY,
    &expire::FAMILY,
    &field::FAMILY,
    &function::FAMILY,
    &generic::FAMILY,
    &geo::FAMILY,
    &hash::FAMILY,
    &hyperloglog::FAMILY,
    &info::FAMILY,
    &latency::FAMILY,
    &lcs::FAMILY,
    &list::FAMILY,
    &memory::FAMILY,
    &migrate::FAMILY,
    &object::FAMILY,
    &pubsub::FAMILY,
    &replication::FAMILY,
    &scan::FAMILY,
    &script::FAMILY,
    &server::FAMILY,
    &set::FAMILY,
    &slowlog::FAMILY,
    &sort::FAMILY,
    &stream::FAMILY,
    &string::FAMILY,
    &toril::FAMILY,
    &transaction::FAMILY,
    &zset::FAMILY,
];

/// The table that an engine is given.
pub fn table() -> Table {
    Table::new(FAMILIES)
}
