//! One Lua machine: its state, and what belongs to it beside.
//!
//! Lua knows the `Vm` by its address: it hands it to the allocation function, and every C function
//! finds it from its state. So a `Vm` never moves, and nobody has it exclusively while its state
//! lives: `Machine` owns it by a pointer, gives out shared references only, and closes the state
//! before it frees the rest. All that changes in a `Vm` stands in cells.

use super::api::api;
use super::collector::Collector;
use super::commands::Loan;
use super::fiber::{self, Suspender};
use super::heap::{self, Heap};
use super::library::LibraryFunction;
use super::push::Frame;
use super::random::Random;
use super::sandbox;
use super::sandbox::functions::LibraryGlobals;
use super::stack::Stack;
use crate::proto::Protocol;
use crate::util::number::NumberText;
use mlua::ffi::{self, lua_State};
use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::rc::Rc;

/// The VM's inside, as the C functions find it.
pub(super) struct Vm {
    state: Cell<*mut lua_State>,
    pub heap: Heap,
    pub collector: Collector,
    /// The engine, while a script runs.
    pub commands: Loan,
    /// What suspends the script that runs.
    pub suspender: Cell<Option<NonNull<Suspender>>>,
    /// Not for a fuzzer that compares: see `layout`.
    #[cfg(fuzzing)]
    pub is_direct: Cell<bool>,
    pub is_killed: Cell<bool>,
    /// Interruptions since the kill.
    pub kills: Cell<u32>,
    /// The protocol of `redis.call`'s replies and of the script's answer.
    pub protocol: Cell<Protocol>,
    pub random: Random,
    /// Where the error that ended the script was raised: source and line.
    pub failed_at: Cell<Option<(String, c_int)>>,
    /// A panic of ours on its way out of the script.
    pub panic: Cell<Option<Box<dyn Any + Send>>>,
    /// The registry's key of the true table of globals.
    pub globals: OnceCell<c_int>,
    /// The registry's key of what scripts see as it.
    pub guard: OnceCell<c_int>,
    /// What libraries see as them, once there was a library.
    pub library_globals: OnceCell<LibraryGlobals>,
    /// The functions that the library which is being loaded has registered.
    pub registered: Cell<Option<Vec<Rc<LibraryFunction>>>>,
    /// What tables point to that hold nothing beside their array.
    pub no_nodes: Cell<*const c_void>,
    /// Values in the string that is being built.
    pub encoded: Cell<usize>,
    /// Buffers, each taken while used.
    pub scratch: Cell<Vec<u8>>,
    pub words: Cell<Vec<&'static [u8]>>,
    pub digits: Cell<Vec<NumberText>>,
    pub frames: Cell<Vec<Frame>>,
}

impl Vm {
    /// The main state, whose stack holds one script and its result.
    pub fn main(&self) -> Stack<'_> {
        // SAFETY: `Machine` has made the state for this VM, and closes it when nobody has either.
        unsafe { Stack::new(self.state.get()) }
    }

    /// Lets `run` use the engine.
    ///
    /// # Panics
    ///
    /// If no script runs, or `run` calls this again.
    pub fn commands<R>(&self, run: impl FnOnce(&mut dyn super::Commands) -> R) -> R {
        self.commands.with(run)
    }

    /// Remembers a panic and kills the script, whose frames it must not cross.
    pub fn die_of(&self, lua: Stack<'_>, payload: Box<dyn Any + Send>) {
        self.panic.set(Some(payload));
        self.is_killed.set(true);
        fiber::interrupt(lua);
        fiber::interrupt(self.main());
    }
}

/// Owns a VM.
pub(super) struct Machine(NonNull<Vm>);

impl Machine {
    /// A machine with nothing but the globals. Its heap is bounded to `memory_bytes_max`.
    pub fn new(memory_bytes_max: usize) -> Self {
        let vm = Box::new(Vm {
            state: Cell::new(ptr::null_mut()),
            heap: Heap::new(memory_bytes_max),
            collector: Collector::new(),
            commands: Loan::none(),
            suspender: Cell::new(None),
            #[cfg(fuzzing)]
            is_direct: Cell::new(true),
            is_killed: Cell::new(false),
            kills: Cell::new(0),
            protocol: Cell::new(Protocol::Resp2),
            random: Random::new(),
            failed_at: Cell::new(None),
            panic: Cell::new(None),
            globals: OnceCell::new(),
            guard: OnceCell::new(),
            library_globals: OnceCell::new(),
            registered: Cell::new(None),
            no_nodes: Cell::new(ptr::null()),
            encoded: Cell::new(0),
            scratch: Cell::default(),
            words: Cell::default(),
            digits: Cell::default(),
            frames: Cell::default(),
        });
        let machine = Self(NonNull::from(Box::leak(vm)));
        // SAFETY: `allocate` gets the address of a `Vm` that is freed after the state (`drop`).
        let state = unsafe { ffi::lua_newstate(heap::allocate, machine.0.as_ptr().cast()) };
        assert!(!state.is_null(), "the heap refuses nothing yet");
        machine.state.set(state);
        sandbox::install(machine.main());
        fiber::watch(machine.main());
        machine.pace();
        machine
    }

    /// The VM's address, for who keeps it beside the machine.
    pub fn vm(&self) -> NonNull<Vm> {
        self.0
    }
}

impl Deref for Machine {
    type Target = Vm;

    fn deref(&self) -> &Vm {
        // SAFETY: it was leaked for this machine, and is freed with it.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.state.get().is_null() {
            self.heap.enter();
            api!(machine::lua_close(self.main()));
        }
        // SAFETY: `new` leaked the box, and nobody knows the VM any more: its state is closed.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
