//! The link to the server that is followed: it is made, kept up, and made anew when it has ended.
//! What is said over it is persist/link.rs's.

use super::Server;
use crate::engine::following::LinkStage;
use crate::persist::{Link, LinkFault, LinkProgress};
use crate::remote::Tls;
use crate::remote::dial::{Wire, dial, within, write};
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// How often it is told how far we are.
const TICK: Duration = Duration::from_secs(1);

/// How long until the next link; where the same would happen again, twice as long each time.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// For the end of a script.
const PAUSE: Duration = Duration::from_millis(1);

/// Keeps a link up until it is aborted.
pub async fn follow(server: Rc<Server>) {
    let mut wait = WAIT;
    loop {
        let began = Instant::now();
        let Err(fault) = keep_link(&server).await;
        wait = match fault.is_lasting {
            true if began.elapsed() < WAIT_MAX => (wait * 2).min(WAIT_MAX),
            _ => WAIT,
        };
        let (host, port) = server.turn(|engine, _| {
            engine.note_link(LinkStage::Down);
            engine.replication.following().map(|it| (it.host.clone(), it.port)).unwrap_or_default()
        });
        tracing::warn!(
            "The link to {}:{port} has ended: {}. The next comes in {} s",
            host.escape_debug(),
            fault.text,
            wait.as_secs()
        );
        sleep(wait).await;
    }
}

/// What the system says, as the end of a link.
fn fault_of(problem: &io::Error) -> LinkFault {
    LinkFault::passing(super::files::text_of(problem))
}

/// What the system does within a span.
async fn in_time<T>(
    span: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, LinkFault> {
    within(span, work).await.map_err(|problem| fault_of(&problem))
}

/// Says what there is to say.
async fn say(link: &mut Link, stream: &mut Wire, span: Duration) -> Result<(), LinkFault> {
    let output = link.take_output();
    if output.is_empty() { Ok(()) } else { in_time(span, write(stream, &output)).await }
}

/// Makes a link and does what comes over it, until it ends.
async fn keep_link(server: &Rc<Server>) -> Result<Infallible, LinkFault> {
    let ((host, port), span, tls) = server.turn(|engine, _| {
        engine.note_link(LinkStage::Connecting);
        let place = engine.replication.following().map(|it| (it.host.clone(), it.port));
        let tls = &engine.config.tls;
        let tls = tls.replication.then(|| Tls::new(tls.clone()));
        (place.unwrap_or_default(), Duration::from_secs(engine.config.replica.timeout_s), tls)
    });
    let mut stream = in_time(span, dial(&host, port, tls.as_ref())).await?;
    let mut link = server.turn(|engine, _| {
        engine.note_link(LinkStage::Greets);
        Link::new(engine)
    });
    let mut block = vec![0; BLOCK_BYTES];
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        say(&mut link, &mut stream, span).await?;
        tokio::select! {
            count = stream.read(&mut block) => match count.map_err(|problem| fault_of(&problem))? {
                0 => return Err(LinkFault::passing("it has closed")),
                count => {
                    link.feed(&block[..count]);
                    server.turn(|engine, _| engine.hear_link());
                }
            },
            _ = ticks.tick() => server.turn(|engine, now| link.tick(engine, now))?,
        }
        loop {
            match server.turn(|engine, now| link.step(engine, now))? {
                LinkProgress::Hungry => break,
                LinkProgress::More => tokio::task::yield_now().await,
                LinkProgress::Waits => sleep(PAUSE).await,
            }
            // A long load is no silence.
            say(&mut link, &mut stream, span).await?;
        }
    }
}

impl Server {
    /// Follows whom the engine says, on a new link; or nobody.
    pub(super) fn renew_link(self: &Rc<Self>) {
        if let Some(task) = self.link.take() {
            task.abort();
        }
        let engine = self.engine.borrow();
        if engine.replication.is_following() && engine.persistence.loading().is_none() {
            self.link.set(Some(tokio::task::spawn_local(follow(self.clone()))));
        }
    }
}
