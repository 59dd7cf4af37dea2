//! Connections that are carried over to the server that this one has handed over to: what either
//! side says goes to the other as it is, until one of them ends it.

use super::Server;
use super::connection::{Connection, Reader, SocketWriter};
use crate::config::ServerUrl;
use crate::engine::client::{Peer, ReplyMode};
use crate::engine::effect::Outcome;
use crate::engine::handing_over::Carried;
use crate::proto::{Protocol, request};
use crate::remote::dial::{Wire, write};
use crate::remote::{Place, Talk, Tls};
use bytes::BytesMut;
use std::io;
use std::rc::Rc;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional, split,
};

impl Server {
    /// Carries a new connection over, if that is asked for; else it is given back.
    pub(super) fn forward<S>(self: &Rc<Self>, stream: S, peer: &Peer) -> Option<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        if !self.engine.borrow().replication.has_handed_over() {
            return Some(stream);
        }
        let now = self.now();
        let Some(to) = self.engine.borrow().forwards_to(peer, now) else { return Some(stream) };
        tokio::task::spawn_local(carry(self.clone(), stream, to));
        None
    }

    /// Whether a server that is to be handed over to can be reached from here, by the settings that
    /// are in force now.
    pub(super) async fn try_to_reach(&self, to: ServerUrl) -> Outcome {
        let settings = self.engine.borrow().config.tls.clone();
        let place = Place::new(to, &Rc::new(Tls::new(settings)));
        let reached = async {
            // What it answers is no matter: clients may have to log in themselves.
            Talk::open(&place).await?.ask_anything(&["PING"]).await
        };
        match reached.await {
            Ok(_) => Outcome::Done,
            Err(problem) => Outcome::Failed(format!("ERR {problem}")),
        }
    }

    /// Connects to the server that was handed over to, and logs in there.
    async fn reach(&self, to: ServerUrl) -> Result<Wire, String> {
        let tls = self.forwarding_tls.get_or_init(|| {
            let settings = self.engine.borrow().config.tls.clone();
            Rc::new(Tls::new(settings))
        });
        let talk = Talk::open(&Place::new(to, tls)).await?;
        Ok(talk.into_parts().0)
    }
}

async fn carry(server: Rc<Server>, mut stream: impl AsyncRead + AsyncWrite + Unpin, to: ServerUrl) {
    match server.reach(to).await {
        // How it ends, both sides know.
        Ok(mut there) => _ = copy_bidirectional(&mut stream, &mut there).await,
        // The client comes again.
        Err(problem) => not_carried(&problem),
    }
}

fn not_carried(problem: &str) {
    tracing::warn!("A connection cannot be carried over: {}", problem.escape_debug());
}

/// Bytes of the answers to a greeting. More than that is none.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;

/// Goes on with a connection that has ended here, with what its client said and nobody has heard.
pub fn carry_on(
    server: Rc<Server>,
    carried: Carried,
    connection: Rc<Connection>,
    reader: Reader,
    input: BytesMut,
) {
    // Nobody else writes to it any more.
    let Ok(Connection { writer, .. }) = Rc::try_unwrap(connection) else { return };
    tokio::task::spawn_local(async move {
        let there = match server.reach(carried.to.clone()).await {
            Ok(there) => there,
            Err(problem) => return not_carried(&problem),
        };
        let carried = match writer {
            SocketWriter::Tcp(writer) => carry_parts(carried, there, writer, reader, &input).await,
            SocketWriter::Unix(writer) => carry_parts(carried, there, writer, reader, &input).await,
        };
        carried.unwrap_or_else(|problem| not_carried(&problem.to_string()));
    });
}

/// What makes the other server know the client. The answers, up to the mark, are nobody's.
fn greeting(carried: &Carried) -> Vec<u8> {
    let Carried { name, db, protocol, mark, .. } = carried;
    let mut bytes = Vec::new();
    let mut say = |words: &[&[u8]]| request::write(words, &mut bytes);
    if *protocol == Protocol::Resp3 {
        say(&[b"HELLO", b"3"]);
    }
    if !name.is_empty() {
        say(&[b"CLIENT", b"SETNAME", name]);
    }
    if *db != 0 {
        say(&[b"SELECT", db.to_string().as_bytes()]);
    }
    say(&[b"ECHO", mark.as_bytes()]);
    bytes
}

/// What has the other server answer no more than this one would; it is not answered itself.
fn silence(mode: ReplyMode) -> Vec<u8> {
    let word: &[u8] = match mode {
        ReplyMode::On => return Vec::new(),
        ReplyMode::Off => b"OFF",
        ReplyMode::SkipNext | ReplyMode::SkipThis => b"SKIP",
    };
    let mut bytes = Vec::new();
    request::write(&[b"CLIENT", b"REPLY", word], &mut bytes);
    bytes
}

async fn carry_parts(
    carried: Carried,
    there: Wire,
    mut writer: impl AsyncWrite + Unpin,
    mut reader: Reader,
    input: &[u8],
) -> io::Result<()> {
    let greeting = greeting(&carried);
    let Carried { mark, request, reply_mode, .. } = carried;
    let (mut answers, mut requests) = split(there);
    write(&mut requests, &greeting).await?;
    let mut heard = Vec::new();
    let end = format!("{mark}\r\n");
    let rest = loop {
        if let Some(at) = memchr::memmem::find(&heard, end.as_bytes()) {
            break heard.split_off(at + end.len());
        }
        if heard.len() > ANSWERS_BYTES_MAX || answers.read_buf(&mut heard).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    writer.write_all(&rest).await?;
    requests.write_all(&silence(reply_mode)).await?;
    requests.write_all(&request).await?;
    write(&mut requests, input).await?;
    // Either end is the end of both; how it came, both sides know.
    tokio::select! {
        _ = copy(&mut reader, &mut requests) => {}
        _ = copy(&mut answers, &mut writer) => {}
    }
    Ok(())
}
