//! `toril hand-over`: all that a server holds moves to another one, or to a cluster, while its
//! clients work.
//!
//! It follows the old server as a replica does (remote/feed.rs) and writes what it gets to the new
//! one (`target.rs`, `lane.rs`): the snapshot key by key, and then what changes, unit by unit
//! (`effects.rs`, `pieces.rs`). Before that it looks at a whole snapshot for what cannot move
//! (`survey.rs`), so that it fails before anything is written or not at all. In the end the old
//! server pauses writes, both sides are counted, and it is told to take no more
//! (`moving.rs`, engine/handing_over.rs).
//!
//! A process of its own: the old server does for it what it does for any replica, and whatever
//! becomes of this process, the old server goes on.

mod effects;
mod held;
mod lane;
mod moving;
mod pieces;
mod plan;
mod survey;
mod target;

use crate::config::TlsSettings;
use crate::remote::{Response, Talk, Tls};
use moving::Moving;
use plan::MovePlan;
use std::io::{self, Write};
use survey::Survey;
use target::{Target, TargetFacts};

/// What the command line asks for makes no sense.
const REFUSED: u8 = 2;
/// Not all has moved.
const FAILED: u8 = 1;

/// Runs what the arguments behind `hand-over` ask for; returns the status to end with.
pub fn run(args: &[String]) -> u8 {
    let plan = match MovePlan::read(args) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            // Nobody may be reading.
            let _ = writeln!(io::stdout(), "{}", plan::USAGE);
            return 0;
        }
        Err(reason) => {
            say(&reason);
            return REFUSED;
        }
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    let moved = match runtime {
        Ok(runtime) => runtime.block_on(hand_over(&plan)),
        Err(problem) => Err(format!("the event loop cannot be set up: {problem}")),
    };
    match moved {
        Ok(()) => 0,
        Err(reason) => {
            say(&reason);
            FAILED
        }
    }
}

/// To a person.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "toril hand-over: {text}");
}

async fn hand_over(plan: &MovePlan) -> Result<(), String> {
    let mut source = Talk::open(&plan.from).await?;
    let is_toril = look_at_source(&mut source, plan).await?;
    let target = Target::open(&plan.to).await?;
    let mut talks = target.talks().await?;
    let now_ms = source.time_ms().await?;
    let facts = target.facts(&mut talks, now_ms).await?;
    let nodes = target.places().len();
    let kind = if facts.is_cluster { format!(", a cluster of {nodes}") } else { String::new() };
    say(&format!("from {} to {} ({}{kind})", plan.from, plan.to, facts.name));

    let survey = Survey::take(plan).await?;
    say(&format!("there are {}", survey.summary()));
    survey.warnings(plan, &facts).iter().for_each(|text| say(&format!("note: {text}")));
    let mut obstacles = survey.obstacles(plan, &facts);
    obstacles.extend(contradictions(plan, &facts, &survey, is_toril));
    if plan.forward.is_some() && plan.to.is_tls {
        obstacles.extend(unset_there(&mut source, plan).await);
    }
    if plan.forward.is_some() && is_toril && !facts.is_cluster {
        obstacles.extend(plan.unreachable_for(&mut source).await?);
    }
    if plan.verifies && !facts.is_cluster {
        obstacles.extend(refused_digests([&mut source, &mut talks[0]]).await?);
    }
    obstacles.iter().for_each(|text| say(&format!("cannot move: {text}")));
    if !obstacles.is_empty() {
        return Err("nothing was written".into());
    }
    if plan.is_dry {
        say("all of it can move; nothing was written (--dry-run)");
        return Ok(());
    }
    let now_ms = source.time_ms().await?;
    let mut moving = Moving::begin(plan, source, target, talks, &facts, now_ms).await?;
    moving.copy(&survey).await?;
    moving.end(is_toril).await
}

/// Settings of TLS that are given here, and are not given to the old server, which has to make its
/// connections by its own.
async fn unset_there(source: &mut Talk, plan: &MovePlan) -> Vec<String> {
    let mut all = Vec::new();
    let given = plan.to.tls().map(Tls::settings).into_iter().flat_map(TlsSettings::files);
    for (setting, _) in given.filter(|(_, file)| !file.is_empty()) {
        if source.setting(setting).await.is_none_or(|there| there.is_empty()) {
            all.push(format!(
                "--forward: {} connects to the target by its own settings: it wants CONFIG SET \
                 {setting} as well",
                plan.from
            ));
        }
    }
    all
}

/// Servers whose data cannot be compared, since they refuse DEBUG.
async fn refused_digests(talks: [&mut Talk; 2]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for talk in talks {
        if let Response::Error(why) = talk.ask_anything(&["DEBUG", "HELP"]).await? {
            all.push(format!("--verify: {} answers DEBUG with {why:?}", talk.place));
        }
    }
    Ok(all)
}

/// What is asked for and cannot be had.
fn contradictions(
    plan: &MovePlan,
    facts: &TargetFacts,
    survey: &Survey,
    is_toril: bool,
) -> Vec<String> {
    let mut all = Vec::new();
    if plan.forward.is_some() && facts.is_cluster {
        all.push("--forward: a cluster's clients have to know its nodes themselves".into());
    }
    if plan.verifies && facts.is_cluster {
        all.push("--verify: a cluster has no DEBUG DIGEST of all its nodes".into());
    }
    if plan.verifies && survey.has_field_ttls() && facts.name.starts_with("Valkey") {
        all.push("--verify: Valkey's DEBUG DIGEST leaves out that fields have TTLs".into());
    }
    if !is_toril && !plan.is_copy {
        all.push(format!(
            "{} is no toril, so that it cannot be told to take no more writes: say --copy, and \
             stop its clients yourself",
            plan.from
        ));
    }
    all
}

/// Whether the server that is moved is toril. One that follows another is not to be moved.
async fn look_at_source(source: &mut Talk, plan: &MovePlan) -> Result<bool, String> {
    let info = source.info("replication").await?;
    if info.get("role") == "slave" {
        return Err(format!(
            "{} follows {}:{}: hand over that one",
            plan.from,
            info.get("master_host"),
            info.get("master_port")
        ));
    }
    let answer = source.ask_anything(&["COMMAND", "INFO", "toril|handover"]).await?;
    Ok(matches!(&answer, Response::List(all) if matches!(all.first(), Some(Response::List(_)))))
}
