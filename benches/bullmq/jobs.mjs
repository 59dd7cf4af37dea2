// One run of BullMQ against one server, in a process of its own: no run inherits compiled code or
// garbage from the one before. Prints its figures as JSON.
//
//     node jobs.mjs speed|memory '{"port": 6379, "pid": 1, "sizes": {...}}'
//
// Every job must come by exactly once, or the run fails.

import { createRequire } from 'node:module';
import { cpuUs, HOST, residentBytes } from './servers.mjs';

const require = createRequire(new URL('../../tests/clients/package.json', import.meta.url));
const { Queue, Worker } = require('bullmq-6');

const IN_FLIGHT = 64;
const BULK_JOBS = 500;
/** Delays begin after all jobs have been added. */
const DELAY_MS_MIN = 2_000;
const HOUR_MS = 3_600_000;

const [mode, parameters] = process.argv.slice(2);
const { port, pid, sizes } = JSON.parse(parameters);
const connection = { host: HOST, port };

const figures = mode === 'speed' ? await measureSpeed() : await measureMemory();
console.log(JSON.stringify(figures));

async function measureSpeed() {
  // Node compiles what it runs often, and a server meets each script for the first time.
  await withQueue('warm-up', async (queue) => {
    await addOneByOne(queue, sizes.warmUp);
    await addBulk(queue, sizes.warmUp);
    await processAll(queue, 2 * sizes.warmUp, 50);
  });
  const add = await withQueue('add', (queue) =>
    timed(sizes.add, () => addOneByOne(queue, sizes.add)),
  );
  const bulk = await withQueue('bulk', (queue) =>
    timed(sizes.bulk, () => addBulk(queue, sizes.bulk)),
  );
  const process1 = await withQueue('process-1', async (queue) => {
    await addBulk(queue, sizes.process1);
    return timed(sizes.process1, () => processAll(queue, sizes.process1, 1));
  });
  const process50 = await withQueue('process-50', async (queue) => {
    await addBulk(queue, sizes.process50);
    return timed(sizes.process50, () => processAll(queue, sizes.process50, 50));
  });
  const delayed = await withQueue('delayed', measureLateness);
  return { add, bulk, process1, process50, delayed };
}

/** How much the server grows by jobs that wait for their time, a job. */
async function measureMemory() {
  return withQueue('memory', async (queue) => {
    await addBulk(queue, 1, { delay: HOUR_MS });
    const before = residentBytes(pid);
    await addBulk(queue, sizes.memory, { delay: HOUR_MS });
    await expectCounts(queue, { delayed: sizes.memory + 1 });
    return { memory: { bytes: (residentBytes(pid) - before) / sizes.memory } };
  });
}

async function withQueue(name, body) {
  const queue = new Queue(name, { connection });
  await queue.waitUntilReady();
  try {
    return await body(queue);
  } finally {
    await queue.close();
  }
}

/** Jobs a second, and what each cost the server. */
async function timed(count, body) {
  const startedUs = cpuUs(pid);
  const startedMs = performance.now();
  await body();
  const seconds = (performance.now() - startedMs) / 1000;
  return { rate: count / seconds, cpu: (cpuUs(pid) - startedUs) / count };
}

function payload(number) {
  return { number, to: `user${number}@example.com`, subject: 'Welcome', template: 'welcome-en' };
}

async function addOneByOne(queue, count) {
  let number = 0;
  const lane = async () => {
    while (number < count) await queue.add('mail', payload(number++));
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}

async function addBulk(queue, count, opts = {}) {
  for (let from = 0; from < count; from += BULK_JOBS) {
    const length = Math.min(BULK_JOBS, count - from);
    const job = (_, index) => ({ name: 'mail', data: payload(from + index), opts });
    await queue.addBulk(Array.from({ length }, job));
  }
}

/**
 * Runs a worker until `count` jobs are done, calling `begin` as each one starts with it and the
 * moment at which the worker's last blocking request was to end.
 */
async function processAll(queue, count, concurrency, begin = () => {}) {
  const starts = new Map();
  let completed = 0;
  let askedMs = 0;
  const processor = async (job) => {
    begin(job, askedMs);
    starts.set(job.id, (starts.get(job.id) ?? 0) + 1);
  };
  const worker = new Worker(queue.name, processor, { connection, concurrency, autorun: false });
  const { backend } = worker;
  const wait = backend.waitForJob;
  backend.waitForJob = (timeoutS) => {
    askedMs = nowMs() + timeoutS * 1000;
    return wait.call(backend, timeoutS);
  };
  await new Promise((resolve, reject) => {
    worker.on('error', reject);
    worker.on('failed', (_, error) => reject(error));
    worker.on('completed', () => ++completed === count && resolve());
    worker.run();
  });
  await worker.close();
  const twice = [...starts].filter(([, times]) => times !== 1);
  if (starts.size !== count || twice.length > 0) {
    throw new Error(`${starts.size} of ${count} jobs have run, ${twice.length} more than once`);
  }
  await expectCounts(queue, { completed: count });
}

async function expectCounts(queue, expected) {
  const counts = await queue.getJobCounts();
  for (const [state, count] of Object.entries(counts)) {
    if (count !== (expected[state] ?? 0)) {
      throw new Error(`${queue.name}: ${count} jobs are ${state}`);
    }
  }
}

function nowMs() {
  return performance.timeOrigin + performance.now();
}

/**
 * From the moment that a job is due to the first line of its processor, in milliseconds; and from
 * the end of the time-out that BullMQ asked for, which is up to 1 ms later: it counts in whole ones.
 */
async function measureLateness(queue) {
  const jobs = Array.from({ length: sizes.delayed }, (_, number) => ({
    name: 'mail',
    data: payload(number),
    opts: { delay: DELAY_MS_MIN + Math.floor(Math.random() * sizes.delayedSpanMs) },
  }));
  await queue.addBulk(jobs);
  const [late, lateAsked] = [[], []];
  await processAll(queue, sizes.delayed, 10, (job, askedMs) => {
    // `job.delay` is zero by now.
    const dueMs = job.timestamp + job.opts.delay;
    // A job that begins right after another was not waited for.
    const wasAsked = askedMs >= dueMs && askedMs <= dueMs + 1;
    late.push(nowMs() - dueMs);
    lateAsked.push(nowMs() - (wasAsked ? askedMs : dueMs));
  });
  return { ...quantiles(late, ''), ...quantiles(lateAsked, 'Asked') };
}

function quantiles(figures, name) {
  const sorted = figures.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return { [`p50${name}`]: at(0.5), [`p99${name}`]: at(0.99), [`max${name}`]: at(1) };
}
