//! Names of fields that many hashes have, each of which stands as one byte in a packed hash.
//!
//! They are those that BullMQ, Bull and bee-queue give the fields of a job. Nothing else here knows
//! these libraries: a name stands for nothing but itself. A number is kept only in memory, so that
//! rows may come, go and be put in another order.

macro_rules! names {
    ($($number:literal $name:literal)*) => {
        /// By number, at most 48 of them.
        pub const WORDS: &[&[u8]] = &[$($name),*];

        /// The number of a name.
        pub fn word_of(text: &[u8]) -> Option<u8> {
            match text {
                $($name => Some($number),)*
                _ => None,
            }
        }
    };
}

names! {
    0 b"name"
    1 b"data"
    2 b"opts"
    3 b"timestamp"
    4 b"delay"
    5 b"priority"
    6 b"processedOn"
    7 b"finishedOn"
    8 b"returnvalue"
    9 b"failedReason"
    10 b"stacktrace"
    11 b"ats"
    12 b"atm"
    13 b"stc"
    14 b"pb"
    15 b"rjk"
    16 b"deid"
    17 b"parentKey"
    18 b"parent"
    19 b"progress"
    20 b"attemptsMade"
    21 b"repeatJobKey"
    22 b"nrjid"
    23 b"id"
}
