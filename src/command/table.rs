//! All families.

use super::*;
use crate::engine::row::Family;
use crate::engine::table::Table;

/// The families in alphabetical order.
#[rustfmt::skip]
pub const FAMILIES: &[&Family] = &[
    &client::FAMILY,
    &connection::FAMILY,
    &expire::FAMILY,
    &generic::FAMILY,
    &hash::FAMILY,
    &lcs::FAMILY,
    &list::FAMILY,
    &object::FAMILY,
    &pubsub::FAMILY,
    &scan::FAMILY,
    &script::FAMILY,
    &set::FAMILY,
    &sort::FAMILY,
    &string::FAMILY,
    &transaction::FAMILY,
    &zset::FAMILY,
];

/// The table that an engine is given.
pub fn table() -> Table {
    Table::new(FAMILIES)
}
