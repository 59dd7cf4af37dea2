//! What a library is to this folder: a table of what its keys mean.

use super::glance::Glance;
use crate::engine::client::Client;
use crate::util::pickle;

/// What becomes of a job in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It waits for a worker.
    Ready,
    /// A worker has it.
    Working,
    /// Its moment has not come: the state is a sorted set by that moment.
    Later,
    /// It waits for other jobs.
    Blocked,
    /// It stays where it is until somebody resumes the queue.
    Held,
    /// It has ended well.
    Completed,
    /// It has ended badly.
    Failed,
}

/// A state of jobs, and the key that holds their ids: the base of the queue between two texts.
#[derive(Clone, Copy, Debug)]
pub struct JobState {
    pub name: &'static str,
    pub role: Role,
    pub before: &'static str,
    pub after: &'static str,
    /// No key of the queue holds them: `QueueLibrary::in_hand` tells of them.
    pub is_in_hand: bool,
}

/// Makes a row of a library's states.
pub const fn state(
    name: &'static str,
    role: Role,
    before: &'static str,
    after: &'static str,
) -> JobState {
    JobState { name, role, before, after, is_in_hand: false }
}

/// Makes a row of a state that no key of the queue is.
pub const fn in_hand(name: &'static str, role: Role) -> JobState {
    JobState { name, role, before: "", after: "", is_in_hand: true }
}

impl JobState {
    pub fn key(&self, base: &[u8]) -> Vec<u8> {
        [self.before.as_bytes(), base, self.after.as_bytes()].concat()
    }
}

/// What the workers of a queue are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// Connections, or processes, that are known to take jobs of this queue.
    pub count: usize,
    /// Those that have asked for a job and are not waiting for one now.
    pub at_work: usize,
}

/// A job that stands elsewhere than in a key of its queue: with a worker, with a scheduler, or
/// among those of all queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InHand {
    /// The name of a state that is marked so.
    pub state: &'static str,
    pub id: Vec<u8>,
    /// When it is to begin, in a state of `Role::Later`.
    pub due_ms: Option<i64>,
}

/// What stands for a job in a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPlace {
    pub id: Vec<u8>,
    pub key: Vec<u8>,
    pub member: Vec<u8>,
}

/// As many of what stands elsewhere are looked through; those behind are not told of.
pub const IN_HAND_MAX: usize = 2_000;

/// What has become of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The queue.
    pub base: Vec<u8>,
    pub id: Vec<u8>,
    /// One of `HAPPENINGS`.
    pub what: &'static str,
    /// Why it has failed.
    pub reason: Vec<u8>,
}

/// As many jobs in one state are looked at when a key has changed.
pub const LOOKED_AT_MAX: usize = 1_000;

/// What is remembered of the jobs of a database, for libraries whose keys tell of a job only while
/// it is there.
pub trait Remembered {
    /// Jobs of a queue that have not ended, as far as was told.
    fn unended(&self, base: &[u8]) -> Vec<Vec<u8>>;
    /// The queue of a job.
    fn base_of(&self, id: &[u8]) -> Option<Vec<u8>>;
}

/// A step of a job, as a library's own stream of events tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobStep<'a> {
    /// The server's clock.
    pub at_ms: i64,
    /// One of `HAPPENINGS`.
    pub what: &'static str,
    pub id: &'a [u8],
    /// The state before this one; empty if that is not told.
    pub prev: &'a [u8],
    /// When a job that is delayed will be due.
    pub due_ms: Option<i64>,
    /// Why it has failed.
    pub reason: &'a [u8],
}

/// What may become of a job, in BullMQ's words.
pub const HAPPENINGS: &[&str] = &[
    "added",
    "waiting",
    "prioritized",
    "delayed",
    "waiting-children",
    "active",
    "progress",
    "stalled",
    "completed",
    "failed",
    "removed",
];

/// A job, as far as its library tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    pub id: Vec<u8>,
    pub name: Vec<u8>,
    /// As the library keeps them: JSON, where it has a choice; a pickle as Python prints it.
    pub data: Vec<u8>,
    pub attempts_made: u64,
    pub attempts_max: u64,
    /// When it was added, last begun and ended, in milliseconds of its clients' clocks.
    pub added_ms: Option<i64>,
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    pub failed_reason: Vec<u8>,
    /// One text for each attempt that failed.
    pub stacktrace: Vec<String>,
    /// The name of the worker that had it last, if it has one.
    pub worker: Vec<u8>,
    pub progress: Vec<u8>,
    pub result: Vec<u8>,
    /// The key of the job that waits for this one.
    pub parent: Vec<u8>,
    /// How it is to be run, as the library keeps it: JSON.
    pub opts: Vec<u8>,
    /// Lower comes sooner; 0 is none.
    pub priority: u64,
    /// What keeps others like it away, while it holds.
    pub deduplication: Vec<u8>,
}

/// What a job is called, and why it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brief {
    pub name: Vec<u8>,
    pub failed_reason: Vec<u8>,
}

/// Reads that of a job, which is given as to `QueueLibrary::job`. None if its data is gone.
pub type Briefly = fn(Glance, &[u8], &[u8]) -> Option<Brief>;

/// What adds a job again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    pub id: Vec<u8>,
    /// What its jobs are called.
    pub name: Vec<u8>,
    /// A pattern of cron; empty if it goes by a span.
    pub pattern: Vec<u8>,
    pub every_ms: Option<u64>,
    /// The time zone that the pattern is meant in; empty if none is named.
    pub zone: Vec<u8>,
    pub next_ms: i64,
    /// How many times so far.
    pub runs: u64,
}

/// A job in whichever queue: that queue's base, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relative {
    pub base: Vec<u8>,
    pub id: Vec<u8>,
}

impl Relative {
    /// The job that a key `BASE:ID` is of; None if it has no colon.
    pub fn of_key(key: &[u8]) -> Option<Self> {
        let at = key.iter().rposition(|&byte| byte == b':')?;
        Some(Self { base: key[..at].to_vec(), id: key[at + 1..].to_vec() })
    }
}

/// What the hash of a job is called, and which of its fields say what can be searched.
#[derive(Clone, Copy, Debug)]
pub struct JobHash {
    /// What stands before a job's id in the key. Empty: its queue's base and a colon.
    pub before: &'static str,
    /// The field that names the queue's base, where the key does not.
    pub queue: &'static str,
    /// A field that each job has, and no other hash of a queue.
    pub mark: &'static str,
    pub name: &'static str,
    /// Empty if it is kept in a form that nobody could search.
    pub data: &'static str,
    pub error: &'static str,
}

/// How one library keeps its queues.
pub struct QueueLibrary {
    pub name: &'static str,
    /// Keys that living processes renew in real time, as globs.
    pub kept: &'static [&'static str],
    pub states: &'static [JobState],
    /// Whether workers take the first of a list, and new jobs are its last; else it is the other
    /// way round.
    pub takes_first: bool,
    /// The queues that a key's name, or what it holds, tells of: their bases.
    pub bases: fn(Glance, &[u8]) -> Vec<Vec<u8>>,
    /// Whether a base is a queue of this library.
    pub is_queue: fn(Glance, &[u8]) -> bool,
    /// What people call the queue.
    pub display: fn(&[u8]) -> &[u8],
    /// Its version, if the queue's keys tell it.
    pub version: fn(Glance, &[u8]) -> Option<Vec<u8>>,
    /// How many of the ids in a state are none of jobs.
    pub no_jobs: fn(Glance, &JobState, &[u8]) -> usize,
    /// The moment that a score of a state of `Role::Later` means, in milliseconds.
    pub due_ms: fn(f64) -> i64,
    pub is_paused: fn(Glance, &[u8]) -> bool,
    /// Until when no job is given out, however many wait.
    pub limited_until_ms: fn(Glance, &[u8]) -> Option<i64>,
    /// The end of the key of a job's lock, `BASE:ID` before it, which its worker renews.
    pub lock: Option<&'static str>,
    /// The end of the key that keeps workers from looking too often for jobs that were left behind.
    pub stall_check: Option<&'static str>,
    /// The commands with which workers ask for jobs, where their connections are named.
    pub asks: &'static [&'static str],
    pub workers: fn(Glance, &[u8]) -> Workers,
    pub in_hand: fn(Glance, &[u8]) -> Vec<InHand>,
    /// What stands for the jobs of a state that no key of the queue is, where a key holds them that
    /// they can be taken out of.
    pub stands: fn(Glance, &[u8], &JobState) -> Vec<JobPlace>,
    /// A job by its id, or by what stands for it in a state.
    pub job: fn(Glance, &[u8], &[u8]) -> Option<Job>,
    /// What is told of many jobs, where that is less to read than all of a job.
    pub brief: Option<Briefly>,
    /// Whether what stands in a key of a state is this job, by its id.
    pub is_job: fn(Glance, &[u8], &[u8], &[u8]) -> bool,
    /// The hashes of jobs, where each has a key of its own.
    pub job_hash: Option<JobHash>,
    /// Jobs that wait for others, of which none is left.
    pub stranded: fn(Glance, &[u8]) -> Vec<Vec<u8>>,
    /// The queues of jobs that jobs of this one wait for.
    pub children: fn(Glance, &[u8]) -> Vec<Vec<u8>>,
    pub schedules: fn(Glance, &[u8]) -> Vec<Schedule>,
    pub count_schedules: fn(Glance, &[u8]) -> usize,
    /// The jobs that one waits for, or waited for: at most so many.
    pub children_of: fn(Glance, &[u8], &[u8], usize) -> Vec<Relative>,
    /// How many of them it waits for.
    pub count_pending: fn(Glance, &[u8], &[u8]) -> usize,
    /// The end of the key of a stream in which the library itself writes what happens.
    pub events: Option<&'static str>,
    /// The end of the channel, and the message, at which workers look for what is due by then.
    pub wake_call: Option<(&'static str, &'static str)>,
    /// What a changed key tells of jobs, where there is no such stream.
    pub told: fn(Glance, &[u8], &dyn Remembered) -> Vec<Told>,
}

/// A library in which all is as it mostly is; each has its own for what differs.
pub const PLAIN: QueueLibrary = QueueLibrary {
    name: "",
    kept: &[],
    states: &[],
    takes_first: false,
    bases: |_, _| Vec::new(),
    is_queue: |_, _| false,
    display: |base| base,
    version: |_, _| None,
    no_jobs: |_, _, _| 0,
    due_ms: |score| score as i64,
    is_paused: |_, _| false,
    limited_until_ms: |_, _| None,
    lock: None,
    stall_check: None,
    asks: &[],
    workers: |_, _| Workers::default(),
    in_hand: |_, _| Vec::new(),
    stands: |_, _, _| Vec::new(),
    job: |_, _, _| None,
    brief: None,
    is_job: |_, _, member, id| member == id,
    job_hash: None,
    stranded: |_, _| Vec::new(),
    children: |_, _| Vec::new(),
    schedules: |_, _| Vec::new(),
    count_schedules: |_, _| 0,
    children_of: |_, _, _, _| Vec::new(),
    count_pending: |_, _, _| 0,
    events: None,
    wake_call: None,
    told: |_, _, _| Vec::new(),
};

/// What a library in Python has pickled, as Python prints it: it is read, and never run. What is no
/// pickle stays as it is.
pub fn printed(bytes: Vec<u8>) -> Vec<u8> {
    pickle::read(&bytes).map_or(bytes, String::into_bytes)
}

/// The base of a key `PREFIX:NAME:LAST`, if its last part is one of these.
pub fn base_before(key: &[u8], lasts: &[&str]) -> Vec<Vec<u8>> {
    let Some(at) = key.iter().rposition(|&byte| byte == b':') else { return Vec::new() };
    let (base, last) = (&key[..at], &key[at + 1..]);
    let is_base = lasts.iter().any(|it| it.as_bytes() == last) && base.contains(&b':');
    if is_base { vec![base.to_vec()] } else { Vec::new() }
}

/// What stands behind the last colon of a base.
pub fn after_last_colon(base: &[u8]) -> &[u8] {
    base.rsplit(|&byte| byte == b':').next().unwrap_or(base)
}

/// Whether a client has asked for a job in this way before, or asks for one.
pub fn has_asked(client: &Client, commands: &[&str]) -> bool {
    client.last_command.is_some_and(|found| commands.contains(&found.row.name))
}

/// The last line of a traceback of Python, which names the exception.
pub fn exception(traceback: &str) -> &str {
    traceback.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
}

/// A number in decimal digits.
pub fn number<T: std::str::FromStr>(text: Option<Vec<u8>>) -> Option<T> {
    std::str::from_utf8(&text?).ok()?.parse().ok()
}
