//! The command line of `toril hand-over`.

use crate::config::{Secret, ServerUrl, TlsSettings};
use crate::remote::{Place, Response, Talk, Tls};
use crate::util::span;
use std::env;
use std::rc::Rc;
use std::time::Duration;

/// What `toril hand-over --help` prints.
pub const USAGE: &str = "\
Usage: toril hand-over [options] redis://[user:password@]host[:port]

Moves all that a running toril holds to another server, a Redis, a Valkey or a cluster, while its
clients work. When that server has all, writes are paused for some milliseconds, both sides are
counted, and from then on the old server answers writes with READONLY and the place to go to.
Until then nothing changes for its clients; whatever fails, or if this program is ended, they go on.

  --from URL        the server to move (redis://127.0.0.1:6379)
  --dry-run         only tells what there is, and what cannot move
  --copy            copies and counts; the old server goes on taking writes
  --replace         empties the new server before
  --forward SPAN    the old server carries open connections to the new one, and for so long, such
                    as 10m, new ones, where that is no cluster; TLS by its own tls- settings
  --pause-max SPAN  gives up when writes have been paused for so long (5s)
  --tls-ca-cert-file FILE, --tls-ca-cert-dir FOLDER, --tls-client-cert-file FILE,
  --tls-client-key-file FILE
                    for rediss://, as the settings of the same names
  --verify          compares DEBUG DIGEST as well, while writes are paused

Passwords may stand in REDISCLI_AUTH (of the old server) and TORIL_TARGET_AUTH (of the new one)
rather than in URLs. The status is 0 if all has moved, 1 if not, and 2 if the command makes no
sense.";

/// What is to be done.
pub struct MovePlan {
    pub from: Place,
    pub to: Place,
    pub is_dry: bool,
    pub is_copy: bool,
    pub replaces: bool,
    pub verifies: bool,
    pub forward: Option<Duration>,
    pub pause_max: Duration,
}

impl MovePlan {
    /// Reads the arguments behind `hand-over`. None if help is asked for.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(args: &[String]) -> Result<Option<Self>, String> {
        let (mut from, mut to) = (None, None);
        let (mut is_dry, mut is_copy, mut replaces, mut verifies) = (false, false, false, false);
        let (mut forward, mut pause_max) = (None, Duration::from_secs(5));
        let mut tls = TlsSettings::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            let mut span = || {
                let text = value()?;
                let ms = span::parse_ms(text).filter(|ms| *ms > 0);
                ms.map(Duration::from_millis)
                    .ok_or(format!("{arg} {text} is no span: 250ms, 5s, 10m"))
            };
            match arg.as_str() {
                "-h" | "--help" => return Ok(None),
                "--dry-run" => is_dry = true,
                "--copy" => is_copy = true,
                "--replace" => replaces = true,
                "--verify" => verifies = true,
                "--forward" => forward = Some(span()?),
                "--pause-max" => pause_max = span()?,
                "--from" => from = Some(value()?.as_str()),
                "--tls-ca-cert-file" => tls.ca_cert_file = value()?.clone(),
                "--tls-ca-cert-dir" => tls.ca_cert_dir = value()?.clone(),
                "--tls-client-cert-file" => tls.client_cert_file = value()?.clone(),
                "--tls-client-key-file" => tls.client_key_file = value()?.clone(),
                _ if arg.starts_with('-') => return Err(format!("there is no {arg}\n\n{USAGE}")),
                _ if to.is_some() => return Err("one server takes over, not several".into()),
                url => to = Some(url),
            }
        }
        let to = to.ok_or_else(|| format!("it is not said where to\n\n{USAGE}"))?;
        let (tls, password) = (Rc::new(Tls::new(tls)), |name| env::var(name).ok());
        let to = place(to, password("TORIL_TARGET_AUTH"), &tls)?;
        let from = from.unwrap_or("redis://127.0.0.1:6379");
        let from = place(from, password("REDISCLI_AUTH"), &tls)?;
        if from.is(&to) {
            return Err(format!("{to} would hand over to itself"));
        }
        if pause_max > Duration::from_secs(60) {
            return Err("--pause-max may be 60s at most: clients give up by then".into());
        }
        if is_copy && forward.is_some() {
            return Err("--copy leaves clients where they are, so that nothing is forwarded".into());
        }
        Ok(Some(Self { from, to, is_dry, is_copy, replaces, verifies, forward, pause_max }))
    }

    /// How the old server is told whom it is to carry connections to: place, TLS and login.
    pub fn forwards_to(&self) -> Vec<&[u8]> {
        let is_tls = self.to.is_tls.then_some(&b"TLS"[..]);
        is_tls.into_iter().chain(self.to.named_login().into_iter().flatten()).collect()
    }

    /// Why the old server cannot carry connections to the new one; None if it can.
    ///
    /// # Errors
    /// What happened to the connection to the old server.
    pub async fn unreachable_for(&self, source: &mut Talk) -> Result<Option<String>, String> {
        let port = self.to.port.to_string();
        let place = ["TORIL", "HANDOVER", "REACH", &self.to.host, &port].map(str::as_bytes);
        let answer = source.ask_anything(&[&place[..], &self.forwards_to()].concat()).await?;
        Ok(match answer {
            Response::Error(why) => Some(format!(
                "--forward: {} does not reach the target: {}",
                self.from,
                why.strip_prefix("ERR ").unwrap_or(&why)
            )),
            _ => None,
        })
    }
}

/// A server by its URL, with a password that it is given where the URL has none.
///
/// # Errors
/// What is wrong with the URL.
fn place(url: &str, password: Option<String>, tls: &Rc<Tls>) -> Result<Place, String> {
    let mut url = ServerUrl::parse(url)?;
    if url.db.is_some() {
        return Err(format!("{url}: all databases move, so that none is to be named"));
    }
    url.password = url.password.or(password.map(|it| Secret::new(it.as_bytes())));
    Ok(Place::new(url, tls))
}
