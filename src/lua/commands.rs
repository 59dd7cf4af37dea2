//! What scripts reach of the engine, and how it is lent to them.
//!
//! A script calls commands through C functions, which get nothing but a Lua state. So whoever runs
//! a slice of a script first puts the engine where they find it, the `Loan` of the VM, and takes it
//! away at the end of the slice, also when that ends in a panic. Nothing of the engine stays
//! borrowed while the script is suspended.

use crate::config::LogLevel;
use crate::proto::{Args, Reply, Result};
use std::cell::Cell;
use std::ptr::NonNull;

/// What scripts reach: the engine, in the name of the client whose script runs.
pub trait Commands {
    /// Runs a command.
    ///
    /// # Errors
    ///
    /// The command's refusal, with Redis's text for scripts, code first. Then nothing was written
    /// to `reply` that counts.
    fn call(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result;
    /// Whether the client may run a command, or None if there is no such command.
    fn acl_check(&mut self, args: Args<'_>) -> Option<bool>;
    /// Writes a message to the server's log.
    fn log(&mut self, level: LogLevel, message: &[u8]);
    /// Lower levels are not logged, so nothing is built for them.
    fn log_level(&self) -> LogLevel;
    /// `os.clock`: seconds of a clock that goes on from slice to slice.
    fn clock_s(&self) -> f64;
    /// Which of append-only file and replicas get the writes from here on.
    fn set_replication(&mut self, to_file: bool, to_replicas: bool);
}

/// The place where C functions find the engine.
pub(super) struct Loan(Cell<Option<NonNull<dyn Commands>>>);

impl Loan {
    pub const fn none() -> Self {
        Self(Cell::new(None))
    }

    /// Lends `commands` while `run` runs. The place is empty afterwards, whichever way that ends.
    pub fn during<R>(&self, commands: &mut dyn Commands, run: impl FnOnce() -> R) -> R {
        let commands: NonNull<dyn Commands + '_> = NonNull::from(commands);
        // SAFETY: only the lifetime changes. `commands` stays borrowed until this function returns
        // or unwinds, and before that `_end` empties the place.
        let commands: NonNull<dyn Commands + 'static> = unsafe { std::mem::transmute(commands) };
        self.0.set(Some(commands));
        let _end = SetOnDrop { place: &self.0, value: None };
        run()
    }

    /// Lets `run` use what is lent.
    ///
    /// # Panics
    ///
    /// If nothing is lent, or `run` calls this again: what is lent is used by one at a time.
    pub fn with<R>(&self, run: impl FnOnce(&mut dyn Commands) -> R) -> R {
        let mut commands = self.0.take().expect("a script calls from start or resume");
        let _back = SetOnDrop { place: &self.0, value: Some(commands) };
        // SAFETY: `during` put it there and has not returned, since it empties the place then. It
        // was taken, so nobody else has a reference to it before `_back` puts it back.
        run(unsafe { commands.as_mut() })
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let commands = self.0.take();
        self.0.set(commands);
        commands.is_none()
    }
}

/// Writes the place at the end of a scope, reached or unwound.
struct SetOnDrop<'a> {
    place: &'a Cell<Option<NonNull<dyn Commands>>>,
    value: Option<NonNull<dyn Commands>>,
}

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.place.set(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_loan_ends_with_its_scope() {
        let loan = Loan::none();
        loan.during(&mut Fake::default(), || {
            assert!(!loan.is_empty());
            loan.with(|commands| {
                assert_eq!(commands.clock_s(), 7.5);
                assert!(loan.is_empty(), "two could use it at once");
            });
            assert!(!loan.is_empty());
        });
        assert!(loan.is_empty());
    }

    #[test]
    fn a_loan_ends_with_a_panic() {
        let loan = Loan::none();
        let result = catch_unwind(AssertUnwindSafe(|| {
            loan.during(&mut Fake::default(), || panic!("while it is lent"))
        }));
        assert!(result.is_err() && loan.is_empty());
    }

    #[test]
    fn a_loan_goes_on_after_a_command_has_panicked() {
        let loan = Loan::none();
        loan.during(&mut Fake::default(), || {
            let result = catch_unwind(AssertUnwindSafe(|| {
                loan.with(|_| panic!("while it is used"));
            }));
            assert!(result.is_err() && !loan.is_empty());
        });
        assert!(loan.is_empty());
    }
}
