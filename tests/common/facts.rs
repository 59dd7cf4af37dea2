//! What an engine in a test, a bench or a fuzz target is told of the world.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use toril::engine::client::ClientId;
use toril::engine::facts::{CpuTimes, Facts, Memory};

/// The same answers always, but for what a test changes.
#[derive(Clone, Debug)]
pub struct FixedFacts {
    pub seed: u64,
    /// Bytes of the machine's memory.
    pub total_memory: u64,
    /// Clients that have left without the engine's knowledge.
    pub hung_up: Rc<RefCell<HashSet<ClientId>>>,
    /// What the stopwatch shows, and how much more at each look.
    pub stopwatch_us: Rc<Cell<u64>>,
    pub look_us: u64,
}

impl Default for FixedFacts {
    fn default() -> Self {
        Self {
            seed: 0,
            total_memory: 8 << 30,
            hung_up: Rc::default(),
            stopwatch_us: Rc::default(),
            look_us: 0,
        }
    }
}

impl Facts for FixedFacts {
    fn allocated_bytes(&self) -> u64 {
        1 << 20
    }
    fn memory(&self) -> Memory {
        Memory { resident: 4 << 20, total: self.total_memory }
    }
    fn cpu(&self) -> CpuTimes {
        CpuTimes::default()
    }
    fn entropy(&self) -> u64 {
        self.seed
    }
    fn has_hung_up(&self, client: ClientId) -> bool {
        self.hung_up.borrow().contains(&client)
    }
    fn stopwatch_us(&self) -> u64 {
        self.stopwatch_us.update(|shown| shown + self.look_us);
        self.stopwatch_us.get()
    }
    fn process_id(&self) -> u32 {
        1
    }
    fn executable(&self) -> String {
        "/toril".into()
    }
    fn config_file(&self) -> String {
        String::new()
    }
    fn clock_file(&self) -> Option<String> {
        Some("/clock".into())
    }
    fn os(&self) -> String {
        "Linux".into()
    }
    fn tcp_port(&self) -> u16 {
        6379
    }
    fn http_port(&self) -> Option<u16> {
        None
    }
    fn directory(&self, from: &str, name: &str) -> Result<String, String> {
        let path = std::path::Path::new(from).join(name);
        Ok(path.to_string_lossy().into_owned())
    }
    fn files_max(&self) -> u64 {
        1 << 20
    }
}
