//! A precise timer: a timerfd, or where there is none what the standard library has.

pub use system::Timer;

#[cfg(target_os = "linux")]
mod system {
    use rustix::fd::OwnedFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::io;
    use std::time::Duration;

    pub struct Timer(OwnedFd);

    impl Timer {
        pub fn new() -> io::Result<Timer> {
            Ok(Timer(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?))
        }

        /// `span` is not zero: that would never end.
        pub fn sleep(&self, span: Duration) -> io::Result<()> {
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: span.try_into().map_err(io::Error::other)?,
            };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            rustix::io::read(&self.0, &mut [0; 8])?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::time::Duration;

    pub struct Timer;

    impl Timer {
        pub fn new() -> io::Result<Timer> {
            Ok(Timer)
        }

        pub fn sleep(&self, span: Duration) -> io::Result<()> {
            std::thread::sleep(span);
            Ok(())
        }
    }
}
