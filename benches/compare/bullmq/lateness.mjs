// How late delayed jobs begin: from the moment that a job is due to the first line of its
// processor, in milliseconds; and from the end of the time-out that BullMQ asked for, which is up
// to 1 ms later: it counts in whole ones. They are due at even distances, and a worker has run
// before. Where `sizes.isFixed` is set the server is the probe's `fixed`, which makes the jobs up.

import { cpuUs } from '../servers.mjs';
import { addBulk, nowMs, pid, processAll, sizes, withQueue, work } from './client.mjs';

/** A server may be asked twice: its queues are each process's own. */
const own = (name) => `${name}-${process.pid}`;

/** They are all added by then. */
const FIRST_MS = 1_500;
const CONCURRENCY = 10;

const [late, lateAsked] = [[], []];
let busy;
if (sizes.isFixed) {
  await work('delayed', sizes.fixedWarmUp + sizes.delayed, CONCURRENCY, note);
  for (const list of [late, lateAsked]) list.splice(0, sizes.fixedWarmUp);
} else {
  await withQueue(own('warm-up'), async (queue) => {
    await addBulk(queue, sizes.warmUp);
    await processAll(queue, sizes.warmUp, CONCURRENCY);
  });
  await withQueue(own('delayed'), async (queue) => {
    const delay = (number) => FIRST_MS + Math.round((number * sizes.spanMs) / sizes.delayed);
    await addBulk(queue, sizes.delayed, { opts: (number) => ({ delay: delay(number) }) });
    const [startedUs, startedMs] = [cpuUs(pid), nowMs()];
    await processAll(queue, sizes.delayed, CONCURRENCY, { begin: note });
    busy = (cpuUs(pid) - startedUs) / 10 / (nowMs() - startedMs);
  });
}
console.log(JSON.stringify({ due: quantiles(late), asked: quantiles(lateAsked), cpu: { busy } }));

function note(job, askedMs) {
  // `job.delay` is zero by now.
  const dueMs = job.timestamp + job.opts.delay;
  // A job that begins right after another was not waited for.
  const wasAsked = askedMs >= dueMs && askedMs <= dueMs + 1;
  late.push(nowMs() - dueMs);
  lateAsked.push(nowMs() - (wasAsked ? askedMs : dueMs));
}

function quantiles(figures) {
  const sorted = figures.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
