//! The page over the queues: its files, sessions, views and the stream of what changes. What a view
//! shows is dashboard/'s; here it is decided who may see it.

use super::Call;
use super::answer::{Content, Given, JSON, Refusal, wrong};
use super::io::BODY_SILENCE_MAX;
use super::streams::EventsBody;
use crate::dashboard::{Form, INDEX, Trouble, app, may_act, may_look};
use crate::engine::acl::user::User;
use crate::proto::{Args, JsonStyle, Outbox};
use crate::server::connection::Sending;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use serde_json::{Value as Json, json};
use std::rc::Rc;

/// What a browser is told to do with whatever lies below `/_toril/`, and with the page itself:
/// scripts and styles come from here alone, and nobody may put the page into a frame.
pub const GUARDS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; require-trusted-types-for 'script'; trusted-types toril; \
         script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const TORIL: HeaderName = HeaderName::from_static("x-toril");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Call {
    /// The page itself.
    pub(super) fn index(&self) -> Given {
        Given::new(StatusCode::OK, Bytes::from_static(INDEX.bytes))
            .with(header::CONTENT_TYPE, INDEX.media_type)
            .with(header::CACHE_CONTROL, "no-cache")
    }

    /// One of its files.
    pub(super) fn app_file(&self, request: &Request<Incoming>) -> Result<Given, Refusal> {
        let name = request.uri().path().trim_start_matches("/_toril/app/");
        let file = app::FILES.iter().find(|file| file.name == name).ok_or_else(super::absent)?;
        let tag = format!("\"{}\"", sha1_smol::Sha1::from(file.bytes).digest());
        let is_known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|it| *it == *tag);
        let mut given = if is_known {
            Given::new(StatusCode::NOT_MODIFIED, Bytes::new())
        } else {
            Given::new(StatusCode::OK, Bytes::from_static(file.bytes))
                .with(header::CONTENT_TYPE, file.media_type)
        };
        let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits");
        given.headers.insert(header::ETAG, tag);
        Ok(given.with(header::CACHE_CONTROL, "no-cache"))
    }

    /// Gives a session to a page that shows a token, or that comes from this machine while nothing
    /// is wanted of anybody.
    pub(super) async fn session(
        self: &Rc<Self>,
        request: Request<Incoming>,
    ) -> Result<Given, Refusal> {
        let (head, body) = request.into_parts();
        let body = self.read(body).await?;
        let shown = match body.is_empty() {
            true => None,
            false => {
                let body: Json = serde_json::from_slice(&body)
                    .map_err(|problem| wrong(format!("the body is no JSON: {problem}")))?;
                body["token"].as_str().map(str::to_owned)
            }
        };
        let now_us = self.server.now().mono_us;
        let mut board = self.server.board.borrow_mut();
        let engine = self.server.engine.borrow();
        let user = match &shown {
            None if self.is_own_page(&head.headers) => Some(engine.acl.default_user().clone()),
            None => None,
            Some(_) if !board.sessions.may_try(now_us) => {
                return Err(Refusal {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    text: "too many wrong tokens: try again in a second".into(),
                });
            }
            Some(token) => engine.user_of_token(token.as_bytes(), &self.server.made_token).cloned(),
        };
        let Some(user) = user else {
            if shown.is_some() {
                board.sessions.note_failure(now_us);
            }
            return Err(super::unauthorized());
        };
        if !may_look(&engine, &user) {
            return Err(forbidden("this user may not see every key: the page wants ~* and +@read"));
        }
        let rights = if may_act(&engine, &user) { "all" } else { "read" };
        let session = board.sessions.give(&engine, &user);
        let text = json!({
            "session": session, "user": String::from_utf8_lossy(&user.name), "rights": rights,
        });
        Ok(Given::new(StatusCode::OK, text.to_string().into()).with(header::CONTENT_TYPE, JSON))
    }

    /// Whether a request comes from the page as this machine's browser shows it, on a server that
    /// asks nobody for a password. Pages of other sites are told by what the browser says of them:
    /// a name that was bound to 127.0.0.1 anew is still another `Host`.
    fn is_own_page(&self, headers: &HeaderMap) -> bool {
        let engine = self.server.engine.borrow();
        let is_open = engine.config.http_token.is_none()
            && engine.acl.default_user().is_on
            && engine.acl.default_user().needs_no_password;
        let is_near = engine.clients.get(self.id).is_some_and(|client| client.peer.is_loopback);
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(host) = text(header::HOST) else { return false };
        is_open
            && is_near
            && is_loopback_host(host, self.port())
            && text(header::ORIGIN).is_some_and(|origin| origin == format!("http://{host}"))
            && text(FETCH_SITE) == Some("same-origin")
            && headers.contains_key(TORIL)
    }

    /// Whose session, or else whose token, a request shows.
    pub(super) fn admit_session(&self, shown: &[u8]) -> Result<(), Refusal> {
        let mut engine = self.server.engine.borrow_mut();
        let mut board = self.server.board.borrow_mut();
        let now_us = engine.keyspace.now.mono_us;
        let user = board.sessions.user(&engine, shown);
        let user = match user {
            Some(user) => Some(user),
            None if !board.sessions.may_try(now_us) => None,
            None => engine.user_of_token(shown, &self.server.made_token).cloned(),
        };
        let Some(user) = user else {
            board.sessions.note_failure(now_us);
            return Err(super::unauthorized());
        };
        engine.trust(self.id, &user);
        Ok(())
    }

    fn user(&self) -> Option<Rc<User>> {
        self.server.engine.borrow().clients.get(self.id).map(|client| client.user.clone())
    }

    /// A view.
    pub(super) fn view(self: &Rc<Self>, request: &Request<Incoming>) -> Result<Given, Refusal> {
        let path = address(request, "/_toril/view/");
        let accepts = request.headers().get(header::ACCEPT).map(HeaderValue::as_bytes);
        let form = if accepts == Some(JSON.as_bytes()) { Form::Json } else { Form::Html };
        let user = self.user().ok_or_else(super::unauthorized)?;
        let server = self.server.clone();
        let shown =
            server.turn(|engine, _| server.board.borrow_mut().view(engine, &user, &path, form));
        server.board_wanted.notify_one();
        server.search_wanted.notify_one();
        let text = shown.map_err(refusal)?;
        let media_type = match form {
            Form::Html => "text/html; charset=utf-8",
            Form::Json => JSON,
        };
        Ok(Given::new(StatusCode::OK, text.into())
            .with(header::CONTENT_TYPE, media_type)
            .with(header::CACHE_CONTROL, "no-store"))
    }

    /// Does something as the page's user: the answer says what was done.
    pub(super) async fn act(self: &Rc<Self>, request: Request<Incoming>) -> Result<Given, Refusal> {
        let path = address(&request, "/_toril/");
        self.exchange.expect(Some(BODY_SILENCE_MAX));
        let body = self.read(request.into_body()).await;
        self.exchange.expect(None);
        let body = body?;
        let user = self.user().ok_or_else(super::unauthorized)?;
        let server = self.server.clone();
        let order = server
            .turn(|engine, _| server.board.borrow_mut().order(engine, &user, &path, &body))
            .map_err(refusal)?;
        server.board_wanted.notify_one();
        let form = JsonStyle { base64: false, transaction: false };
        server.with_outbox(self.id, |outbox| *outbox = Outbox::json(form));
        let words: Vec<&[u8]> = order.words().iter().map(Vec::as_slice).collect();
        self.stand_in(order.db());
        self.run(|engine, now| engine.run(self.id, Args::new(&words), now)).await;
        self.stand_in(0);
        let output = server.take_output(self.id).await;
        let answer: Json = serde_json::from_slice(&output).unwrap_or_default();
        if let Some(error) = answer["error"].as_str() {
            return Err(wrong(error.into()));
        }
        let told = order.outcome(&server.engine.borrow(), &answer["result"]).to_string();
        Ok(Given::new(StatusCode::OK, told.into()).with(header::CONTENT_TYPE, JSON))
    }

    /// The database that the next command is about. Each request over HTTP begins in the first.
    fn stand_in(&self, db: usize) {
        if let Some(client) = self.server.engine.borrow_mut().clients.get_mut(self.id) {
            client.db = db;
        }
    }

    /// The stream of what changes in a view, which the query names.
    pub(super) fn open_view(
        self: &Rc<Self>,
        request: &Request<Incoming>,
    ) -> Result<Given, Refusal> {
        let query = request.uri().query().unwrap_or_default();
        let view = query.split('&').find_map(|it| it.strip_prefix("view="));
        let view = view.ok_or_else(|| wrong("say which view: ?view=overview".into()))?;
        let view = percent_encoding::percent_decode_str(view).decode_utf8_lossy().into_owned();
        let user = self.user().ok_or_else(super::unauthorized)?;
        let server = self.server.clone();
        let opened =
            server.turn(|engine, _| server.board.borrow_mut().open(engine, &user, self.id, &view));
        opened.map_err(refusal)?;
        server.board_wanted.notify_one();
        self.connection.sending.set(Sending::Streamed);
        let mut given = Given::new(StatusCode::OK, Bytes::new());
        given.content = Content::Events(EventsBody::new(self.clone()));
        Ok(given
            .with(header::CONTENT_TYPE, "text/event-stream")
            .with(header::CACHE_CONTROL, "no-store"))
    }
}

/// What stands behind a prefix of the path, and the query.
fn address(request: &Request<Incoming>, prefix: &str) -> String {
    let uri = request.uri();
    let path = uri.path().strip_prefix(prefix).unwrap_or_default();
    match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Whether a `Host` names this machine and our port.
fn is_loopback_host(host: &str, port: u16) -> bool {
    let Some((name, given)) = host.rsplit_once(':') else { return false };
    let is_v4 = || {
        let ip: Result<std::net::Ipv4Addr, _> = name.parse();
        ip.is_ok_and(|ip| ip.is_loopback())
    };
    given == port.to_string() && (name == "localhost" || name == "[::1]" || is_v4())
}

fn refusal(trouble: Trouble) -> Refusal {
    match trouble {
        Trouble::Absent(text) => Refusal { status: StatusCode::NOT_FOUND, text },
        Trouble::Forbidden(text) => Refusal { status: StatusCode::FORBIDDEN, text },
        Trouble::Wrong(text) => wrong(text),
        Trouble::TooMany(text) => Refusal { status: StatusCode::SERVICE_UNAVAILABLE, text },
    }
}

fn forbidden(text: &str) -> Refusal {
    Refusal { status: StatusCode::FORBIDDEN, text: text.into() }
}

/// Ticks while somebody looks at a page.
pub async fn keep_pages(server: Rc<crate::server::Server>) {
    loop {
        let next_us = server.board.borrow().next_tick_us();
        match next_us {
            None => server.board_wanted.notified().await,
            Some(us) => {
                tokio::time::sleep(std::time::Duration::from_micros(us)).await;
                server.turn(|engine, _| server.board.borrow_mut().tick(engine));
                server.search_wanted.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback_host;

    #[test]
    fn only_names_of_this_machine_with_our_port_are_own() {
        for host in ["127.0.0.1:8079", "127.9.9.9:8079", "localhost:8079", "[::1]:8079"] {
            assert!(is_loopback_host(host, 8079), "{host}");
        }
        let others = [
            "evil.example:8079",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost.evil.example:8079",
            "127.0.0.1.evil.example:8079",
            "[::2]:8079",
            "10.0.0.1:8079",
        ];
        for host in others {
            assert!(!is_loopback_host(host, 8079), "{host}");
        }
    }
}
