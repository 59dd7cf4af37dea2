//! The server: sockets, clock and signals around one engine.
//!
//! One thread, one task per connection, commands run inline. A turn of any task: read the clock,
//! let the engine fire what is due, feed it, then flush every outbox that has grown and see to what
//! the engine asks of the world. No borrow of the engine crosses an `.await`.

mod announce;
mod appending;
mod clock;
mod connection;
mod daemon;
mod disk;
mod facts;
mod files;
mod following;
mod forwarding;
mod http;
mod idle;
mod importing;
mod inside;
mod listen;
mod logging;
mod outbound;
#[allow(unsafe_code)]
mod parent;
mod replicas;
mod signals;
pub mod sources;
mod timer;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[allow(unsafe_code)]
mod timerfd;

use crate::command::table::table;
use crate::config::{Config, Protected, Secret};
use crate::dashboard::Board;
use crate::engine::Engine;
use crate::engine::client::{ClientId, State};
use crate::engine::effect::{Effect, Outcome};
use crate::engine::facts::Facts;
use crate::engine::time::Now;
use crate::remote::Tls;
use crate::testing;
use crate::util::alloc;
use clock::Clock;
use connection::{Connection, Connections, Sending};
pub use inside::{Inside, serve_inside};
pub use signals::TERMINATED;
use std::cell::{Cell, OnceCell, RefCell};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer waits that comes in the middle of a script, until it is looked at again.
const ANSWER_RETRY: Duration = Duration::from_millis(1);

/// What all tasks share.
pub struct Server {
    engine: RefCell<Engine>,
    listeners: RefCell<listen::Listeners>,
    clock: Clock,
    /// Where input is read to; taken while it is used.
    scratch: Cell<Vec<u8>>,
    connections: Connections,
    /// Connections over HTTP that are over, but are still read for a moment.
    lingering: Cell<usize>,
    /// Whether a signal saves what there is, as SHUTDOWN has done by then.
    saves_at_end: Cell<bool>,
    /// Writes the append-only file, if there is one.
    appender: OnceCell<appending::Appender>,
    /// Keeps the link to the server that is followed, if one is.
    link: Cell<Option<tokio::task::JoinHandle<()>>>,
    /// By which connections are carried over to a server that wants TLS.
    forwarding_tls: OnceCell<Rc<Tls>>,
    /// Spans under way in which nobody can connect.
    absences: Cell<usize>,
    /// None in a process that is another program's, which logs as it likes.
    log: Option<logging::Log>,
    /// The page over the queues, and what wakes its task when somebody has begun to look.
    board: RefCell<Board>,
    board_wanted: tokio::sync::Notify,
    /// Wakes who searches for open pages.
    search_wanted: tokio::sync::Notify,
    /// Opens HTTP where neither http-token nor requirepass is given.
    made_token: Secret,
    /// Wakes the timer's task: a deadline earlier than the one it waits for has come up.
    timer: timer::Alarm,
    idle: idle::Idle,
    stop: Arc<signals::Stop>,
}

/// Runs until a signal or SHUTDOWN. What was odd in the configuration is logged once it is ready:
/// before that, tools take many words for a sign of a failed start.
/// `config_file` is where CONFIG REWRITE writes to; empty if there is none.
pub fn run(config: Config, config_file: &str, warnings: &[String]) -> ExitCode {
    if config.daemonize && config.exit_with_parent != 0 {
        say("exit-with-parent and daemonize contradict each other");
        return ExitCode::FAILURE;
    }
    if config.daemonize && !daemon::is_inside() {
        return daemon::start();
    }
    match start(config, config_file, warnings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&problem);
            ExitCode::FAILURE
        }
    }
}

/// Tells whoever started the process. Nobody may be listening, which is no reason to panic.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn start(mut config: Config, config_file: &str, warnings: &[String]) -> Result<(), String> {
    if config.daemonize {
        daemon::leave_session();
    }
    alloc::give_back_when_asked();
    prepare(&mut config)?;
    // A huge page counts as a whole although a tenth of it may be used. As in Redis, where the
    // system has no say in it the server runs on.
    #[cfg(target_os = "linux")]
    if config.disable_thp {
        let _ = rustix::thread::disable_transparent_huge_pages(true);
    }
    let log = logging::start(&config)?;
    let mut warnings = warnings.to_vec();
    warnings.extend(files::raise(&mut config));
    let stop = Arc::new(signals::Stop::default());
    signals::watch(stop.clone(), config.exit_with_parent)
        .map_err(|problem| format!("Signals: {problem}"))?;
    let serve = serve(config, config_file, Some(log), warnings, stop, announce::tell);
    event_loop()?.block_on(serve)
}

/// Says what is wrong with settings that are good each for itself.
fn prepare(config: &mut Config) -> Result<(), String> {
    let writers = config.http_token.as_ref().or(config.requirepass.as_ref());
    if config.http_readonly_token.is_some() && config.http_readonly_token.as_ref() == writers {
        return Err("http-readonly-token is also the token that may write: choose two".into());
    }
    // What is to be kept is kept, also at the first start.
    if config.files.appendonly {
        let _ = std::fs::create_dir_all(&config.dir);
    }
    config.dir = files::directory(Path::new(""), &config.dir)
        .map_err(|problem| format!("The directory {}: {problem}", config.dir))?;
    Ok(())
}

fn event_loop() -> Result<tokio::runtime::LocalRuntime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(31)
        .build_local(Default::default())
        .map_err(|problem| format!("The event loop cannot be set up: {problem}"))
}

/// Serves until `stop` is wanted. Clients can connect when `ready` is called. Nothing here touches
/// the process: it is another program's if there is no log.
async fn serve(
    config: Config,
    config_file: &str,
    log: Option<logging::Log>,
    mut warnings: Vec<String>,
    stop: Arc<signals::Stop>,
    ready: impl FnOnce(&listen::Listeners, &Engine, &Secret),
) -> Result<(), String> {
    let listeners = listen::open(&config)?;
    let pid_file = config.pidfile.as_deref().map(|name| PidFile::write(config.place(name)));
    if let Some(Err(problem)) = &pid_file {
        warnings.push(problem.clone());
    }
    let clock =
        Clock::start(config.clock).map_err(|problem| format!("The clock file: {problem}"))?;
    let connections = Connections::default();
    let facts = facts::ProcessFacts::new(listeners.ports(), connections.clone(), config_file)
        .of_guest(log.is_none())
        .with_clock_file(clock.file_path());
    crate::util::hash::seed_collections(facts.entropy());
    let made_token = Server::make_token(|| facts.entropy());
    let mut engine = Engine::new(table(), config, Box::new(facts), clock.now());
    load_users(&mut engine)?;
    offer_fixture(&mut engine);
    let is_daemon = engine.config.daemonize;
    let server = Rc::new(Server {
        listeners: RefCell::new(listeners),
        engine: RefCell::new(engine),
        clock,
        scratch: Cell::new(vec![0; connection::SCRATCH_BYTES]),
        connections,
        lingering: Cell::new(0),
        saves_at_end: Cell::new(true),
        appender: OnceCell::new(),
        link: Cell::new(None),
        forwarding_tls: OnceCell::new(),
        absences: Cell::new(0),
        log,
        board: RefCell::default(),
        board_wanted: tokio::sync::Notify::new(),
        search_wanted: tokio::sync::Notify::new(),
        made_token,
        timer: timer::Alarm::default(),
        idle: idle::Idle::default(),
        stop,
    });
    server.stop.be_patient(disk::keeps(&server.engine.borrow().config));
    let begin = begin(&server);
    server.listeners.borrow_mut().accept(&server);
    tokio::task::spawn_local(timer::run(server.clone()));
    tokio::task::spawn_local(idle::run(server.clone()));
    tokio::task::spawn_local(http::keep_pages(server.clone()));
    tokio::task::spawn_local(idle::search(server.clone()));
    tokio::select! {
        begun = begin => begun?,
        () = server.stop.wanted() => return Ok(()),
    }
    ready(&server.listeners.borrow(), &server.engine.borrow(), &server.made_token);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if is_daemon {
        daemon::let_go();
    }
    end(&server).await;
    drop(pid_file);
    tracing::warn!("toril is now ready to exit, bye bye...");
    Ok(())
}

/// Waits until the server is to end, and keeps what is to be kept.
async fn end(server: &Server) {
    loop {
        server.stop.wanted().await;
        if disk::save_at_end(server).await {
            break;
        }
        server.stop.go_on();
    }
    server.end_appending();
    disk::remove_unfinished(&server.engine.borrow());
    server.listeners.borrow_mut().stop();
}

/// Reads what there was before, if there is a file of it, and goes on writing where that is wanted.
async fn begin(server: &Rc<Server>) -> Result<(), String> {
    let config = server.engine.borrow().config.clone();
    let folder = match config.files.appendonly {
        true => Some(appending::AofFolder::find(&config)?),
        false => None,
    };
    let appended = folder.as_ref().filter(|it| !it.is_new());
    check_beginnings(&config, appended.is_some())?;
    match (appended, &config.files.import) {
        (Some(folder), _) => appending::load(server, folder).await?,
        (None, Some(url)) => {
            importing::import(server, url).await.map_err(|reason| format!("import: {reason}"))?;
        }
        // An append-only file begins with what a snapshot has, rather than with nothing.
        _ => {
            if let Some(path) = disk::to_load(&config)? {
                disk::load(server, &path).await?;
            }
        }
    }
    folder.map_or(Ok(()), |folder| appending::begin(server, folder))?;
    server.renew_link();
    Ok(())
}

/// Says which settings of what to begin with do not go together.
fn check_beginnings(config: &Config, has_appended: bool) -> Result<(), String> {
    let files = &config.files;
    let loads = !matches!(&files.load[..], "" | "no");
    let is_imported = files.import.is_some();
    let appended = config.place(&files.appenddirname);
    let wrong = match (has_appended, loads, is_imported) {
        (true, true, _) => format!("load {}", files.load),
        (true, _, true) => "import".into(),
        (false, true, true) => return Err("load and import: there can be but one".into()),
        (.., true) if config.replica.primary().is_some() => {
            return Err("import and replicaof: what is imported would be replaced".into());
        }
        (.., false) if !files.import_match.is_empty() => {
            return Err(
                "match: it says which keys of --import are wanted, and there is none".into()
            );
        }
        _ => return Ok(()),
    };
    Err(format!(
        "{wrong}: the append-only file holds data already. Start without it, or move {} away",
        appended.display()
    ))
}

/// What tests ask for, where they may, or strict mode looks for.
fn offer_fixture(engine: &mut Engine) {
    let is_for_tests = engine.config.enable_toril_command != Protected::No;
    if is_for_tests || engine.config.is_strict() {
        engine.offer_fixture(testing::make);
    }
}

/// The users of the redis.conf, or of their own file.
fn load_users(engine: &mut Engine) -> Result<(), String> {
    engine.load_configured_users()?;
    let Some(name) = engine.config.aclfile.clone() else { return Ok(()) };
    let abort = |why: &str| format!("Aborting Redis startup because of ACL errors: {why}");
    let text = std::fs::read(engine.config.place(&name)).map_err(|problem| {
        let reason = files::text_of(&problem);
        abort(&format!("Error loading ACLs, opening file '{name}': {reason}"))
    })?;
    let loaded = engine.load_users(&name, &text, None);
    loaded.map_err(|errors| abort(&String::from_utf8_lossy(&errors)))
}

/// Tells other programs the process id, as long as the process lives.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> Result<Self, String> {
        match std::fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Ok(Self(path)),
            Err(problem) => Err(format!("Failed to write PID file {}: {problem}", path.display())),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Server {
    fn now(&self) -> Now {
        self.clock.now()
    }

    /// One turn: what is due fires, `work` runs, and what came of both goes out.
    fn turn<T>(self: &Rc<Self>, work: impl FnOnce(&mut Engine, Now) -> T) -> T {
        let now = self.now();
        let result = {
            let mut engine = self.engine.borrow_mut();
            engine.tick(now);
            work(&mut engine, now)
        };
        self.flush();
        let stats = &mut self.engine.borrow_mut().stats;
        stats.turns += 1;
        stats.turns_us += clock::mono_us().saturating_sub(now.mono_us);
        result
    }

    /// Sends what outboxes hold, wakes whose next request can run, does what the engine asks.
    fn flush(self: &Rc<Self>) {
        loop {
            let mut engine = self.engine.borrow_mut();
            let appender = self.appender.get();
            self.carry_journal(&mut engine);
            while let Some(id) = engine.next_dirty() {
                if let Some(appender) = appender {
                    appender.hold(&mut engine, id);
                }
                self.send(&mut engine, id);
            }
            let (runnable, effects) = (engine.take_runnable(), engine.take_effects());
            drop(engine);
            for id in runnable {
                if let Some(connection) = self.connection(id) {
                    connection.wake.call();
                }
            }
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.perform(effect);
            }
        }
        let engine = self.engine.borrow();
        self.timer.look(&engine);
        self.idle.turned(&engine);
    }

    /// Hands on what the journal has: to the append-only file, and to replicas.
    fn carry_journal(&self, engine: &mut Engine) {
        if !engine.has_stream() {
            return;
        }
        if let Some(appender) = self.appender.get() {
            appender.take(engine);
        }
        engine.stream();
        engine.keyspace.aftermath.journal.forget_whole_units();
    }

    fn connection(&self, id: ClientId) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&id).cloned()
    }

    /// Writes as much of an outbox as the socket takes; the connection's task sends the rest.
    fn send(&self, engine: &mut Engine, id: ClientId) {
        let Some(connection) = self.connection(id) else { return };
        if connection.sending.get() != Sending::Directly {
            if connection.sending.get() == Sending::Streamed {
                connection.wake.call();
            }
            return;
        }
        while let Some(outbox) = engine.outbox(id).filter(|outbox| outbox.has_ready()) {
            match connection.writer.try_send(outbox) {
                Ok(count) => engine.sent(id, count),
                Err(problem) if problem.kind() == std::io::ErrorKind::WouldBlock => {
                    connection.wake.call();
                    return;
                }
                Err(_) => {
                    connection.end();
                    return;
                }
            }
        }
        if engine.state(id) == State::Closing {
            connection.wake.call();
        }
    }

    /// Answers a client when this has an outcome. Others are served meanwhile.
    fn answer_later(
        self: &Rc<Self>,
        client: ClientId,
        outcome: impl Future<Output = Outcome> + 'static,
    ) {
        let server = self.clone();
        tokio::task::spawn_local(async move {
            let outcome = outcome.await;
            // Not between the slices of a script or the commands of a transaction.
            while !server.engine.borrow().takes_answer(client) {
                tokio::time::sleep(ANSWER_RETRY).await;
            }
            server.answer(client, outcome);
            server.flush();
        });
    }

    fn perform(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Sleep { client, micros } => {
                // The whole server stands still: that is what DEBUG SLEEP is for.
                std::thread::sleep(Duration::from_micros(micros));
                self.answer(client, Outcome::Done);
            }
            Effect::Listen { client, bind, port, refusal } => {
                let changed = self.listeners.borrow_mut().change(self, &bind, port);
                self.answer(
                    client,
                    changed.map_or_else(
                        |problem| {
                            tracing::warn!("{}", problem.lines().next().unwrap_or_default());
                            Outcome::Failed(refusal)
                        },
                        |()| Outcome::Done,
                    ),
                );
            }
            Effect::RewriteConfig { client } => {
                let outcome = files::rewrite_config(&self.engine.borrow());
                self.answer(client, outcome);
            }
            Effect::Converse(conversation) => {
                let client = conversation.client;
                self.answer_later(client, async move { outbound::converse(&conversation).await });
            }
            Effect::Reach { client, to } => {
                let server = self.clone();
                self.answer_later(client, async move { server.try_to_reach(to).await });
            }
            Effect::ReadFile { client, path, refusal } => {
                self.answer(client, files::read(&path, refusal));
            }
            Effect::WriteFile { client, path, bytes, refusal } => {
                self.answer(client, files::write(&path, &bytes, refusal));
            }
            effect @ (Effect::Shutdown { .. }
            | Effect::Save { .. }
            | Effect::SaveAside { .. }
            | Effect::Rewrite
            | Effect::Synchronise
            | Effect::Reload { .. }) => self.perform_on_files(effect),
            Effect::Follow => self.renew_link(),
            Effect::Close { client } => self.connection(client).iter().for_each(|it| it.end()),
            Effect::Reset { client } => self.connection(client).iter().for_each(|it| it.reset()),
            Effect::StandStill { micros } => std::thread::sleep(Duration::from_micros(micros)),
            Effect::Absent { micros } => self.clone().be_absent(Duration::from_micros(micros)),
            Effect::MoveClock(to) => {
                let moved = self.clock.shift(to);
                let now = self.now();
                self.engine.borrow_mut().clock_moved(moved, now);
            }
            Effect::Reconfigure => {
                self.stop.be_patient(disk::keeps(&self.engine.borrow().config));
                let Some(log) = &self.log else { return };
                let mut engine = self.engine.borrow_mut();
                log.set_level(engine.config.loglevel);
                // What the system allows was asked before the setting was changed.
                files::raise(&mut engine.config);
            }
        }
    }

    /// What is done with the files that outlive the process, and with its end.
    fn perform_on_files(self: &Rc<Self>, effect: Effect) {
        let failed = |text: &str| Outcome::Failed(text.to_owned());
        match effect {
            Effect::Shutdown { client, saves, is_forced } => {
                tracing::warn!("User requested shutdown...");
                if saves && disk::save(self).is_err() && !is_forced {
                    tracing::warn!("Error trying to save the DB, can't exit.");
                    let outcome = failed("ERR Errors trying to SHUTDOWN. Check logs.");
                    client.into_iter().for_each(|client| self.answer(client, outcome.clone()));
                    return;
                }
                self.saves_at_end.set(false);
                self.stop.want();
            }
            Effect::Save { client } => {
                let saved = disk::save(self);
                self.answer(client, saved.map_or_else(|_| failed("ERR"), |()| Outcome::Done));
            }
            Effect::SaveAside { begun } => {
                tokio::task::spawn_local(disk::save_aside(self.clone(), begun));
            }
            Effect::Rewrite => {
                tokio::task::spawn_local(appending::rewrite(self.clone()));
            }
            Effect::Synchronise => {
                tokio::task::spawn_local(replicas::synchronise(self.clone()));
            }
            Effect::Reload { client, how } => {
                let outcome = match disk::reload(self, how) {
                    Ok(()) => Outcome::Done,
                    Err(problem) => {
                        tracing::warn!("DEBUG RELOAD: {problem}");
                        failed("ERR Error trying to load the RDB dump, check server logs.")
                    }
                };
                self.answer(client, outcome);
            }
            _ => unreachable!("the other effects touch no such file"),
        }
    }

    /// Listens nowhere for so long. Absences that overlap end with the last.
    fn be_absent(self: Rc<Self>, span: Duration) {
        self.listeners.borrow_mut().leave();
        self.absences.set(self.absences.get() + 1);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(span).await;
            self.absences.set(self.absences.get() - 1);
            if self.absences.get() == 0 {
                self.listeners.borrow_mut().come_back(&self);
            }
        });
    }

    /// Lets the client of an effect go on; in an EXEC that may be a script, which takes its time.
    fn answer(self: &Rc<Self>, client: ClientId, outcome: Outcome) {
        self.engine.borrow_mut().answer(client, outcome, self.now());
        if self.engine.borrow().state(client) == State::Running {
            tokio::task::spawn_local(self.clone().run_script(client));
        }
    }
}
