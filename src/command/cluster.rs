//! CLUSTER: answers what cluster clients ask, as a Redis does that is not part of a cluster.

use super::prelude::*;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Cluster, &[
    row("asking",    "3.0.0", Exactly(1), Keys::none(), &[Fast, NeedsConnection], disabled, "", "Refused: there is no cluster.").acl_families(&[Category::Connection]),
    container("cluster", "3.0.0", &[
        row("addslots",         "3.0.0", AtLeast(3), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "slot [slot ...]", "Refused: there is no cluster."),
        row("addslotsrange",    "7.0.0", AtLeast(4), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "start-slot end-slot [start-slot end-slot ...]", "Refused: there is no cluster."),
        row("bumpepoch",        "3.0.0", Exactly(2), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("countkeysinslot",  "3.0.0", Exactly(3), Keys::none(), &[Stale], disabled, "slot", "Refused: there is no cluster."),
        row("delslots",         "3.0.0", AtLeast(3), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "slot [slot ...]", "Refused: there is no cluster."),
        row("delslotsrange",    "7.0.0", AtLeast(4), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "start-slot end-slot [start-slot end-slot ...]", "Refused: there is no cluster."),
        row("failover",         "3.0.0", AtLeast(2), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "[FORCE | TAKEOVER]", "Refused: there is no cluster."),
        row("flushslots",       "3.0.0", Exactly(2), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "", "Refused: there is no cluster."),
        row("forget",           "3.0.0", Exactly(3), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "node-id", "Refused: there is no cluster."),
        row("getkeysinslot",    "3.0.0", Exactly(4), Keys::none(), &[Stale], disabled, "slot count", "Refused: there is no cluster.").tips(&[VARIES]),
        help("5.0.0"),
        row("info",             "3.0.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("keyslot",          "3.0.0", Exactly(3), Keys::none(), &[Stale], disabled, "key", "Refused: there is no cluster."),
        row("links",            "7.0.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("meet",             "3.0.0", AtLeast(4), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "ip port [cluster-bus-port]", "Refused: there is no cluster."),
        row("myid",             "3.0.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster."),
        row("myshardid",        "7.2.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("nodes",            "3.0.0", Exactly(2), Keys::none(), &[Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("replicas",         "5.0.0", Exactly(3), Keys::none(), &[Admin, Stale], disabled, "node-id", "Refused: there is no cluster.").tips(&[VARIES]),
        row("replicate",        "3.0.0", Exactly(3), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "node-id", "Refused: there is no cluster."),
        row("reset",            "3.0.0", AtLeast(2), Keys::none(), &[Admin, NoScript, Stale], disabled, "[HARD | SOFT]", "Refused: there is no cluster."),
        row("saveconfig",       "3.0.0", Exactly(2), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "", "Refused: there is no cluster."),
        row("set-config-epoch", "3.0.0", Exactly(3), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "config-epoch", "Refused: there is no cluster."),
        row("setslot",          "3.0.0", AtLeast(4), Keys::none(), &[Admin, Stale, NoAsyncLoading], disabled, "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>", "Refused: there is no cluster."),
        row("shards",           "7.0.0", Exactly(2), Keys::none(), &[Loading, Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
        row("slaves",           "3.0.0", Exactly(3), Keys::none(), &[Admin, Stale], disabled, "node-id", "Refused: there is no cluster.").tips(&[VARIES]),
        row("slots",            "3.0.0", Exactly(2), Keys::none(), &[Loading, Stale], disabled, "", "Refused: there is no cluster.").tips(&[VARIES]),
    ], "Tells about the cluster that this server is not."),
    row("readonly",  "3.0.0", Exactly(1), Keys::none(), &[Loading, Stale, Fast, NeedsConnection], disabled, "", "Refused: there is no cluster.").acl_families(&[Category::Connection]),
    row("readwrite", "3.0.0", Exactly(1), Keys::none(), &[Loading, Stale, Fast, NeedsConnection], disabled, "", "Refused: there is no cluster.").acl_families(&[Category::Connection]),
]);

fn disabled(_cx: &mut Ctx, _args: Args, _reply: &mut Reply) -> Result {
    Err(Error::new("ERR This instance has cluster support disabled"))
}
