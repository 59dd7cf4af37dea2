//! What cluster clients ask first, answered as by a Redis that is none. What only administers a
//! cluster is absent.

use super::prelude::*;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Cluster, &[
    container("cluster", "3.0.0", &[
        row("countkeysinslot", "3.0.0", Exactly(3), Keys::none(), &[Stale], disabled, "slot", "Refused: there is no cluster."),
        row("getkeysinslot",   "3.0.0", Exactly(4), Keys::none(), &[Stale], disabled, "slot count", "Refused: there is no cluster.").tips(&[VARIES]),
        help("5.0.0"),
        row("info",            "3.0.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("keyslot",         "3.0.0", Exactly(3), Keys::none(), &[Stale], disabled, "key", "Refused: there is no cluster."),
        row("links",           "7.0.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("myid",            "3.0.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster."),
        row("myshardid",       "7.2.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("nodes",           "3.0.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("shards",          "7.0.0", Exactly(2), Keys::none(), &[Loading, Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("slots",           "3.0.0", Exactly(2), Keys::none(), &[Loading, Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
    ], "Tells about the cluster that this server is not."),
]);

#[rustfmt::skip]
pub const MODES: Family = Family::new(Category::Connection, &[
    row("asking",    "3.0.0", Exactly(1), Keys::none(), &[Fast], disabled, "", "Refused: there is no cluster."),
    row("readonly",  "3.0.0", Exactly(1), Keys::none(), &[Loading, Stale, Fast], disabled, "", "Refused: there is no cluster."),
    row("readwrite", "3.0.0", Exactly(1), Keys::none(), &[Loading, Stale, Fast], disabled, "", "Refused: there is no cluster."),
]);

fn disabled(_cx: &mut Ctx, _args: Args, _reply: &mut Reply) -> Result {
    Err(Error::new("ERR This instance has cluster support disabled"))
}
