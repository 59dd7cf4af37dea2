//! Facts: what the engine may know of the world without doing anything in it. Tests give answers of
//! their own (tests/common/facts.rs).

use super::client::ClientId;

/// CPU time in microseconds: of the process, and of the thread that the engine runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTimes {
    pub user_us: u64,
    pub system_us: u64,
    pub thread_user_us: u64,
    pub thread_system_us: u64,
}

/// Memory of the process and the machine, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub resident: u64,
    pub total: u64,
}

pub trait Facts {
    /// Bytes that are allocated: cheap enough to be asked before each command.
    fn allocated_bytes(&self) -> u64;
    fn memory(&self) -> Memory;
    fn cpu(&self) -> CpuTimes;
    /// Random bytes of the system.
    fn entropy(&self) -> u64;
    /// Whether the peer's FIN or RST has reached this machine: it will not read an answer.
    fn has_hung_up(&self, client: ClientId) -> bool;
    /// Microseconds that only measure (turn budget, SLOWLOG, commandstats), never decide.
    fn stopwatch_us(&self) -> u64;
    /// Whether the process is another program's, in which nobody counts what the engine allocates.
    fn is_guest(&self) -> bool {
        false
    }
    fn process_id(&self) -> u32;
    /// The absolute path of the executable, and of the configuration file if there is one.
    fn executable(&self) -> String;
    fn config_file(&self) -> String;
    /// The file through which clients follow the clock, if tests may move it.
    fn clock_file(&self) -> Option<String>;
    /// What the C library calls this machine: `Linux 6.1.0 x86_64`.
    fn os(&self) -> String;
    /// The TCP port that is listened on, which `port 0` leaves to the system.
    fn tcp_port(&self) -> u16;
    /// The port of HTTP, if that is served.
    fn http_port(&self) -> Option<u16>;
    /// The directory that a name means, seen from another one; or in the system's words why there
    /// is none.
    fn directory(&self, from: &str, name: &str) -> Result<String, String>;
    /// Whether a file, or a folder, has what this setting of TLS wants there.
    fn has_tls_file(&self, _setting: &str, _file: &str) -> bool {
        true
    }
    /// How many files the process may have open at most, if it asks for it.
    fn files_max(&self) -> u64;
}
