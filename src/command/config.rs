//! CONFIG: the settings, read and changed while the server runs.

use super::prelude::*;
use crate::engine::effect::Effect;
use crate::util::glob::{self, Case};
use std::collections::BTreeMap;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("config", "2.0.0", &[
        row("get",       "2.0.0", AtLeast(3), Keys::none(), &[Admin, NoScript, Loading, Stale], get, "parameter [parameter ...]", "Answers the settings whose names match."),
        help("5.0.0"),
        row("resetstat", "2.0.0", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], resetstat, "", "Sets what INFO has counted to zero.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
        row("rewrite",   "2.8.0", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], rewrite, "", "Writes the settings that are in force to the configuration file.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
        row("set",       "2.0.0", AtLeast(4), Keys::none(), &[Admin, NoScript, Loading, Stale, SecretSettings], set, "parameter value [parameter value ...]", "Changes settings: all of these or none.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
    ], "Tells and changes settings."),
]);

fn get(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let config = cx.config();
    // Several patterns may match a setting; it is told once.
    let mut found: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    for pattern in args {
        if pattern.iter().any(|byte| b"*?[".contains(byte)) {
            let matches = |name: &str| glob::matches(pattern, name.as_bytes(), Case::Ignored);
            let rows = config.rows().filter(|(name, _)| matches(name));
            found.extend(rows.map(|(name, text)| (name.as_bytes(), text)));
        } else if let Some(text) = config.get(pattern) {
            // In the case in which it was asked for.
            found.insert(pattern, text);
        }
    }
    reply.map(found.len());
    for (name, text) in found {
        reply.bulk(name);
        reply.bulk(&text);
    }
    Ok(())
}

fn set(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let (pairs, []) = args.remaining().as_chunks::<2>() else { return Err(Error::Syntax) };
    let settings: Vec<(&[u8], &[u8])> = pairs.iter().map(|&[name, value]| (name, value)).collect();
    cx.configure(&settings, args, reply)
}

fn resetstat(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    cx.reset_stats();
    reply.ok();
    Ok(())
}

fn rewrite(cx: &mut Ctx, args: Args, _reply: &mut Reply) -> Result {
    if cx.server().facts.config_file().is_empty() {
        return Err(Error::new("ERR The server is running without a config file"));
    }
    cx.await_effect(Effect::RewriteConfig { client: cx.client }, args);
    Ok(())
}
