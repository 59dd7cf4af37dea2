//! The router of HTTP: it decides what a request is for before anything is read or run. Each route
//! names the methods it answers, what must be shown first, and whether pages of other origins may
//! ask.
//!
//! What toril says of itself lies below `/_toril/`, a name that no command can have, and a browser
//! that opens `/` is given the page over the queues. Every other path is Upstash's.

use super::Call;
use super::answer::{Answer, Given, Refusal, wrong};
use super::io::Phase;
use super::pages::GUARDS;
use super::upstash::SYNC_TOKEN;
use crate::proto::rest;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use std::borrow::Cow;
use std::rc::Rc;

/// What a caller must show before a route does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Nothing.
    None,
    /// A token of Upstash's API.
    Token,
    /// A session of the page over the queues, or a token in its place.
    Session,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serve {
    /// Upstash's API: commands and streams.
    Upstash,
    /// Leave to ask, for a browser.
    Preflight,
    /// That the token is good; nothing is run.
    Head,
    OtherMethod,
    /// Whether a test's expectation is met: TORIL EXPECT.
    Expect,
    /// The page over the queues, which browsers are given.
    Index,
    /// The page's own files.
    App,
    /// What a page asks for before it is shown anything.
    Session,
    /// A button of the page.
    Act,
    /// A view of the page.
    View,
    /// What changes in a view, as it changes.
    ViewEvents,
    Absent,
    Forbidden,
}

/// Whose pages may ask and read the answer, in a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origins {
    /// Those of any origin: they have to bring a token.
    All,
    /// toril's own. A session comes from where the browser is, and must not be lent to others.
    Own,
}

struct Route {
    /// How the path begins behind its slash, as it is written, undecoded; None is any.
    first: Option<&'static str>,
    /// None listed: all.
    methods: &'static [Method],
    check: Check,
    serve: Serve,
    origins: Origins,
}

const OWN: Option<&str> = Some("_toril");
const ALLOWED: &str = "GET, HEAD, POST, PUT, OPTIONS";

/// The first that fits is taken.
#[rustfmt::skip]
const ROUTES: &[Route] = &[
    row(OWN,                     &[Method::OPTIONS],                        Check::None,    Serve::Forbidden,   Origins::Own),
    row(Some("_toril/app"),      &[Method::GET],                            Check::None,    Serve::App,         Origins::Own),
    row(Some("_toril/clients"),  &[Method::POST],                           Check::Session, Serve::Act,         Origins::Own),
    row(Some("_toril/events"),   &[Method::GET],                            Check::Session, Serve::ViewEvents,  Origins::Own),
    row(Some("_toril/expect"),   &[Method::POST],                           Check::Token,   Serve::Expect,      Origins::Own),
    row(Some("_toril/keys"),     &[Method::POST],                           Check::Session, Serve::Act,         Origins::Own),
    row(Some("_toril/queues"),   &[Method::POST],                           Check::Session, Serve::Act,         Origins::Own),
    row(Some("_toril/session"),  &[Method::POST],                           Check::None,    Serve::Session,     Origins::Own),
    row(Some("_toril/view"),     &[Method::GET],                            Check::Session, Serve::View,        Origins::Own),
    row(OWN,                     &[],                                       Check::Session, Serve::Absent,      Origins::Own),
    row(None,                    &[Method::GET, Method::POST, Method::PUT], Check::Token,   Serve::Upstash,     Origins::All),
    row(None,                    &[Method::HEAD],                           Check::Token,   Serve::Head,        Origins::All),
    row(None,                    &[Method::OPTIONS],                        Check::None,    Serve::Preflight,   Origins::All),
    row(None,                    &[],                                       Check::None,    Serve::OtherMethod, Origins::All),
];

/// What a browser opens: none of Upstash's clients asks for it.
const INDEX: Route = row(Some(""), &[Method::GET], Check::None, Serve::Index, Origins::Own);

const fn row(
    first: Option<&'static str>,
    methods: &'static [Method],
    check: Check,
    serve: Serve,
    origins: Origins,
) -> Route {
    Route { first, methods, check, serve, origins }
}

impl Serve {
    fn is_of_page(self) -> bool {
        matches!(self, Serve::Act | Serve::App | Serve::Session | Serve::View | Serve::ViewEvents)
    }
}

impl Route {
    /// The first that fits; without the page, none of its own.
    fn of(method: &Method, path: &str, has_page: bool) -> &'static Self {
        let path = path.strip_prefix('/').unwrap_or("*");
        let begins = |first: &str| {
            path.strip_prefix(first).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let fits = |route: &&Self| {
            (has_page || !route.serve.is_of_page())
                && route.first.is_none_or(begins)
                && (route.methods.is_empty() || route.methods.contains(method))
        };
        ROUTES.iter().find(fits).expect("the last fits all")
    }

    /// The route of a request: a browser that opens `/` wants the page, if there is one.
    fn of_request(request: &Request<Incoming>, has_page: bool) -> &'static Self {
        let headers = request.headers();
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let is_browser = accepts.is_some_and(|it| it.contains("text/html"))
            && !headers.contains_key(header::AUTHORIZATION)
            && rest::token(request.uri().query()).is_none();
        let is_root = request.method() == Method::GET && request.uri().path() == "/";
        if has_page && is_root && is_browser {
            return &INDEX;
        }
        Self::of(request.method(), request.uri().path(), has_page)
    }
}

impl Call {
    /// Answers one request.
    pub(super) async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Answer> {
        self.exchange.phase.set(Phase::Answering);
        self.exchange.expect(None);
        let has_page = self.server.engine.borrow().config.http_dashboard;
        let route = Route::of_request(&request, has_page);
        let origin =
            request.headers().get(header::ORIGIN).filter(|_| route.origins == Origins::All);
        let origin = origin.cloned();
        let given = self.serve_route(route, request).await.unwrap_or_else(Given::refusal);
        let body = Answer { content: given.content, exchange: self.exchange.clone() };
        let mut response = Response::new(body);
        *response.status_mut() = given.status;
        *response.headers_mut() = given.headers;
        if route.origins == Origins::Own {
            for (name, value) in GUARDS {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
        }
        // A browser says whose page asks, and then wants to hear that the page may.
        if let Some(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, SYNC_TOKEN.into());
            headers.insert(header::VARY, header::ORIGIN.into());
        }
        response
    }

    async fn serve_route(
        self: &Rc<Self>,
        route: &Route,
        request: Request<Incoming>,
    ) -> Result<Given, Refusal> {
        check_host(&request)?;
        self.admit(route.check, &request)?;
        match route.serve {
            Serve::Upstash => self.upstash(request).await,
            Serve::Expect => self.expect(request).await,
            Serve::Preflight => Ok(preflight(request.headers())),
            Serve::Head => Ok(Given::new(StatusCode::OK, Bytes::new())),
            Serve::OtherMethod => {
                let given = Given::new(StatusCode::METHOD_NOT_ALLOWED, Bytes::new());
                Ok(given.with(header::ALLOW, ALLOWED))
            }
            Serve::Index => Ok(self.index()),
            Serve::App => self.app_file(&request),
            Serve::Session => self.session(request).await,
            Serve::Act => self.act(request).await,
            Serve::View => self.view(&request),
            Serve::ViewEvents => self.open_view(&request),
            Serve::Absent => Err(absent()),
            Serve::Forbidden => Ok(Given::new(StatusCode::FORBIDDEN, Bytes::new())),
        }
    }

    /// Whether the caller has shown what a route wants; then the client is the user of that.
    fn admit(&self, check: Check, request: &Request<Incoming>) -> Result<(), Refusal> {
        match check {
            Check::None => Ok(()),
            Check::Token => {
                let token = token(request.headers(), request.uri().query());
                let mut engine = self.server.engine.borrow_mut();
                let token = token.ok_or_else(unauthorized)?;
                let is_good = engine.log_in_by_token(self.id, &token, &self.server.made_token);
                if is_good { Ok(()) } else { Err(unauthorized()) }
            }
            Check::Session => {
                let shown = token(request.headers(), None).ok_or_else(unauthorized)?;
                self.admit_session(&shown)
            }
        }
    }
}

/// The token that a request shows, in its query or as a header.
fn token<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<Cow<'a, [u8]>> {
    let in_header = || {
        let value = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, token) = value.split_at(value.len().min("Bearer ".len()));
        Some(Cow::from(if scheme.eq_ignore_ascii_case(b"bearer ") { token } else { value }))
    };
    rest::token(query).or_else(in_header)
}

/// HTTP/1.1 asks for one `Host`, HTTP/1.0 does not. Of two, a server on the way may have believed
/// either.
pub fn check_host(request: &Request<Incoming>) -> Result<(), Refusal> {
    match request.headers().get_all(header::HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => Err(wrong("ERR no Host header".into())),
        0 | 1 => Ok(()),
        _ => Err(wrong("ERR more than one Host header".into())),
    }
}

/// What a browser hears when it asks whether a page may ask.
fn preflight(asked: &HeaderMap) -> Given {
    let mut given = Given::new(StatusCode::OK, Bytes::new())
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED)
        .with(header::ACCESS_CONTROL_MAX_AGE, "86400");
    // A star would not cover `authorization`. Without the token nothing can be done anyway.
    if let Some(asked) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        given.headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    given
}

pub fn unauthorized() -> Refusal {
    let text = "WRONGPASS invalid or missing auth token. toril prints its token when it starts, \
                unless http-token or requirepass gives it";
    Refusal { status: StatusCode::UNAUTHORIZED, text: text.into() }
}

pub fn absent() -> Refusal {
    Refusal { status: StatusCode::NOT_FOUND, text: "ERR there is nothing at this path".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, path: &str, expect: (Check, Serve)) {
        let route = Route::of(method, path, true);
        assert_eq!((route.check, route.serve), expect, "{method} {path}");
        let is_all = matches!(
            expect.1,
            Serve::Upstash | Serve::Head | Serve::Preflight | Serve::OtherMethod
        );
        assert_eq!(route.origins == Origins::All, is_all, "{method} {path}");
    }

    #[test]
    fn the_path_decides_and_then_the_method() {
        check(&Method::POST, "/_toril/expect", (Check::Token, Serve::Expect));
        check(&Method::GET, "/_toril/expect", (Check::Session, Serve::Absent));
        check(&Method::OPTIONS, "/_toril/expect", (Check::None, Serve::Forbidden));
        check(&Method::POST, "/_toril/session", (Check::None, Serve::Session));
        check(&Method::POST, "/_toril/queues/x/retry", (Check::Session, Serve::Act));
        check(&Method::POST, "/_toril/keys/delete", (Check::Session, Serve::Act));
        check(&Method::POST, "/_toril/clients/kill", (Check::Session, Serve::Act));
        check(&Method::GET, "/_toril/queues/x/retry", (Check::Session, Serve::Absent));
        check(&Method::GET, "/_toril/app/app.css", (Check::None, Serve::App));
        check(&Method::GET, "/_toril/view/overview", (Check::Session, Serve::View));
        check(&Method::GET, "/_toril/events", (Check::Session, Serve::ViewEvents));
        for path in ["/_toril", "/_toril/", "/_toril/sessions", "/_toril//x"] {
            check(&Method::GET, path, (Check::Session, Serve::Absent));
            check(&Method::HEAD, path, (Check::Session, Serve::Absent));
            check(&Method::DELETE, path, (Check::Session, Serve::Absent));
            check(&Method::OPTIONS, path, (Check::None, Serve::Forbidden));
        }
        // Not written so: the name of a command that does not exist.
        for path in
            ["/", "", "*", "//_toril/x", "/_torilx", "/_TORIL/x", "/%5Ftoril/x", "/get/_toril"]
        {
            check(&Method::GET, path, (Check::Token, Serve::Upstash));
            check(&Method::PUT, path, (Check::Token, Serve::Upstash));
            check(&Method::HEAD, path, (Check::Token, Serve::Head));
            check(&Method::OPTIONS, path, (Check::None, Serve::Preflight));
            check(&Method::DELETE, path, (Check::None, Serve::OtherMethod));
        }
    }
}
