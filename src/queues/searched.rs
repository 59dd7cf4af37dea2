//! What of a job can be searched, shown where it lies: nothing is copied, and of a value that rests
//! only what is made whole for this look.

use super::{Glance, Job, Known, LIBRARIES, Queue, QueueLibrary};
use crate::data::{Hash, Value};
use crate::engine::keyspace::KeyValue;

/// A job as a search sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobText<'a> {
    pub id: &'a [u8],
    pub name: &'a [u8],
    pub data: &'a [u8],
    pub error: &'a [u8],
}

impl<'a> JobText<'a> {
    pub fn of(job: &'a Job) -> Self {
        Self { id: &job.id, name: &job.name, data: &job.data, error: &job.failed_reason }
    }
}

/// Whose job a hash is: the library, the queue's base and the job's id.
type Whose<'a> = (&'static QueueLibrary, &'a [u8], &'a [u8]);

impl Known {
    /// Shows the job that lies under a key of its own, with its queue's library and base. False if
    /// the key is no job's, or of a queue that is not known.
    pub fn show_job<'e>(
        &self,
        view: Glance<'e>,
        entry: &'e KeyValue,
        show: &mut dyn FnMut(&'static QueueLibrary, &[u8], &JobText),
    ) -> bool {
        let is_hash = match &entry.value {
            Value::Hash(_) => true,
            Value::Cold(cold) => !cold.is_str(),
            _ => false,
        };
        if !is_hash {
            return false;
        }
        let key = entry.key.text();
        let apart = LIBRARIES.iter().find_map(|library| {
            let before = library.job_hash?.before;
            let id = key.strip_prefix(before.as_bytes()).filter(|_| !before.is_empty())?;
            Some((*library, id))
        });
        let below = || self.below_base(view.db, &key);
        if apart.is_none() && below().is_none() {
            return false;
        }
        let Some(hash) = view.whole_of::<Hash>(&entry.value) else { return false };
        let named = apart.and_then(|(library, _)| hash.get(library.job_hash?.queue.as_bytes()));
        let whose: Option<Whose> = match (apart, &named) {
            (Some((library, id)), Some(base)) => {
                self.library(view.db, base).is_some().then_some((library, &**base, id))
            }
            (Some(_), None) => None,
            (None, _) => below(),
        };
        let Some((library, base, id)) = whose else { return false };
        let Some(fields) = library.job_hash else { return false };
        if hash.get(fields.mark.as_bytes()).is_none() {
            return false;
        }
        let text = |field: &str| hash.get(field.as_bytes()).filter(|_| !field.is_empty());
        let (name, data, error) = (text(fields.name), text(fields.data), text(fields.error));
        let job = JobText {
            id,
            name: name.as_deref().unwrap_or_default(),
            data: data.as_deref().unwrap_or_default(),
            error: error.as_deref().unwrap_or_default(),
        };
        show(library, base, &job);
        true
    }

    /// Whose job a key `BASE:ID` is. Ids may hold colons; the longest base that is known counts.
    fn below_base<'k>(&self, db: usize, key: &'k [u8]) -> Option<Whose<'k>> {
        let mut end = key.len();
        while let Some(at) = key[..end].iter().rposition(|&byte| byte == b':') {
            if let Some(library) = self.library(db, &key[..at]) {
                let is_below = library.job_hash.is_some_and(|hash| hash.before.is_empty());
                return is_below.then_some((library, &key[..at], &key[at + 1..]));
            }
            end = at;
        }
        None
    }
}

impl Queue {
    /// Whether each of its jobs lies under a key of its own.
    pub fn has_job_keys(&self) -> bool {
        self.library.job_hash.is_some()
    }

    /// The key of a job; None if it has none of its own.
    pub fn job_key(&self, id: &[u8]) -> Option<Vec<u8>> {
        let before = self.library.job_hash?.before;
        Some(match before {
            "" => [&self.base, &b":"[..], id].concat(),
            _ => [before.as_bytes(), id].concat(),
        })
    }

    /// The job that a member of a state stands for; None if nothing is known of it.
    pub fn listed(&self, view: Glance, member: &[u8]) -> Option<Job> {
        (self.library.job)(view, &self.base, member)
    }
}
