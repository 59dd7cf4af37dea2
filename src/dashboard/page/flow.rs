//! Flows: jobs that wait for others, all of them as a list, and one as a tree with a common axis of
//! time, so that the slow one is seen.

use super::{Drawn, Frame, Page, Row, class_of, dot, moment, text};
use crate::dashboard::{Trouble, ids, watch::Watch};
use crate::engine::Engine;
use crate::queues::{Job, JobState, Queue, Relative, Role};
use maud::{Markup, html};
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};

/// As many are listed.
const SHOWN_MAX: usize = 200;

/// How deep a tree is shown, and how many jobs of it.
const DEPTH_MAX: usize = 20;
const NODES_MAX: usize = 1_000;

/// Jobs that wait for their children.
pub struct FlowsPage {
    lines: Vec<Line>,
    count: usize,
}

struct Line {
    queue_id: String,
    queue: String,
    job: Job,
    pending: usize,
}

impl FlowsPage {
    pub fn new(watch: &Watch, engine: &Engine) -> Self {
        let (mut lines, mut count) = (Vec::new(), 0);
        for queue in watch.queues() {
            let blocked = queue.library.states.iter().filter(|it| it.role == Role::Blocked);
            for state in blocked {
                count += queue.count(engine, state);
                let room = SHOWN_MAX.saturating_sub(lines.len());
                for id in queue.ids(engine, state, 0..room) {
                    let Some(job) = queue.job(engine, &id) else { continue };
                    let pending = queue.count_pending(engine, &id);
                    let queue_id = ids::of_queue(&queue);
                    lines.push(Line { queue_id, queue: text::lossy(queue.name()), job, pending });
                }
            }
        }
        Self { lines, count }
    }
}

impl Line {
    fn key(&self) -> String {
        format!("flow-{}-{}", self.queue_id, ids::segment(&self.job.id))
    }

    fn row(&self) -> Markup {
        html! {
            tr data-key=(self.key()) {
                td class="c-name" {
                    a href={ "#/flow/" (self.queue_id) "/" (ids::segment(&self.job.id)) } {
                        b { (text::excerpt(&self.job.name, 60)) } " "
                        span class="faint" { (text::excerpt(&self.job.id, 40)) }
                    }
                }
                td { span class="tag" { (self.queue) } }
                td class="num" { "waits for " (text::number(self.pending)) }
                td class="num hide-s" {
                    @if let Some(ms) = self.job.added_ms { (moment(ms, "ago")) }
                }
            }
        }
    }
}

impl Page for FlowsPage {
    fn title(&self) -> String {
        "Flows".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let rows = self.lines.iter().map(|line| Row { key: line.key(), html: line.row() });
        let said = html! {
            (text::jobs(self.count)) " of all queues that wait for others"
        };
        let heads = html! {
            th { "Job" } th { "Queue" } th class="num" { "Children" }
            th class="num hide-s" { "Added" }
        };
        Drawn::table(frame, &self.title(), &said, &heads, ("flows", rows.collect()))
    }

    fn json(&self) -> Json {
        let all = self.lines.iter().map(|line| {
            json!({
                "id": text::lossy(&line.job.id), "queue": line.queue, "pending": line.pending,
            })
        });
        json!({ "flows": all.collect::<Vec<_>>(), "count": self.count })
    }
}

/// A job with all that it waits for, or waited for.
pub struct FlowPage {
    root: Node,
    /// From when to when it lasts.
    axis: (i64, i64),
    count: usize,
}

struct Node {
    queue_id: String,
    queue: String,
    id: Vec<u8>,
    /// None if it is gone.
    job: Option<Job>,
    state: Option<&'static JobState>,
    due_ms: Option<i64>,
    children: Vec<Node>,
    /// Why its children are not shown.
    cut: Option<&'static str>,
}

/// What a tree is made from.
struct Growing<'e> {
    watch: &'e Watch,
    engine: &'e Engine,
    db: usize,
    count: usize,
}

impl Growing<'_> {
    fn queue(&self, base: &[u8]) -> Option<Queue> {
        let mut all = self.watch.queues().into_iter();
        all.find(|queue| queue.db == self.db && *queue.base == *base)
    }

    /// `above` are the jobs between the root and this one.
    fn node(&mut self, relative: &Relative, above: &mut Vec<Relative>) -> Node {
        self.count += 1;
        let queue = self.queue(&relative.base);
        let id = &relative.id;
        let job = queue.as_ref().and_then(|queue| queue.job(self.engine, id));
        let state = queue.as_ref().and_then(|queue| queue.state_of(self.engine, id));
        let due_ms =
            queue.as_ref().zip(state).and_then(|(it, state)| it.due_ms(self.engine, state, id));
        let mut node = Node {
            queue_id: queue.as_ref().map(ids::of_queue).unwrap_or_default(),
            queue: text::lossy(queue.as_ref().map_or(&*relative.base, Queue::name)),
            id: id.clone(),
            job,
            state,
            due_ms,
            children: Vec::new(),
            cut: None,
        };
        let Some(queue) = queue else { return node };
        if above.contains(relative) {
            node.cut = Some("waits for itself");
            return node;
        }
        let room = NODES_MAX.saturating_sub(self.count);
        let children = queue.children_of(self.engine, id, room + 1);
        if !children.is_empty() && above.len() >= DEPTH_MAX {
            node.cut = Some("and more below");
            return node;
        }
        above.push(relative.clone());
        for child in &children {
            if self.count >= NODES_MAX {
                node.cut = Some("and more");
                break;
            }
            node.children.push(self.node(child, above));
        }
        above.pop();
        node
    }
}

impl FlowPage {
    /// # Errors
    /// There is no such job.
    pub fn new(
        watch: &Watch,
        engine: &Engine,
        queue: &Queue,
        segment: &str,
    ) -> Result<Self, Trouble> {
        let id: Vec<u8> = percent_decode_str(segment).collect();
        let absent = || Trouble::Absent("this job is not there any more".into());
        queue.job(engine, &id).ok_or_else(absent)?;
        let mut growing = Growing { watch, engine, db: queue.db, count: 0 };
        let mut root = Relative { base: queue.base.to_vec(), id };
        // The whole family is shown, from the first of them on.
        for _ in 0..DEPTH_MAX {
            let job = growing.queue(&root.base).and_then(|it| it.job(engine, &root.id));
            let parent = job.and_then(|job| Relative::of_key(&job.parent));
            let known = parent.filter(|it| {
                growing.queue(&it.base).is_some_and(|queue| queue.job(engine, &it.id).is_some())
            });
            let Some(parent) = known else { break };
            root = parent;
        }
        let root = growing.node(&root, &mut Vec::new());
        let now_ms = engine.keyspace.now.wall_ms;
        let axis = (root.first_ms().unwrap_or(now_ms), root.last_ms(now_ms));
        Ok(Self { root, axis, count: growing.count })
    }

    fn line(&self, node: &Node) -> Markup {
        let class = node.state.map_or("waiting", |state| class_of(state.role));
        html! {
            li {
                div class="line" {
                    (dot(class))
                    @match &node.job {
                        Some(job) => {
                            a href={ "#/job/" (node.queue_id) "/" (ids::segment(&node.id)) } {
                                b { (text::excerpt(&job.name, 40)) } " "
                                span class="faint" { (text::excerpt(&node.id, 20)) }
                            }
                        }
                        None => { span class="faint" { (text::excerpt(&node.id, 20)) } }
                    }
                    span class="tag" { (node.queue) }
                    (self.bar(node, class))
                    span class="what" { (node.what()) }
                }
                @if !node.children.is_empty() {
                    ul { @for child in &node.children { (self.line(child)) } }
                }
            }
        }
    }

    /// When it ran, on the axis that all share.
    fn bar(&self, node: &Node, class: &str) -> Markup {
        let (first_ms, last_ms) = self.axis;
        let at = |ms: i64| (ms - first_ms) as f64 * 100.0 / (last_ms - first_ms).max(1) as f64;
        let span = node.span_ms(last_ms).map(|(start, end)| {
            (at(start).clamp(0.0, 99.0), (at(end) - at(start)).clamp(1.0, 100.0))
        });
        let waits = node.job.as_ref().is_some_and(|job| job.started_ms.is_none());
        html! {
            svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
                @if let Some((x, width)) = span {
                    rect class={ (class) @if waits { " pale" } } x=(format!("{x:.1}")) y="0" rx="1"
                        width=(format!("{width:.1}")) height="6" {}
                }
            }
        }
    }
}

impl Node {
    fn first_ms(&self) -> Option<i64> {
        let own = self.job.as_ref().and_then(|job| job.added_ms);
        own.into_iter().chain(self.children.iter().filter_map(Node::first_ms)).min()
    }

    /// The last end of all, or now if one has none.
    fn last_ms(&self, now_ms: i64) -> i64 {
        let own = self.job.as_ref().map_or(0, |job| job.ended_ms.unwrap_or(now_ms));
        self.children.iter().map(|child| child.last_ms(now_ms)).fold(own, i64::max)
    }

    /// From when to when it ran, or has waited; nothing for one whose moment has not come.
    fn span_ms(&self, last_ms: i64) -> Option<(i64, i64)> {
        let job = self.job.as_ref()?;
        if self.state.is_some_and(|state| state.role == Role::Later) {
            return None;
        }
        let start = job.started_ms.or(job.added_ms)?;
        Some((start, job.ended_ms.unwrap_or(last_ms).max(start)))
    }

    fn what(&self) -> Markup {
        let Some(job) = &self.job else { return html! { "is gone" } };
        if let Some(cut) = self.cut {
            return html! { (cut) };
        }
        let ran = match (job.started_ms, job.ended_ms) {
            (Some(start), Some(end)) => text::span_text((end - start).max(0) as u64),
            _ => String::new(),
        };
        let pending = |it: &&Node| it.job.as_ref().is_none_or(|job| job.ended_ms.is_none());
        let pending = self.children.iter().filter(pending).count();
        match self.state.map(|state| state.role) {
            Some(Role::Failed) => html! { span class="err" { "failed after " (ran) } },
            Some(Role::Blocked) => html! { "waits for " (pending) },
            Some(Role::Later) => html! {
                @if let Some(ms) = self.due_ms { "due in " (moment(ms, "left")) }
            },
            Some(Role::Ready) => html! { "waits for a worker" },
            Some(Role::Held) => html! { "queue is paused" },
            Some(Role::Working) => html! {
                "runs since " @if let Some(ms) = job.started_ms { (moment(ms, "ago")) }
            },
            Some(Role::Completed) | None => html! { (ran) },
        }
    }

    fn json(&self) -> Json {
        json!({
            "id": text::lossy(&self.id), "queue": self.queue, "gone": self.job.is_none(),
            "state": self.state.map(|state| state.name),
            "children": self.children.iter().map(Node::json).collect::<Vec<_>>(),
        })
    }
}

impl Page for FlowPage {
    fn title(&self) -> String {
        let name = self.root.job.as_ref().map(|job| text::excerpt(&job.name, 60));
        format!("Flow {}", name.unwrap_or_default())
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let (first_ms, last_ms) = self.axis;
        let tree = html! {
            section class="card" data-key="tree" {
                header {
                    h2 { (text::jobs(self.count)) }
                    span class="side-note" {
                        "bars from left to right: "
                        (text::span_text((last_ms - first_ms).max(0) as u64 / 1000 * 1000))
                    }
                }
                ul class="tree" { (self.line(&self.root)) }
            }
        };
        let body = html! {
            div class="head" {
                div {
                    p class="crumbs" { a href="#/flows" { "Flows" } " / " }
                    h1 { (self.title()) }
                }
            }
            (tree)
        };
        Drawn::new(frame, body).with_part("tree", tree)
    }

    fn json(&self) -> Json {
        self.root.json()
    }
}
