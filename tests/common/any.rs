//! One of the real servers, or toril: what plays a part in replication.

use super::peer::Peer;
use super::program::{Folder, Running};
use super::tcp::oracle;

/// It ends with the value.
pub struct AnyServer {
    pub name: &'static str,
    pub port: u16,
    real: Option<Peer>,
    toril: Option<Running>,
}

impl AnyServer {
    /// None if it is not installed.
    pub fn start(name: &'static str, folder: &Folder, options: &[&str]) -> Option<Self> {
        if name == "toril" {
            let own = ["--enable-debug-command", "yes", "--save", ""];
            let toril = Running::start(&[&own, options].concat());
            return Some(Self { name, port: toril.port, real: None, toril: Some(toril) });
        }
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let options = [&at_once, options].concat();
        let real = Peer::start_with(name, &oracle(name)?, &folder.0, &options);
        Some(Self { name, port: real.port(), real: Some(real), toril: None })
    }

    /// Ends it. What toril said last; the others say nothing here.
    pub fn stop(self) -> String {
        self.real.into_iter().for_each(Peer::end);
        self.toril.map(Running::stop).unwrap_or_default()
    }
}
