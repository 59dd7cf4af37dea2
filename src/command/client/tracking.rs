//! CLIENT TRACKING and what belongs to it: client-side caching (engine/tracking.rs).

use super::super::prelude::*;
use super::on_or_off;
use crate::engine::client::ClientId;
use crate::engine::tracking::{Tracker, TrackingMode};
use crate::util::number;

/// What CLIENT TRACKING was given.
#[derive(Default)]
struct Options<'a> {
    redirect: Option<ClientId>,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    noloop: bool,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(cx: &Ctx, mut args: Args<'a>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(option) = args.next() {
            match &option.to_ascii_lowercase()[..] {
                b"redirect" if args.left() > 0 => {
                    if options.redirect.is_some() {
                        return Err(Error::new(
                            "ERR A client can only redirect to a single other client",
                        ));
                    }
                    options.redirect = Some(existing(cx, args.given())?);
                }
                b"prefix" if args.left() > 0 => options.prefixes.push(args.given()),
                b"bcast" => options.broadcast = true,
                b"optin" => options.opt_in = true,
                b"optout" => options.opt_out = true,
                b"noloop" => options.noloop = true,
                _ => return Err(Error::Syntax),
            }
        }
        Ok(options)
    }

    /// What the client asks for, where that goes together, and with what it has asked for before.
    fn check(self, before: Option<&Tracker>) -> Result<Tracker> {
        let refuse = |text: &'static str| Err(Error::new(text));
        if !self.broadcast && !self.prefixes.is_empty() {
            return refuse("ERR PREFIX option requires BCAST mode to be enabled");
        }
        let mode_before = before.map(|tracker| tracker.mode);
        if mode_before.is_some_and(|mode| (mode == TrackingMode::Broadcast) != self.broadcast) {
            return refuse(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this \
                 client, and then re-enabling it with a different mode.",
            );
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return refuse("ERR OPTIN and OPTOUT are not compatible with BCAST");
        }
        if self.opt_in && self.opt_out {
            return refuse("ERR You can't specify both OPTIN mode and OPTOUT mode");
        }
        if self.opt_in && mode_before == Some(TrackingMode::OptOut)
            || self.opt_out && mode_before == Some(TrackingMode::OptIn)
        {
            return refuse(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this \
                 client, and then re-enabling it with a different mode.",
            );
        }
        let mode = match (self.broadcast, self.opt_in, self.opt_out) {
            (true, ..) => TrackingMode::Broadcast,
            (_, true, _) => TrackingMode::OptIn,
            (.., true) => TrackingMode::OptOut,
            _ => TrackingMode::All,
        };
        let mut prefixes = self.prefixes;
        if mode == TrackingMode::Broadcast {
            look_for_overlaps(&prefixes, before)?;
            if prefixes.is_empty() {
                prefixes.push(b"");
            }
        }
        let prefixes = prefixes.into_iter().map(Box::from).collect();
        let (redirect, noloop) = (self.redirect, self.noloop);
        Ok(Tracker { mode, noloop, redirect, prefixes, ..Tracker::default() })
    }
}

/// Whoever is to be told in the caller's place must be there now; it may leave later.
fn existing(cx: &Ctx, word: &[u8]) -> Result<ClientId> {
    let id = number::parse_i64(word).ok_or(Error::NotInteger)?;
    let id = u64::try_from(id).ok().map(ClientId).filter(|&id| cx.clients().get(id).is_some());
    id.ok_or_else(|| Error::new("ERR The client ID you want redirect to does not exist"))
}

/// A key with two of a client's prefixes would be told to it twice.
fn look_for_overlaps(prefixes: &[&[u8]], before: Option<&Tracker>) -> Result {
    let overlap = |left: &[u8], right: &[u8]| left.starts_with(right) || right.starts_with(left);
    let refuse = |prefix: &[u8], which: &str, other: &[u8]| {
        let middle = format!("' overlaps with {which} prefix '");
        let end = "'. Prefixes for a single client must not overlap.";
        let text = [b"ERR Prefix '", prefix, middle.as_bytes(), other, end.as_bytes()].concat();
        Err(Error::Message(text.into()))
    };
    for (at, prefix) in prefixes.iter().enumerate() {
        let mut existing = before.iter().flat_map(|tracker| &tracker.prefixes);
        if let Some(other) = existing.find(|other| overlap(prefix, other)) {
            return refuse(prefix, "an existing", other);
        }
        if let Some(other) = prefixes[at + 1..].iter().find(|other| overlap(prefix, other)) {
            return refuse(prefix, "another provided", other);
        }
    }
    Ok(())
}

/// Looks at the options first, whichever way the switch is turned.
pub(super) fn tracking(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let mut options = args;
    options.given();
    let options = Options::parse(cx, options)?;
    if on_or_off(args)? {
        let wanted = options.check(cx.tracking().as_deref())?;
        cx.track(wanted);
    } else {
        cx.end_tracking();
    }
    reply.ok();
    Ok(())
}

/// Of the command that follows: whether its keys are noted, where they otherwise would not be, or
/// would.
pub(super) fn caching(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let wants_mode = || {
        Error::new(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
             or OPTOUT mode enabled",
        )
    };
    let tracker = cx.tracking().ok_or_else(wants_mode)?;
    let (mode, refusal) = if args.accept("yes") {
        let text = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
        (TrackingMode::OptIn, text)
    } else if args.accept("no") {
        let text = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
        (TrackingMode::OptOut, text)
    } else {
        return Err(Error::Syntax);
    };
    if tracker.mode != mode {
        return Err(Error::new(refusal));
    }
    tracker.caching = true;
    reply.ok();
    Ok(())
}

pub(super) fn getredir(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.int(Tracker::redirection(cx.tracking().as_deref()));
    Ok(())
}

pub(super) fn trackinginfo(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let tracker = cx.tracking().map(|tracker| &*tracker);
    let of_mode: &[&str] = match tracker.map(|tracker| (tracker.mode, tracker.caching)) {
        None => &["off"],
        Some((TrackingMode::All, _)) => &["on"],
        Some((TrackingMode::Broadcast, _)) => &["on", "bcast"],
        Some((TrackingMode::OptIn, false)) => &["on", "optin"],
        Some((TrackingMode::OptIn, true)) => &["on", "optin", "caching-yes"],
        Some((TrackingMode::OptOut, false)) => &["on", "optout"],
        Some((TrackingMode::OptOut, true)) => &["on", "optout", "caching-no"],
    };
    let noloop = tracker.is_some_and(|tracker| tracker.noloop).then_some("noloop");
    let broken = tracker.is_some_and(|tracker| tracker.is_broken).then_some("broken_redirect");
    let flags: Vec<&str> = of_mode.iter().copied().chain(noloop).chain(broken).collect();
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(Tracker::redirection(tracker));
    reply.bulk(b"prefixes");
    reply.array(tracker.map_or(0, |tracker| tracker.prefixes.len()));
    for prefix in tracker.iter().flat_map(|tracker| &tracker.prefixes) {
        reply.bulk(prefix);
    }
    Ok(())
}
