//! The facts of a real server: what the engine may know of the process, the machine and its peers.

use super::connection::Connections;
use super::listen::Ports;
use crate::engine::client::ClientId;
use crate::engine::facts::{CpuTimes, Facts, Memory};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

pub struct ProcessFacts {
    ports: Rc<Cell<Ports>>,
    connections: Connections,
    config_file: String,
    clock_file: Option<String>,
    is_guest: bool,
}

impl ProcessFacts {
    pub fn new(ports: Rc<Cell<Ports>>, connections: Connections, config_file: &str) -> Self {
        let config_file = config_file.to_owned();
        Self { ports, connections, config_file, clock_file: None, is_guest: false }
    }

    /// In a process that is another program's.
    pub fn of_guest(self, is_guest: bool) -> Self {
        Self { is_guest, ..self }
    }

    /// With a file through which clients follow the clock.
    pub fn with_clock_file(self, clock_file: Option<String>) -> Self {
        Self { clock_file, ..self }
    }
}

/// The flags by which the kernel tells that the peer has sent its last byte.
#[cfg(target_os = "linux")]
const HUNG_UP: PollFlags = PollFlags::RDHUP.union(PollFlags::HUP).union(PollFlags::ERR);
#[cfg(not(target_os = "linux"))]
const HUNG_UP: PollFlags = PollFlags::HUP.union(PollFlags::ERR);

impl Facts for ProcessFacts {
    fn allocated_bytes(&self) -> u64 {
        // Other servers of the process may count as well.
        if self.is_guest { 0 } else { crate::util::alloc::allocated_bytes() as u64 }
    }

    fn is_guest(&self) -> bool {
        self.is_guest
    }

    fn memory(&self) -> Memory {
        Memory { resident: resident_bytes(), total: total_bytes() }
    }

    fn cpu(&self) -> CpuTimes {
        let (user_us, system_us) = cpu_times("/proc/self/stat");
        let (thread_user_us, thread_system_us) = cpu_times("/proc/thread-self/stat");
        CpuTimes { user_us, system_us, thread_user_us, thread_system_us }
    }

    fn entropy(&self) -> u64 {
        getrandom::u64().expect("a kernel without random numbers is none that we know")
    }

    fn has_hung_up(&self, client: ClientId) -> bool {
        let connections = self.connections.borrow();
        let Some(connection) = connections.get(&client) else { return true };
        let fd = connection.writer.fd();
        let mut asked = [PollFd::from_borrowed_fd(fd, HUNG_UP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut asked, Some(&at_once)) {
            Ok(_) => asked[0].revents().intersects(HUNG_UP),
            Err(_) => false,
        }
    }

    fn stopwatch_us(&self) -> u64 {
        super::clock::mono_us()
    }

    fn process_id(&self) -> u32 {
        std::process::id()
    }

    fn executable(&self) -> String {
        let path = std::env::current_exe().unwrap_or_default();
        path.to_string_lossy().into_owned()
    }

    fn config_file(&self) -> String {
        self.config_file.clone()
    }

    fn clock_file(&self) -> Option<String> {
        self.clock_file.clone()
    }

    fn os(&self) -> String {
        let names = rustix::system::uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        format!("{} {} {}", text(names.sysname()), text(names.release()), text(names.machine()))
    }

    fn tcp_port(&self) -> u16 {
        self.ports.get().tcp
    }

    fn http_port(&self) -> Option<u16> {
        self.ports.get().http
    }

    fn directory(&self, from: &str, name: &str) -> Result<String, String> {
        super::files::directory(Path::new(from), name)
            .map_err(|problem| super::files::text_of(&problem))
    }

    fn has_tls_file(&self, setting: &str, file: &str) -> bool {
        let checked = crate::remote::dial::check_tls_file(setting, file);
        checked.inspect_err(|problem| tracing::warn!("{problem}")).is_ok()
    }

    fn files_max(&self) -> u64 {
        super::files::max()
    }
}

/// The 14th and 15th field of such a file, in ticks of a hundredth of a second; 0 where there is
/// none.
fn cpu_times(path: &str) -> (u64, u64) {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let field = |at: usize| {
        let text = behind_name.split_whitespace().nth(at);
        text.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default() * 10_000
    };
    (field(11), field(12))
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}

#[cfg(target_os = "linux")]
fn total_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit)
}

/// Without a way to ask, what the allocator handed out is the best figure there is.
#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> u64 {
    crate::util::alloc::allocated_bytes() as u64
}

#[cfg(not(target_os = "linux"))]
fn total_bytes() -> u64 {
    0
}
