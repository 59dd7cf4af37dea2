//! Errors that have a cause in Redis: their texts, and whom the cause would hit.

use crate::engine::fixture::Stage;
use crate::engine::row::Flag;
use crate::engine::table::Found;
use crate::proto::Error;

/// An error that has a cause in Redis, and whom the cause would hit.
pub struct Kind {
    pub name: &'static str,
    pub error: fn() -> Error,
    pub hits: fn(Found) -> bool,
    /// Where in the checklist its cause would stand.
    pub stage: Stage,
    /// A script runs, and only its calls are hit.
    pub spares_scripts: bool,
    /// A script that has begun to write is let finish.
    pub spares_writers: bool,
    /// No script is known from then on.
    pub forgets_scripts: bool,
}

/// What most of them are.
const PLAIN: Kind = Kind {
    name: "",
    error: || Error::Syntax,
    hits: |_| true,
    stage: Stage::Allowed,
    spares_scripts: false,
    spares_writers: false,
    forgets_scripts: false,
};

pub const KINDS: &[Kind] = &[
    Kind {
        name: "busy",
        error: || Error::Busy,
        hits: |found| !has(found, Flag::AllowBusy),
        ..PLAIN
    },
    Kind {
        name: "loading",
        error: || Error::Loading,
        hits: |found| !has(found, Flag::Loading),
        ..PLAIN
    },
    Kind {
        name: "misconf",
        error: || Error::MisConf,
        hits: |found| has(found, Flag::Write) || has(found, Flag::TellsHealth),
        spares_scripts: true,
        ..PLAIN
    },
    Kind {
        name: "noauth",
        error: || Error::NoAuth,
        hits: |found| !has(found, Flag::NoAuth),
        ..PLAIN
    },
    // Behind the question whether a script is busy: a machine is not emptied while it runs.
    Kind {
        name: "noscript",
        error: || Error::NoScript,
        hits: |found| has(found, Flag::ScriptBySha),
        stage: Stage::Admitted,
        forgets_scripts: true,
        ..PLAIN
    },
    Kind {
        name: "oom",
        error: || Error::OutOfMemory,
        hits: |found| has(found, Flag::DenyOom),
        spares_scripts: true,
        spares_writers: true,
        ..PLAIN
    },
    READONLY,
];

/// What a server that has become a replica says.
pub const READONLY: Kind = Kind {
    name: "readonly",
    error: || Error::ReadOnly,
    hits: |found| has(found, Flag::Write),
    spares_scripts: true,
    ..PLAIN
};

pub fn has(found: Found, flag: Flag) -> bool {
    found.row.flags.has(flag)
}
