//! All families.

use super::*;
use crate::engine::row::Family;
use crate::engine::table::Table;

/// The families in the order of the documentation.
#[rustfmt::skip]
pub const FAMILIES: &[&Family] = &[
    &expire::FAMILY,
    &string::FAMILY,
    &transaction::FAMILY,
    &connection::FAMILY,
];

/// The table that an engine is given.
pub fn table() -> Table {
    Table::new(FAMILIES)
}
