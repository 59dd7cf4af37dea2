// What the programs beside this one share. Each is a client of one server in a process of its own,
// so that no run inherits compiled code or garbage from the one before:
//
//     node PROGRAM.mjs '{"port": 6379, "pid": 1, "sizes": {...}}'
//
// It prints its figures as JSON. Every job must come by exactly once, or it ends with MISCOUNTED.

import { createRequire } from 'node:module';
import { cpuUs, HOST, MISCOUNTED } from '../servers.mjs';

const clients = new URL('../../../tests/clients/package.json', import.meta.url);
export const require = createRequire(clients);
const { Queue, Worker } = require('bullmq-6');

const IN_FLIGHT = 64;
const BULK_JOBS = 500;

export const { port, pid, sizes } = JSON.parse(process.argv[2]);
export const connection = { host: HOST, port };

export async function withQueue(name, body) {
  const queue = new Queue(name, { connection });
  await queue.waitUntilReady();
  try {
    return await body(queue);
  } finally {
    await queue.close();
  }
}

/** Jobs per second, and what each cost the server. */
export async function timed(count, body) {
  const startedUs = cpuUs(pid);
  const startedMs = performance.now();
  await body();
  const seconds = (performance.now() - startedMs) / 1000;
  return { rate: count / seconds, cpu: (cpuUs(pid) - startedUs) / count };
}

export function mail(number) {
  return { number, to: `user${number}@example.com`, subject: 'Welcome', template: 'welcome-en' };
}

/** Calls `add` with the numbers below `count`, some at the same time. */
export async function inFlight(count, add) {
  let number = 0;
  const lane = async () => {
    while (number < count) await add(number++);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}

export function addOneByOne(queue, count, opts = {}) {
  return inFlight(count, (number) => queue.add('mail', mail(number), opts));
}

export async function addBulk(queue, count, { data = mail, opts = () => ({}) } = {}) {
  for (let from = 0; from < count; from += BULK_JOBS) {
    const length = Math.min(BULK_JOBS, count - from);
    const job = (number) => ({ name: 'mail', data: data(number), opts: opts(number) });
    await queue.addBulk(Array.from({ length }, (_, index) => job(from + index)));
  }
}

/** Has a worker run `count` jobs, and checks that they were these and each ran once. */
export async function processAll(queue, count, concurrency, { begin, remain = {} } = {}) {
  const starts = await work(queue.name, count, concurrency, begin);
  const twice = [...starts].filter(([, times]) => times !== 1);
  if (starts.size !== count || twice.length > 0) {
    miscounted(`${starts.size} of ${count} jobs have run, ${twice.length} more than once`);
  }
  await expectCounts(queue, { ...remain, completed: count });
}

/**
 * Runs a worker until `count` jobs are done, calling `begin` as each one starts with it and the
 * moment at which the worker's last blocking request was to end. Says how often each has started.
 */
export async function work(name, count, concurrency, begin = () => {}) {
  const starts = new Map();
  let completed = 0;
  let askedMs = 0;
  const processor = async (job) => {
    begin(job, askedMs);
    starts.set(job.id, (starts.get(job.id) ?? 0) + 1);
  };
  const worker = new Worker(name, processor, { connection, concurrency, autorun: false });
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
  return starts;
}

/** States that are not named must be empty. */
export async function expectCounts(queue, expected) {
  const counts = await queue.getJobCounts();
  for (const [state, count] of Object.entries(counts)) {
    if (count !== (expected[state] ?? 0)) miscounted(`${queue.name}: ${count} jobs are ${state}`);
  }
}

export function nowMs() {
  return performance.timeOrigin + performance.now();
}

function miscounted(what) {
  console.error(what);
  process.exit(MISCOUNTED);
}
