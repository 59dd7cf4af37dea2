//! The server: sockets, clock and signals around one engine.
//!
//! One thread, one task a connection, commands run inline. A turn of any task: read the clock, let
//! the engine fire what is due, feed it, then flush every outbox that has grown and see to what the
//! engine asks of the world. No borrow of the engine crosses an `.await`.

mod clock;
mod connection;
mod facts;
mod listen;
mod logging;
mod timer;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[allow(unsafe_code)]
mod timerfd;

use crate::command::table::table;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::client::{ClientId, State};
use crate::engine::effect::{Effect, Outcome};
use crate::engine::time::Now;
use clock::Clock;
use connection::{Connection, Connections};
use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::rc::Rc;
use tokio::sync::Notify;

/// What all tasks share.
pub struct Server {
    engine: RefCell<Engine>,
    clock: Clock,
    connections: Connections,
    /// Wakes the timer's task: a deadline earlier than the one it waits for has come up.
    timer: timer::Alarm,
    /// Set once the process is to end.
    stop: Notify,
    is_stopping: Cell<bool>,
}

/// Runs until a signal or SHUTDOWN. What was odd in the configuration is said first.
pub fn run(config: Config, warnings: &[String]) -> ExitCode {
    if let Err(problem) = logging::start(&config) {
        println!("{problem}");
        return ExitCode::FAILURE;
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(31)
        .build_local(Default::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(problem) => {
            println!("The event loop cannot be set up: {problem}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> ExitCode {
    let listeners = match listen::open(&config) {
        Ok(listeners) => listeners,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let clock = Clock::start();
    let connections = Connections::default();
    let facts = facts::ProcessFacts::new(listeners.tcp_port(), connections.clone());
    let engine = Engine::new(table(), config, Box::new(facts), clock.now());
    let server = Rc::new(Server {
        engine: RefCell::new(engine),
        clock,
        connections,
        timer: timer::Alarm::default(),
        stop: Notify::new(),
        is_stopping: Cell::new(false),
    });
    listeners.announce();
    let accepting = listeners.accept(&server);
    tokio::task::spawn_local(timer::run(server.clone()));
    tokio::task::spawn_local(stop_on_signals(server.clone()));
    server.stop.notified().await;
    accepting.stop();
    tracing::info!("bye");
    ExitCode::SUCCESS
}

/// SIGTERM and SIGINT end the process cleanly; a second one ends it at once. SIGHUP is ignored.
async fn stop_on_signals(server: Rc<Server>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        return;
    };
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hang_up.recv() => continue,
        };
        tracing::info!("received {name}, stopping");
        if server.is_stopping.replace(true) {
            std::process::exit(0);
        }
        server.stop.notify_one();
    }
}

impl Server {
    fn now(&self) -> Now {
        self.clock.now()
    }

    /// One turn: what is due fires, `work` runs, and what came of both goes out.
    fn turn<T>(self: &Rc<Self>, work: impl FnOnce(&mut Engine, Now) -> T) -> T {
        let result = {
            let mut engine = self.engine.borrow_mut();
            let now = self.now();
            engine.tick(now);
            work(&mut engine, now)
        };
        self.flush();
        result
    }

    /// Sends what outboxes hold, wakes whose next request can run, does what the engine asks.
    fn flush(self: &Rc<Self>) {
        loop {
            let (dirty, runnable, effects) = {
                let mut engine = self.engine.borrow_mut();
                (engine.take_dirty(), engine.take_runnable(), engine.take_effects())
            };
            for id in dirty {
                self.send(id);
            }
            for id in runnable {
                if let Some(connection) = self.connection(id) {
                    connection.wake.notify_one();
                }
            }
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.perform(effect);
            }
        }
        self.timer.look(&self.engine.borrow());
    }

    fn connection(&self, id: ClientId) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&id).cloned()
    }

    /// Writes as much of an outbox as the socket takes; the connection's task sends the rest.
    fn send(&self, id: ClientId) {
        let Some(connection) = self.connection(id) else { return };
        let mut engine = self.engine.borrow_mut();
        while let Some(outbox) = engine.outbox(id).filter(|outbox| !outbox.is_empty()) {
            match connection.stream.try_write(outbox.pending()) {
                Ok(count) => engine.sent(id, count),
                Err(problem) if problem.kind() == std::io::ErrorKind::WouldBlock => {
                    connection.wake.notify_one();
                    return;
                }
                Err(_) => {
                    connection.is_broken.set(true);
                    connection.wake.notify_one();
                    return;
                }
            }
        }
        if engine.state(id) == State::Closing {
            connection.wake.notify_one();
        }
    }

    fn perform(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Sleep { client, micros } => {
                // The whole server stands still: that is what DEBUG SLEEP is for.
                std::thread::sleep(std::time::Duration::from_micros(micros));
                self.engine.borrow_mut().answer(client, Outcome::Done, self.now());
            }
            Effect::Shutdown { .. } => {
                self.is_stopping.set(true);
                self.stop.notify_one();
            }
            Effect::Close { client } => {
                if let Some(connection) = self.connection(client) {
                    connection.is_broken.set(true);
                    connection.wake.notify_one();
                }
            }
            Effect::Reconfigure { client } => {
                self.engine.borrow_mut().answer(client, Outcome::Done, self.now());
            }
        }
    }
}
