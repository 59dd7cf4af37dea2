//! Errors: all that a command can refuse with. The texts are API: libraries match on them.

use std::fmt;

/// The outcome of a handler; the reply itself goes to the `Reply` that it was given.
pub type Result<T = ()> = std::result::Result<T, Error>;

macro_rules! errors {
    ($($name:ident => $text:literal;)*) => {
        /// Why a request was refused. 16 bytes; the text is made at the edge.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Error {
            $(#[doc = concat!("`", $text, "`")] $name,)*
            /// A text that depends on the request. Its first word is the code.
            Message(Box<Vec<u8>>),
        }

        impl Error {
            /// The text as it follows `-` on the wire, code first. It may quote any bytes.
            #[inline(never)]
            pub fn text(&self) -> &[u8] {
                match self {
                    $(Error::$name => $text.as_bytes(),)*
                    Error::Message(text) => text,
                }
            }
        }
    };
}

errors! {
    Syntax => "ERR syntax error";
    WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value";
    NotInteger => "ERR value is not an integer or out of range";
    NotFloat => "ERR value is not a valid float";
    OutOfRange => "ERR index out of range";
    ValueOutOfRange => "ERR value is out of range";
    NotFinite => "ERR value is NaN or Infinity";
    HashValueNotInteger => "ERR hash value is not an integer";
    HashValueNotFloat => "ERR hash value is not a float";
    NotPositive => "ERR value is out of range, must be positive";
    NoSuchKey => "ERR no such key";
    SameObject => "ERR source and destination objects are the same";
    Overflow => "ERR increment or decrement would overflow";
    NanOrInfinity => "ERR increment would produce NaN or Infinity";
    StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    TimeoutNotFloat => "ERR timeout is not a float or out of range";
    TimeoutNotInteger => "ERR timeout is not an integer or out of range";
    TimeoutNegative => "ERR timeout is negative";
    TimeoutOutOfRange => "ERR timeout is out of range";
    MinOrMaxNotFloat => "ERR min or max is not a float";
    MinOrMaxNotLex => "ERR min or max not valid string range item";
    DbIndexOutOfRange => "ERR DB index is out of range";
    NoAuth => "NOAUTH Authentication required.";
    WrongPass => "WRONGPASS invalid username-password pair or user is disabled.";
    CrossSlot => "CROSSSLOT Keys in request don't hash to the same slot";
    ExecAbort => "EXECABORT Transaction discarded because of previous errors.";
    OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.";
    ScriptUnknownCommand => "ERR Unknown Redis command called from script";
    ScriptWrongArity => "ERR Wrong number of args calling Redis command from script";
    ScriptNotAllowed => "ERR This Redis command is not allowed from script";
    ScriptReadOnly => "ERR Write commands are not allowed from read-only scripts.";
    NoScript => "NOSCRIPT No matching script. Please use EVAL.";
    Loading => "LOADING Redis is loading the dataset in memory";
    MisConf => "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";
    ReadOnly => "READONLY You can't write against a read only replica.";
    NotBusy => "NOTBUSY No scripts in execution right now.";
    Busy => "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    FunctionNotFound => "ERR Function not found";
    BusyFunction => "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
    Unkillable => "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";
    NotInMulti => "ERR Command not allowed inside a transaction";
    NoProto => "NOPROTO unsupported protocol version";
}

impl Error {
    /// An error whose text depends on the request, code included: `Error::new("ERR no such user")`.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Error::Message(Box::new(text.into()))
    }

    /// An error with a word of the request in its text. Redis formats that as a C string, which
    /// ends at the first zero.
    pub fn quoting(before: &str, word: &[u8], after: &str) -> Self {
        let word = word.split(|&byte| byte == 0).next().unwrap_or_default();
        Error::new([before.as_bytes(), word, after.as_bytes()].concat())
    }

    /// `command` in lower case, a subcommand as `client|list`.
    pub fn wrong_arity(command: &str) -> Self {
        Error::new(format!("ERR wrong number of arguments for '{command}' command"))
    }

    /// A subcommand with words that it does not take; `container` in upper case.
    pub fn misused(subcommand: &[u8], container: &str) -> Self {
        let start = "ERR unknown subcommand or wrong number of arguments for '";
        Error::quoting(start, subcommand, &format!("'. Try {container} HELP."))
    }

    /// The first word of the text, such as `WRONGTYPE`; INFO errorstats counts by it. A line end is
    /// a blank on the wire, and here.
    pub fn code(&self) -> &[u8] {
        self.text().split(|byte| b" \r\n".contains(byte)).next().unwrap_or(b"ERR")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(self.text()))
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fits_two_registers() {
        assert_eq!(size_of::<Error>(), 16);
    }

    #[test]
    fn the_code_is_the_first_word() {
        assert_eq!(Error::WrongType.code(), b"WRONGTYPE");
        assert_eq!(Error::new("NOGROUP No such key").code(), b"NOGROUP");
    }
}
