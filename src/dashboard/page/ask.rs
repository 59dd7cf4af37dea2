//! The dialogs: what an action will touch, and what it wants to know, before it is done.

use super::chips::Like;
use super::text;
use crate::dashboard::{Trouble, actions::Offers};
use crate::engine::Engine;
use crate::queues::{Glance, Job, JobState, Queue, Role, sidekiq_processes};
use maud::{Markup, html};
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};

/// The keys of a job beside its hash.
const JOB_KEYS: &[&str] = &["", ":logs", ":dependencies", ":processed", ":failed", ":unsuccessful"];

/// What is asked.
pub struct Dialog {
    pub title: String,
    /// What will be touched.
    pub say: String,
    pub fields: Markup,
    /// What the button says that does it; empty if there is nothing to do.
    pub button: String,
    /// It cannot be taken back.
    pub is_removal: bool,
    pub order: Json,
}

/// What a dialog is about.
struct Asked<'e> {
    engine: &'e Engine,
    queue: &'e Queue,
    name: String,
    /// The jobs that are named, as they are written in addresses.
    ids: Vec<String>,
    query: &'e str,
}

type Ask = fn(&Asked) -> Result<Dialog, Trouble>;

const ASKS: &[(&str, Ask)] = &[
    ("add", add),
    ("clean", clean),
    ("clear", clear),
    ("data", data),
    ("deduplication", deduplication),
    ("delay", delay),
    ("drain", drain),
    ("limits", limits),
    ("obliterate", obliterate),
    ("priority", priority),
    ("quiet", quiet),
    ("remove", remove),
    ("retry", retry),
    ("unlock", unlock),
    ("unschedule", unschedule),
];

/// The dialog before an action.
///
/// # Errors
/// There is none, or what it would be about has gone.
pub fn draw(
    engine: &Engine,
    queue: &Queue,
    id: &str,
    action: &str,
    query: &str,
) -> Result<String, Trouble> {
    let known = ASKS.iter().find(|(name, _)| *name == action);
    let known = known.filter(|_| Offers::of(engine, queue).has(action));
    let Some((_, ask)) = known else {
        return Err(Trouble::Absent(format!("nothing is asked before '{action}'")));
    };
    let name = text::lossy(queue.name());
    let ids = field(query, "ids").unwrap_or_default();
    let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let asked = Asked { engine, queue, name, ids, query };
    Ok(form_of(&format!("queues/{id}/{action}"), ask(&asked)?))
}

/// A dialog as HTML. `place` is what is asked for once it is confirmed.
pub fn form_of(place: &str, dialog: Dialog) -> String {
    let class = if dialog.is_removal { "btn stop" } else { "btn primary" };
    let close = match (dialog.button.is_empty(), dialog.is_removal) {
        (true, _) => "Close",
        (false, true) => "Keep",
        (false, false) => "Cancel",
    };
    let html = html! {
        form data-act=(place) data-order=(dialog.order) {
            header { h2 id="ask-title" { (dialog.title) } }
            @if !dialog.say.is_empty() { p class="say" { (dialog.say) } }
            (dialog.fields)
            footer {
                button type="button" class="btn" data-close { (close) }
                @if !dialog.button.is_empty() { button class=(class) { (dialog.button) } }
            }
        }
    };
    html.into_string()
}

/// A field of a query, as it is written.
pub fn field<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

impl Asked<'_> {
    fn jobs(&self) -> impl Iterator<Item = Job> {
        self.ids.iter().filter_map(|id| self.queue.job(self.engine, &decoded(id)))
    }

    /// The first of the jobs.
    ///
    /// # Errors
    /// It is not there.
    fn job(&self) -> Result<Job, Trouble> {
        let first = self.jobs().next();
        first.ok_or_else(|| Trouble::Absent("this job is not there any more".into()))
    }

    /// The state that the query names, and how many jobs are in it.
    ///
    /// # Errors
    /// The library has no such state.
    fn state(&self) -> Result<(&'static JobState, usize), Trouble> {
        let name = text::lossy(&decoded(field(self.query, "state").unwrap_or_default()));
        let mut states = self.queue.library.states.iter();
        let state = states.find(|state| state.name == name);
        let state = state.ok_or_else(|| Trouble::Absent(format!("there is no state '{name}'")))?;
        Ok((state, self.queue.count(self.engine, state)))
    }

    /// How the jobs that are named are called: `job 397`, `3 jobs`.
    fn named(&self) -> String {
        match &*self.ids {
            [id] => format!("job {}", text::excerpt(&decoded(id), 40)),
            ids => text::jobs(ids.len()),
        }
    }

    fn ids_order(&self) -> Json {
        json!({ "ids": self.ids })
    }
}

/// A field of a form.
pub fn input(label: &str, name: &str, value: &str, hint: &str) -> Markup {
    html! {
        label {
            (label)
            input name=(name) value=(value) placeholder=(hint) autocomplete="off";
        }
    }
}

fn check(label: &str, name: &str) -> Markup {
    html! { label class="check" { input type="checkbox" name=(name); span { (label) } } }
}

pub fn form(fields: Markup) -> Markup {
    html! { div class="form" { (fields) } }
}

pub fn area(label: &str, name: &str, text: &str) -> Markup {
    html! {
        label {
            (label)
            textarea name=(name) rows="7" class="mono" spellcheck="false" { (text) }
        }
    }
}

/// JSON as it is edited: with an indent, unless it would lose by that.
pub fn pretty(text: &[u8]) -> String {
    let parsed: Option<Json> = serde_json::from_slice(text).ok();
    let same = parsed.filter(|json| json.to_string().as_bytes() == text);
    let told = same.and_then(|json| serde_json::to_string_pretty(&json).ok());
    told.unwrap_or_else(|| text::lossy(text))
}

fn add(asked: &Asked) -> Result<Dialog, Trouble> {
    let like = asked.jobs().next();
    let title = match &like {
        Some(_) => format!("A new job like {}", asked.named()),
        None => format!("Add a job to {}", asked.name),
    };
    let job = like.unwrap_or_default();
    let data = if job.data.is_empty() { "{}".into() } else { pretty(&job.data) };
    let priority = if job.priority > 0 { job.priority.to_string() } else { String::new() };
    let attempts = job.attempts_max.max(1).to_string();
    let fields = form(html! {
        (input("Name", "name", &text::lossy(&job.name), "welcome"))
        (area("Data", "data", &data))
        div class="pair" {
            (input("Delay", "delay", "", "none, or 5m"))
            (input("Priority", "priority", &priority, "none"))
            (input("Attempts", "attempts", &attempts, "1"))
        }
    });
    let (say, button, order) = (String::new(), "Add".into(), asked.ids_order());
    Ok(Dialog { title, say, fields, button, is_removal: false, order })
}

fn data(asked: &Asked) -> Result<Dialog, Trouble> {
    let job = asked.job()?;
    let is_at_work = asked.queue.state_of(asked.engine, &job.id);
    let is_at_work = is_at_work.is_some_and(|state| state.role == Role::Working);
    let say = match is_at_work {
        true => "A worker has it: this attempt works on with what it was given.".into(),
        false => String::new(),
    };
    Ok(Dialog {
        title: format!("Data of {}", asked.named()),
        say,
        fields: form(area("Data", "data", &pretty(&job.data))),
        button: "Save".into(),
        is_removal: false,
        order: asked.ids_order(),
    })
}

fn delay(asked: &Asked) -> Result<Dialog, Trouble> {
    Ok(Dialog {
        title: format!("When is {} to run?", asked.named()),
        say: String::new(),
        fields: form(input("From now", "delay", "", "30s, 5m, 2h")),
        button: "Change".into(),
        is_removal: false,
        order: asked.ids_order(),
    })
}

fn priority(asked: &Asked) -> Result<Dialog, Trouble> {
    let job = asked.job()?;
    Ok(Dialog {
        title: format!("Priority of {}", asked.named()),
        say: "1 comes first, larger numbers later. Jobs without a priority come before all others."
            .into(),
        fields: form(input("Priority", "priority", &job.priority.to_string(), "0 for none")),
        button: "Change".into(),
        is_removal: false,
        order: asked.ids_order(),
    })
}

fn deduplication(asked: &Asked) -> Result<Dialog, Trouble> {
    let job = asked.job()?;
    Ok(Dialog {
        title: "Let others like it come again?".into(),
        say: format!(
            "While {} is there, jobs with the deduplication {} are not added.",
            asked.named(),
            text::excerpt(&job.deduplication, 80)
        ),
        fields: html! {},
        button: "Let them come".into(),
        is_removal: false,
        order: asked.ids_order(),
    })
}

/// What goes with jobs that are removed.
pub const GOES: &str = "Nothing brings them back.";

fn remove(asked: &Asked) -> Result<Dialog, Trouble> {
    let mut dialog = removal(asked);
    // Only BullMQ has children, and so many keys beside a job's own.
    if asked.queue.library.name != "BullMQ" {
        dialog.say = format!("What is kept of them goes as well. {GOES}");
    }
    Ok(dialog)
}

fn removal(asked: &Asked) -> Dialog {
    let view = Glance::new(asked.engine, asked.queue.db);
    let (mut keys, mut parents) = (0, 0);
    for id in &asked.ids {
        let job = [&asked.queue.base, &b":"[..], &decoded(id)].concat();
        let has = |end: &&&str| view.exists(&[&job, end.as_bytes()].concat());
        keys += JOB_KEYS.iter().filter(has).count();
        parents += usize::from(JOB_KEYS[2..].iter().any(|end| has(&end)));
    }
    let below = match parents {
        0 => "",
        _ => " Their children go as well, in whichever queue they are.",
    };
    let keys = format!("{} {}", text::number(keys), if keys == 1 { "key" } else { "keys" });
    Dialog {
        title: format!("Remove {}?", asked.named()),
        say: format!("Data, logs and errors go as well: {keys}.{below} {GOES}"),
        fields: html! {},
        button: format!("Remove {}", asked.named()),
        is_removal: true,
        order: asked.ids_order(),
    }
}

/// Jobs in a state, in words: `34 failed jobs`.
fn in_state(state: &JobState, count: usize) -> String {
    let jobs = if count == 1 { "job" } else { "jobs" };
    format!("{} {} {jobs}", text::number(count), state.name)
}

fn clean(asked: &Asked) -> Result<Dialog, Trouble> {
    let (state, count) = asked.state()?;
    let has_ended = matches!(state.role, Role::Completed | Role::Failed);
    let stay = match state.role {
        Role::Working => " Those that a worker holds stay.",
        Role::Later if asked.queue.count_schedules(asked.engine) > 0 => {
            " The next run of each scheduler stays."
        }
        _ => "",
    };
    let is_by_age = has_ended && Offers::of(asked.engine, asked.queue).can_narrow();
    let like = Like::read(asked.query);
    let jobs = match like.is_all() {
        true => in_state(state, count),
        false => format!("all {} jobs like this", state.name),
    };
    Ok(Dialog {
        title: format!("Remove {jobs} of {}?", asked.name),
        say: format!("Their data, logs and errors go as well.{stay} {GOES}"),
        fields: html! {
            @if is_by_age {
                (form(input("Only those that ended longer ago than", "older", "", "all, or 7d")))
            }
        },
        button: format!("Remove {jobs}"),
        is_removal: true,
        order: like.narrow(json!({ "state": state.name, "count": count })),
    })
}

/// All that waits.
fn clear(asked: &Asked) -> Result<Dialog, Trouble> {
    let waiting = text::jobs(asked.queue.look(asked.engine).waiting);
    Ok(Dialog {
        title: format!("Clear {}?", asked.name),
        say: format!(
            "{waiting} that wait for a worker are removed; what comes later stays. {GOES}"
        ),
        fields: html! {},
        button: format!("Remove {waiting}"),
        is_removal: true,
        order: json!({}),
    })
}

fn quiet(asked: &Asked) -> Result<Dialog, Trouble> {
    let names = sidekiq_processes(Glance::new(asked.engine, asked.queue.db), &asked.queue.base);
    let count = match names.len() {
        1 => "1 process".into(),
        count => format!("{} processes", text::number(count)),
    };
    Ok(Dialog {
        title: format!("Quiet the processes of {}?", asked.name),
        say: format!(
            "{count} end what they do and take no more jobs, of other queues neither, until they \
             are started anew."
        ),
        fields: html! {},
        button: format!("Quiet {count}"),
        is_removal: true,
        order: json!({}),
    })
}

fn retry(asked: &Asked) -> Result<Dialog, Trouble> {
    let (state, count) = asked.state()?;
    let jobs = in_state(state, count);
    Ok(Dialog {
        title: format!("Run {jobs} of {} again?", asked.name),
        say: "Each waits for a worker again, with the data that it had.".into(),
        fields: html! {},
        button: format!("Run {jobs} again"),
        is_removal: false,
        order: json!({ "state": state.name, "count": count }),
    })
}

fn drain(asked: &Asked) -> Result<Dialog, Trouble> {
    let look = asked.queue.look(asked.engine);
    let waiting = look.waiting + look.held;
    let delayed = format!("and {} that are delayed", text::jobs(look.delayed));
    Ok(Dialog {
        title: format!("Drain {}?", asked.name),
        say: format!(
            "{} that wait for a worker are removed; what runs or has ended stays. {GOES}",
            text::jobs(waiting)
        ),
        fields: form(check(&delayed, "delayed")),
        button: "Drain".into(),
        is_removal: true,
        order: json!({}),
    })
}

fn limits(asked: &Asked) -> Result<Dialog, Trouble> {
    let view = Glance::new(asked.engine, asked.queue.db);
    let meta = [&asked.queue.base, &b":meta"[..]].concat();
    let told = |field: &str| view.field(&meta, field).map(|it| text::lossy(&it));
    let duration = told("duration").and_then(|it| it.parse().ok());
    let duration = duration.map_or(String::new(), |ms: u64| {
        if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
    });
    let get = |field: &str| told(field).unwrap_or_default();
    Ok(Dialog {
        title: format!("Limits of {}", asked.name),
        say: "They hold for all workers together. Empty is without bound.".into(),
        fields: form(html! {
            (input("Jobs at once", "concurrency", &get("concurrency"), "any number"))
            div class="pair" {
                (input("Jobs", "max", &get("max"), "any number"))
                (input("within", "duration", &duration, "1m"))
            }
        }),
        button: "Change".into(),
        is_removal: false,
        order: json!({}),
    })
}

fn obliterate(asked: &Asked) -> Result<Dialog, Trouble> {
    let states = asked.queue.library.states.iter();
    let all: usize = states.map(|state| asked.queue.count(asked.engine, state)).sum();
    let active = asked.queue.look(asked.engine).active;
    let running = format!("also the {} that run now", text::jobs(active));
    Ok(Dialog {
        title: format!("Remove all of {}?", asked.name),
        say: format!(
            "Its {}, its schedulers, events and limits go. Workers that are connected stay so, and \
             find an empty queue. {GOES}",
            text::jobs(all)
        ),
        fields: form(html! {
            (input(&format!("Type {} to remove it", asked.name), "confirm", "", ""))
            @if active > 0 { (check(&running, "force")) }
        }),
        button: "Remove the queue".into(),
        is_removal: true,
        order: json!({}),
    })
}

fn unlock(asked: &Asked) -> Result<Dialog, Trouble> {
    let job = asked.job()?;
    let worker = text::excerpt(&job.worker, 40);
    let worker = if worker.is_empty() { "its worker".into() } else { worker };
    Ok(Dialog {
        title: format!("Drop the lock of {}?", asked.named()),
        say: format!(
            "Only for a worker that is dead: if {worker} still works on it, it runs twice. The \
             next look for stalled jobs, every 30 s mostly, gives it to another worker, or lets it \
             fail if it has stalled too often."
        ),
        fields: html! {},
        button: "Drop the lock".into(),
        is_removal: true,
        order: asked.ids_order(),
    })
}

fn unschedule(asked: &Asked) -> Result<Dialog, Trouble> {
    let scheduler = field(asked.query, "scheduler").unwrap_or_default();
    let name = text::excerpt(&decoded(scheduler), 60);
    Ok(Dialog {
        title: format!("Remove the scheduler {name}?"),
        say: "Its next run goes as well. A run that waits for a worker already stays.".into(),
        fields: html! {},
        button: "Remove the scheduler".into(),
        is_removal: true,
        order: json!({ "scheduler": scheduler }),
    })
}
