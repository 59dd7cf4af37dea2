//! The router of HTTP: it decides what a request is for before anything is read or run. Each route
//! names the methods it answers, what must be shown first, and whether pages of other origins may
//! ask.
//!
//! What toril says of itself will lie below `/_toril/`, a name that no command can have. Every
//! other path is Upstash's.

use super::Call;
use super::answer::{Answer, Given, Refusal, wrong};
use super::io::Phase;
use super::upstash::SYNC_TOKEN;
use crate::proto::rest;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
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
    /// That it is one of toril's own pages. Nobody can have a session yet, so whatever asks for one
    /// is not there.
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
    /// A page, of which there are none yet.
    Page,
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
    /// The path's first segment as it is written, undecoded, or the whole of it; None is any.
    first: Option<&'static str>,
    /// None listed: all.
    methods: &'static [Method],
    check: Check,
    serve: Serve,
    origins: Origins,
}

const OWN: Option<&str> = Some("_toril");
/// The whole path.
const EXPECT: Option<&str> = Some("_toril/expect");
const ALLOWED: &str = "GET, HEAD, POST, PUT, OPTIONS";

/// The first that fits is taken.
#[rustfmt::skip]
const ROUTES: &[Route] = &[
    row(OWN,  &[Method::OPTIONS],                        Check::None,    Serve::Forbidden,   Origins::Own),
    row(EXPECT, &[Method::POST],                         Check::Token,   Serve::Expect,      Origins::Own),
    row(OWN,  &[],                                       Check::Session, Serve::Page,        Origins::Own),
    row(None, &[Method::GET, Method::POST, Method::PUT], Check::Token,   Serve::Upstash,     Origins::All),
    row(None, &[Method::HEAD],                           Check::Token,   Serve::Head,        Origins::All),
    row(None, &[Method::OPTIONS],                        Check::None,    Serve::Preflight,   Origins::All),
    row(None, &[],                                       Check::None,    Serve::OtherMethod, Origins::All),
];

const fn row(
    first: Option<&'static str>,
    methods: &'static [Method],
    check: Check,
    serve: Serve,
    origins: Origins,
) -> Route {
    Route { first, methods, check, serve, origins }
}

impl Route {
    fn of(method: &Method, path: &str) -> &'static Self {
        let whole = path.strip_prefix('/');
        let first = whole.and_then(|path| path.split('/').next());
        let fits = |route: &&Self| {
            (route.first.is_none() || route.first == first || route.first == whole)
                && (route.methods.is_empty() || route.methods.contains(method))
        };
        ROUTES.iter().find(fits).expect("the last fits all")
    }
}

impl Call {
    /// Answers one request.
    pub(super) async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Answer> {
        self.exchange.phase.set(Phase::Answering);
        self.exchange.expect(None);
        let route = Route::of(request.method(), request.uri().path());
        let origin =
            request.headers().get(header::ORIGIN).filter(|_| route.origins == Origins::All);
        let origin = origin.cloned();
        let given = self.serve_route(route, request).await.unwrap_or_else(Given::refusal);
        let body = Answer { content: given.content, exchange: self.exchange.clone() };
        let mut response = Response::new(body);
        *response.status_mut() = given.status;
        *response.headers_mut() = given.headers;
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
            Serve::Page => Err(absent()),
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
            Check::Session => Err(absent()),
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

fn absent() -> Refusal {
    Refusal { status: StatusCode::NOT_FOUND, text: "ERR there is nothing at this path".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, path: &str, expect: (Check, Serve)) {
        let route = Route::of(method, path);
        assert_eq!((route.check, route.serve), expect, "{method} {path}");
        let is_own = matches!(expect.1, Serve::Expect | Serve::Page | Serve::Forbidden);
        assert_eq!(route.origins == Origins::Own, is_own, "{method} {path}");
    }

    #[test]
    fn the_first_segment_decides_and_then_the_method() {
        check(&Method::POST, "/_toril/expect", (Check::Token, Serve::Expect));
        check(&Method::GET, "/_toril/expect", (Check::Session, Serve::Page));
        check(&Method::POST, "/_toril/expect/", (Check::Session, Serve::Page));
        check(&Method::OPTIONS, "/_toril/expect", (Check::None, Serve::Forbidden));
        for path in ["/_toril", "/_toril/", "/_toril/session", "/_toril//x"] {
            check(&Method::GET, path, (Check::Session, Serve::Page));
            check(&Method::HEAD, path, (Check::Session, Serve::Page));
            check(&Method::DELETE, path, (Check::Session, Serve::Page));
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
