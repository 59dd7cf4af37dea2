// One fault beside real BullMQ, and what comes of it. A job runs before the fault; the handler of a
// second one ends in the middle of it; a third is added during it, and a fourth when it is over.

import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const { Queue, Worker } = createRequire(import.meta.url)('bullmq-6');

/** How long a fault lasts. */
export const FAULT_MS = 2_000;

/** When the handler ends that runs across it. */
const ACROSS_MS = 300;

/** Longer than anything here takes that ends at all, on a machine with other things to do. */
const PATIENCE_MS = 20_000;

/** More errors than these are a storm: tries without a pause between them. */
const STORM = 10;

/** What is told of an error: its code, or that of the connection, or what BullMQ says. */
const KNOWN =
  /^(READONLY|LOADING|MISCONF|OOM|BUSY|NOSCRIPT|UNBLOCKED)|ECONNRESET|ECONNREFUSED|EPIPE|Missing \w+ for job|max number of clients/;

async function until(question, ms = PATIENCE_MS) {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    if (await question()) return true;
    await sleep(5);
  }
  return false;
}

const within = (promise, ms) => {
  const settled = promise.then(
    () => 'ok',
    (error) => code(error),
  );
  return Promise.race([settled, sleep(ms).then(() => 'pending')]);
};

const code = (error) => error.message.match(KNOWN)?.[0] ?? error.message;

/**
 * What comes of a fault that `begin` sets off and `end` ends. `control` is a connection that the
 * fault does not hit; `never_ms` is how long is waited for what should not come.
 */
export async function outcome({ port, control, begin, end, never_ms, stalls }) {
  const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
  const errors = new Map();
  const note = (error) => errors.set(code(error), (errors.get(code(error)) ?? 0) + 1);
  const queue = new Queue('q', { connection });
  const runs = {};
  let release;
  const work = async (job) => {
    runs[job.name] = (runs[job.name] ?? 0) + 1;
    // A second run is that of a job which counted as stalled.
    if (job.name === 'across' && !release) await new Promise((resolve) => (release = resolve));
  };
  // What is lost counts as stalled long after the fault, on however busy a machine.
  const options = { connection, lockDuration: 6_000, stalledInterval: 1_000 };
  const worker = new Worker('q', work, options);
  for (const thing of [queue, worker]) thing.on('error', note);
  try {
    await queue.add('before', {});
    await until(() => runs.before);
    await queue.add('across', {});
    await until(() => release);
    await until(async () => (await control.hget('bull:q:1', 'finishedOn')) !== null);

    await begin();
    const during = within(queue.add('during', {}), FAULT_MS - 100);
    await sleep(ACROSS_MS);
    release();
    await sleep(FAULT_MS - ACROSS_MS);
    const add = await during;
    await end();

    const ended = performance.now();
    queue.add('after', {}).catch(note);
    const resumes = await until(() => runs.after, never_ms ?? PATIENCE_MS);
    const took_ms = Math.round(performance.now() - ended);
    await sleep(300);
    const [active, total] = await Promise.all([
      control.lrange('bull:q:active', 0, -1),
      control.get('bull:q:id'),
    ]);
    const told = {
      add,
      errors: [...errors.keys()].sort(),
      is_storm: [...errors.values()].some((count) => count > STORM),
      resumes,
      active: active.length,
      jobs: Number(total),
    };
    // Whoever lost a job finds it again.
    if (stalls) told.runs_twice = await until(() => runs.across > 1);
    return { told, took_ms, errors: Object.fromEntries(errors) };
  } finally {
    await Promise.race([Promise.all([worker.close(true), queue.close()]), sleep(500)]);
    for (const thing of [worker, queue]) await thing.disconnect?.().catch(() => {});
  }
}
