//! A type that other modules may use has its name for itself: who reads `Place` or `Kind` far from
//! where it is declared shall not have to look which one is meant.

use super::{report, sources};
use std::collections::BTreeMap;

/// Names that several types have, each with its reason.
const SHARED: &[(&str, &str)] = &[("Iter", "as in std, each is named with its module")];

#[test]
fn a_public_type_has_its_name_for_itself() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources("src") {
        for (number, line) in source.code() {
            let declared = ["pub struct ", "pub enum ", "pub trait ", "pub union ", "pub type "]
                .iter()
                .find_map(|start| line.strip_prefix(start));
            if let Some(rest) = declared {
                let name = super::first_word(rest).to_owned();
                places.entry(name).or_default().push(format!("{}:{number}", source.path));
            }
        }
    }
    let is_shared = |name: &str| SHARED.iter().any(|(shared, _)| *shared == name);
    let mut complaints = Vec::new();
    for (name, places) in &places {
        match (places.len(), is_shared(name)) {
            (1, true) => complaints.push(format!("{name}: listed as shared, and one type has it")),
            (2.., false) => complaints.push(format!("{name}: {}", places.join(", "))),
            _ => {}
        }
    }
    for (name, _) in SHARED.iter().filter(|(name, _)| !places.contains_key(*name)) {
        complaints.push(format!("{name}: listed as shared, and no type has it"));
    }
    report(complaints);
}
