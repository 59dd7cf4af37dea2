//! The engine's own bounds: limits that no setting changes. Work without a bound is a bug, so each
//! stands here by name, with what it protects.

/// A turn ends after this much time: a timer that fires behind 20 busy connections is 2 ms late
/// with turns of 0.2 ms, and 12 ms late with turns of 1 ms.
pub const TURN_US_MAX: u64 = 200;

/// ... or after this many commands, so that cheap ones rarely ask for the time.
pub const TURN_COMMANDS_MAX: usize = 256;

/// ... or after this many bytes of input: long values cost copying, which commands do not count.
pub const TURN_BYTES_MAX: usize = 64 * 1024;

/// Keys that the timer wheel may delete in one turn. More that fall due at the same moment wait for
/// the next turn; a lookup treats them as gone already.
pub const TURN_EXPIRIES_MAX: usize = 256;

/// Time-outs of blocked clients, and other alarms, that may go off in one turn, or timers that may
/// be hung anew after a long sleep. More that fall due at the same moment wait for the next turn.
pub const TURN_ALARMS_MAX: usize = 256;

/// Arguments of one request, as Redis: "invalid multibulk length" above it. Nothing is reserved for
/// a count; words that have come are bounded by memory alone, as in Redis.
pub const ARGS_MAX: usize = i32::MAX as usize;

/// Arguments of a request from a client that has yet to authenticate: enough for HELLO with all its
/// options and no way to make the server reserve memory.
pub const PREAUTH_ARGS_MAX: usize = 10;

/// Length of one argument from a client that has yet to authenticate.
pub const PREAUTH_BULK_BYTES_MAX: usize = 16 * 1024;

/// Length of an inline command, and of a length line in a request: "too big inline request" and
/// "too big mbulk count string" above it.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Headers of an HTTP request: hyper's own bound, and its fast path only while none is given.
pub const HTTP_HEADERS_MAX: usize = 100;

/// Bytes of an HTTP request's line and headers, and what is read of a body at a time.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Commands of an HTTP pipeline or transaction, which are read at once: 3 ms. Upstash's clients
/// send up to 1,000.
pub const HTTP_COMMANDS_MAX: usize = 10_000;

/// Words of one command over HTTP: as JSON they take ten times their length in memory.
pub const REST_WORDS_MAX: usize = 1024 * 1024;

/// Streams of which a connection's `$` is kept, with `keep-dollar`: beyond, that which was read the
/// longest ago is forgotten.
pub const DOLLARS_MAX: usize = 128;

/// VM instructions that a script runs before its hook asks whether time is up: 1 % of script time.
pub const SCRIPT_SLICE_INSTRUCTIONS: u32 = 100_000;

/// Tables within tables that a script may return: deeper ones answer "reached lua stack limit"
/// instead of overflowing the stack. Redis goes on to 8,000, where the Lua stack ends.
pub const REPLY_DEPTH_MAX: usize = 1_000;

/// Open files beside the clients' sockets: listeners, log, standard streams. Redis reserves as
/// many.
pub const RESERVED_FILES: usize = 32;

/// Numbered databases: each takes some bytes though it is empty. Redis sets no bound, and its start
/// does not end above ten million or so.
pub const DATABASES_MAX: usize = 1_000_000;

/// Configuration files within configuration files: one that includes itself ends here.
pub const INCLUDE_DEPTH_MAX: usize = 16;

/// What scripts and their values may take together: "not enough memory" above it. Redis sets no
/// bound and swaps or dies instead.
pub const SCRIPT_MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// A string that a library function builds in one go, where no script can be interrupted: as long
/// as a value may be, and half a second of work.
pub const SCRIPT_STRING_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Values that JSON or MessagePack is made of in one go, at some 40 ns each. A table that stands in
/// many places counts as often.
pub const SCRIPT_ENCODED_VALUES_MAX: usize = 16 * 1024 * 1024;
