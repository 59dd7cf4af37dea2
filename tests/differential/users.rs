//! Users of random rules: what they may do must be the same on both servers.

use super::{Candidate, Step, values};
use toril::engine::row::ACL_CATEGORIES;
use toril::util::rng::Rng;

/// The client that is some user's.
pub const CLIENT: usize = 3;
pub const NAME: &str = "u";
const RULES_MAX: usize = 8;

/// Logs the client in as a user that is made anew.
pub fn log_in(candidates: &[Candidate], rng: &mut Rng, steps: &mut Vec<Step>) {
    let rules = ["reset", "on", "nopass", "+@all", "~*"];
    steps.push(step(1, [&["ACL", "SETUSER", NAME], &rules[..]].concat()));
    steps.push(step(CLIENT, vec!["AUTH", NAME, "x"]));
    change(candidates, rng, steps);
}

/// Changes what the user may do, and tells of it.
pub fn change(candidates: &[Candidate], rng: &mut Rng, steps: &mut Vec<Step>) {
    let rules: Vec<String> =
        (0..1 + rng.below(RULES_MAX)).map(|_| rule(candidates, rng, true)).collect();
    let rules = rules.iter().map(String::as_str);
    steps.push(step(1, ["ACL", "SETUSER", NAME].into_iter().chain(rules).collect()));
    steps.push(step(1, vec!["ACL", "LIST"]));
}

fn step(client: usize, words: Vec<&str>) -> Step {
    Step::of(client, words.iter().map(|word| word.as_bytes().to_vec()).collect())
}

/// A rule, which may contradict those before it or be refused.
fn rule(candidates: &[Candidate], rng: &mut Rng, may_nest: bool) -> String {
    let sign = ["+", "+", "-"][rng.below(3)];
    match rng.below(12) {
        0 => format!("{sign}@{}", ACL_CATEGORIES[rng.below(ACL_CATEGORIES.len())]),
        1..4 => {
            let name = candidates[rng.below(candidates.len())].found.full_name();
            format!("{sign}{name}")
        }
        4..8 => {
            // What `%RW~*` is listed as differs on purpose.
            let pattern = values::key_pattern(rng);
            let rights = if pattern == "*" { "~" } else { ["~", "%R~", "%W~"][rng.below(3)] };
            format!("{rights}{pattern}")
        }
        8 => ["resetkeys", "+@all", "-@all", "-eval", "-exec", "nosuch"][rng.below(6)].to_owned(),
        9 if may_nest => {
            let rules: Vec<String> =
                (0..1 + rng.below(4)).map(|_| rule(candidates, rng, false)).collect();
            format!("({})", rules.join(" "))
        }
        10 if may_nest => "clearselectors".to_owned(),
        _ => "allkeys".to_owned(),
    }
}
