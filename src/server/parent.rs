//! `exit-with-parent`: the server ends when the process that started it does, however that ends.
//!
//! Linux and macOS make a file descriptor of a process, which can be read once the process has
//! ended. Nothing else does what is wanted: a signal at the parent's death (prctl) comes when the
//! thread ends that started us, and a pipe stays open while a forked sibling holds its other end.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, getppid, test_kill_process};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Where the system has no such descriptor, we look that often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The process whose end is awaited.
pub struct Parent {
    pid: Pid,
    watch: Watch,
}

enum Watch {
    HasEnded,
    Descriptor(AsyncFd<OwnedFd>),
    /// We are its child, until it ends and another process takes us over.
    Child,
    /// It is anybody: a process of its number is looked for.
    Number,
}

impl Parent {
    /// By its number, of which 0 names none. Called within a runtime of tokio.
    pub fn new(number: u32) -> Option<Self> {
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw)?;
        let watch = match descriptor(pid) {
            Ok(descriptor) => Watch::Descriptor(descriptor),
            Err(Errno::SRCH) => Watch::HasEnded,
            // The system does not know how, or a sandbox forbids it.
            Err(_) if getppid() == Some(pid) => Watch::Child,
            Err(_) => Watch::Number,
        };
        Some(Self { pid, watch })
    }

    /// Returns once it has ended, and says so.
    pub async fn ended(&self) -> String {
        let is_there = || match &self.watch {
            Watch::Child => getppid() == Some(self.pid),
            // Somebody else's process may not be signalled, but is there.
            Watch::Number => test_kill_process(self.pid) != Err(Errno::SRCH),
            Watch::HasEnded | Watch::Descriptor(_) => false,
        };
        if let Watch::Descriptor(descriptor) = &self.watch {
            // Fails only with the runtime.
            let _ = descriptor.readable().await;
        }
        while is_there() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        format!("toril stops: process {}, which started it, has ended", self.pid)
    }
}

/// What can be read once the process has ended; `SRCH` if it has already.
fn descriptor(pid: Pid) -> Result<AsyncFd<OwnedFd>, Errno> {
    let descriptor = open(pid)?;
    // SAFETY: an `OwnedFd` keeps one open descriptor until it is dropped, and nobody else closes or
    // replaces it.
    unsafe { AsyncFd::register(descriptor) }.map_err(|_| Errno::NOSYS)
}

#[cfg(target_os = "linux")]
fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK)
}

#[cfg(target_os = "macos")]
fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
    let queue = kqueue()?;
    let exit = EventFilter::Proc { pid, flags: ProcessEvents::EXIT };
    let event = Event::new(exit, EventFlags::ADD, std::ptr::null_mut());
    let mut none: [Event; 0] = [];
    // SAFETY: the event names a process, no descriptor that could be closed.
    unsafe { kevent(&queue, &[event], &mut none, None) }?;
    Ok(queue)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn open(_: Pid) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Whether the end of `pid` is seen within a few looks.
    fn is_seen(pid: Pid, watch: impl FnOnce() -> Watch) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("there are files left").block_on(async {
            let parent = Parent { pid, watch: watch() };
            tokio::time::timeout(LOOK_EVERY * 3, parent.ended()).await.is_ok()
        })
    }

    /// However the system lets us watch it.
    #[test]
    fn who_lives_is_waited_for_and_who_has_ended_is_not() {
        let mut child = Command::new("sleep").arg("100").spawn().expect("there is a shell");
        let (pid, own) = (Pid::from_child(&child), getppid().expect("we have a parent"));
        let watched = |pid| move || Watch::Descriptor(descriptor(pid).expect("it can be watched"));
        assert!(!is_seen(pid, || Watch::Number));
        assert!(!is_seen(own, || Watch::Child));
        if cfg!(any(target_os = "linux", target_os = "macos")) {
            assert!(!is_seen(pid, watched(pid)));
            assert!(!is_seen(own, watched(own)));
        }
        child.kill().expect("it runs");
        if cfg!(any(target_os = "linux", target_os = "macos")) {
            assert!(is_seen(pid, watched(pid)), "nobody has asked for its status yet");
        }
        child.wait().expect("it ends");
        assert!(is_seen(pid, || Watch::Number));
        assert!(is_seen(pid, || Watch::Child));
        assert!(matches!(descriptor(pid), Err(Errno::SRCH)));
        assert!(is_seen(pid, || Watch::HasEnded));
    }
}
