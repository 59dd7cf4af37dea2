//! What people call a script: its name in the library that sends it. On the wire it has none. A
//! script of BullMQ or Bull is known by how the comment begins that its source opens with, and
//! where two begin alike, by how many keys it is given.

use crate::engine::Engine;
use crate::engine::row::Flag;
use crate::engine::script::Realm;
use crate::engine::table::Found;
use crate::lua::{Callable, Sha, title_of};
use crate::proto::Args;

/// How the comment begins, how many keys are given where that decides, and the name.
type Known = (&'static str, Option<usize>, &'static str);

/// Of BullMQ 3 to 6 and Bull 4. What begins alike stands together; the first that fits is it. Alike
/// in both are getStateV2, which asks as getState does, and removeUnprocessedChildren, which begins
/// as removeJob: they go by the shorter name. So does addStandardJob of BullMQ 4: by Bull's.
#[rustfmt::skip]
const KNOWN: &[Known] = &[
    ("Add job log", None, "addLog"),
    ("Adds a delayed job", None, "addDelayedJob"),
    ("Adds a job scheduler", None, "addJobScheduler"),
    ("Adds a job to the queue", Some(9), "addStandardJob"),
    ("Adds a job to the queue", None, "addJob"),
    ("Adds a parent job", None, "addParentJob"),
    ("Adds a prioritized job", None, "addPrioritizedJob"),
    ("Adds a priotitized job", None, "addPrioritizedJob"),
    ("Adds a repeatable job", Some(1), "updateRepeatableJobMillis"),
    ("Adds a repeatable job", None, "addRepeatableJob"),
    ("Attempts to reprocess a job", None, "reprocessJob"),
    ("Attempts to retry all failed jobs", None, "retryJobs"),
    ("Break parent-child dependency", None, "removeChildDependency"),
    ("Change job delay", None, "changeDelay"),
    ("Change job priority", None, "changePriority"),
    ("Checks if a job is finished", None, "isFinished"),
    ("Checks if job is in a given list", None, "isJobInList"),
    ("Checks if queue is maxed", None, "isMaxed"),
    ("Completely obliterates a queue", None, "obliterate"),
    ("Deletes the retained message", None, "relayDeleteRetained"),
    ("Drains the queue", None, "drain"),
    ("Extend lock and", None, "extendLock"),
    ("Extend locks for", None, "extendLocks"),
    ("Function to move job from active", None, "moveJobFromActiveToWait"),
    ("Get a job state", None, "getState"),
    ("Get counts per child", None, "getDependencyCounts"),
    ("Get counts per provided", Some(1), "getCounts"),
    ("Get counts per provided", None, "getCountsPerPriority"),
    ("Get job ids", None, "getRanges"),
    ("Get job scheduler", None, "getJobScheduler"),
    ("Get jobs", None, "getJobs"),
    ("Get metrics", None, "getMetrics"),
    ("Get rate limit ttl", None, "getRateLimitTtl"),
    ("Move completed, failed or delayed", None, "moveJobsToWait"),
    ("Move job from active to a finished", None, "moveToFinished"),
    ("Move next job", None, "moveToActive"),
    ("Move stalled jobs", None, "moveStalledJobsToWait"),
    ("Moves a parent out of", None, "releaseParentIfNoPendingDependencies"),
    ("Moves job from active to delayed", None, "moveToDelayed"),
    ("Moves job from active to waiting children", None, "moveToWaitingChildren"),
    ("Paginate a set or hash", None, "paginate"),
    ("Pauses or resumes a queue", None, "pause"),
    ("Promotes a job", None, "promote"),
    ("Publishes a message on a topic", None, "relayPublish"),
    ("Read-only views of a relay", None, "relayGet"),
    ("Reads a batch and", None, "relayReadInbox"),
    ("Records that a relay namespace", None, "relayTouchNamespace"),
    ("Records the last inbox position", None, "relayAckInbox"),
    ("Registers (or refreshes)", None, "relayRegisterNode"),
    ("Release lock", None, "releaseLock"),
    ("Remove a job from all", None, "removeJob"),
    ("Remove all jobs matching", None, "removeJobs"),
    ("Remove deduplication key", None, "removeDeduplicationKey"),
    ("Remove jobs from the specific set", None, "cleanJobsInSet"),
    ("Removes a job scheduler", None, "removeJobScheduler"),
    ("Removes a repeatable job", None, "removeRepeatable"),
    ("Removes every subscription", None, "relayRemoveEndpoint"),
    ("Removes expired relay nodes", None, "relaySweep"),
    ("Removes orphaned job keys", None, "removeOrphanedJobs"),
    ("Removes the consumed entries", None, "relayTrimInbox"),
    ("Renews a relay node", None, "relayHeartbeat"),
    ("Retries a failed job", None, "retryJob"),
    ("Returns the relay namespaces", None, "relayGetNamespaces"),
    ("Save stacktrace", None, "saveStacktrace"),
    ("Subscribes a relay endpoint", None, "relaySubscribe"),
    ("Takes a lock", None, "takeLock"),
    ("Unregisters a relay node", None, "relayUnregisterNode"),
    ("Update job data", None, "updateData"),
    ("Update job progress", None, "updateProgress"),
    ("Updates a job scheduler", None, "updateJobScheduler"),
    ("Updates the delay set", None, "updateDelaySet"),
];

/// The name of a script whose opening comment begins with this line, if a library has it.
pub fn known_script(title: &str, keys: usize) -> Option<&'static str> {
    let fits = |(start, count, _): &&Known| {
        title.starts_with(start) && count.is_none_or(|count| count == keys)
    };
    KNOWN.iter().find(fits).map(|(_, _, name)| *name)
}

/// What a script or function is called: as its library does, else by the first line of its opening
/// comment, else by its SHA-1.
pub fn name_of(callable: &Callable, keys: usize) -> String {
    match callable {
        Callable::Script(script) => named(script.title.as_deref(), &script.sha, keys),
        Callable::Function(function) => String::from_utf8_lossy(&function.name).into_owned(),
    }
}

/// As `name_of`, of the script that a request is to run. None if it runs none; one that is not
/// cached goes by what the request calls it.
pub fn script_name(engine: &Engine, found: Found, args: &Args) -> Option<String> {
    let words = args.all();
    let given = *words.get(1)?;
    let keys = words.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
    let keys = keys.unwrap_or(0);
    let flags = found.row.flags;
    if flags.has(Flag::ScriptByText) {
        return Some(named(title_of(given).as_deref(), &Sha::of(given), keys));
    }
    if flags.has(Flag::FunctionByName) {
        return Some(String::from_utf8_lossy(given).into_owned());
    }
    if !flags.has(Flag::ScriptBySha) {
        return None;
    }
    let cached = Sha::parse(given)
        .and_then(|sha| engine.scripts.loaded(Realm::Scripts)?.script(&sha))
        .map(|script| named(script.title.as_deref(), &script.sha, keys));
    Some(cached.unwrap_or_else(|| String::from_utf8_lossy(given).into_owned()))
}

/// Whether a request runs a script that a library is known to have.
pub fn runs_known(engine: &Engine, found: Found, args: &Args) -> bool {
    let name = script_name(engine, found, args);
    name.is_some_and(|name| KNOWN.iter().any(|(_, _, known)| *known == name))
}

fn named(title: Option<&str>, sha: &Sha, keys: usize) -> String {
    match title {
        Some(title) => known_script(title, keys).unwrap_or(title).to_owned(),
        None => sha.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_by_its_comment_and_keys() {
        let check = |title: &str, keys: usize, expect: Option<&str>| {
            assert_eq!(known_script(title, keys), expect, "{title}");
        };
        check(
            "Move job from active to a finished status (completed or fail",
            14,
            Some("moveToFinished"),
        );
        check("Extend lock and removes the job from the stalled set.", 2, Some("extendLock"));
        check(
            "Extend locks for multiple jobs and remove them from the stal",
            1,
            Some("extendLocks"),
        );
        check("Adds a job to the queue by doing the following:", 9, Some("addStandardJob"));
        check("Adds a job to the queue by doing the following:", 6, Some("addJob"));
        check("Get counts per provided states", 1, Some("getCounts"));
        check("Get counts per provided states", 4, Some("getCountsPerPriority"));
        check("Adds a job", 9, None);
    }
}
