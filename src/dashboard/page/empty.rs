//! Before there is a queue: how to make the first one.

use super::{Drawn, Frame};
use maud::{Markup, html};

/// How a client of each language is pointed here. `PORT` stands for the port.
const SNIPPETS: &[(&str, &str)] = &[
    (
        "BullMQ",
        "import { Queue, Worker } from 'bullmq';\n\n\
         const connection = { host: '127.0.0.1', port: PORT };\n\
         const queue = new Queue('mail', { connection });\n\
         new Worker('mail', async (job) => console.log(job.data), { connection });\n\
         await queue.add('welcome', { to: 'ada@example.com' });\n",
    ),
    (
        "RQ",
        "from redis import Redis\nfrom rq import Queue\n\n\
         queue = Queue('mail', connection=Redis(port=PORT))\n\
         queue.enqueue('time.sleep', 1)\n# rq worker --url redis://127.0.0.1:PORT mail\n",
    ),
    (
        "Celery",
        "from celery import Celery\n\n\
         app = Celery('tasks', broker='redis://127.0.0.1:PORT/0')\n\n\
         @app.task\ndef welcome(to):\n    print(to)\n\nwelcome.delay('ada@example.com')\n",
    ),
    (
        "bee-queue",
        "const Queue = require('bee-queue');\n\n\
         const queue = new Queue('mail', { redis: { port: PORT } });\n\
         queue.process(async (job) => console.log(job.data));\n\
         queue.createJob({ to: 'ada@example.com' }).save();\n",
    ),
];

/// The view without a queue. It turns into the overview by itself when the first one appears.
pub fn draw(frame: &Frame) -> Drawn {
    let body = body(frame);
    Drawn::new(frame, html! { (body) }).with_part("empty", body)
}

fn body(frame: &Frame) -> Markup {
    let port = frame.port.to_string();
    html! {
        div class="empty" data-key="empty" {
            h1 { "No queue yet" }
            p { "Point a queue library here, and its queues appear by themselves." }
            @for (name, snippet) in SNIPPETS {
                details class="card snip" open[*name == "BullMQ"] {
                    summary { (name) }
                    pre class="json" { (snippet.replace("PORT", &port)) }
                }
            }
            p class="pulse" {
                (super::dot("waiting"))
                @if frame.walked_percent < 100 {
                    "Looking for queues: " (frame.walked_percent) " % of the keys"
                } @else { "Waiting for the first job" }
            }
        }
    }
}
