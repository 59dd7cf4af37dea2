// bee-queue 2, on node-redis 3: BRPOPLPUSH, scripts, and a delayed job that wakes by a timer.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import Queue from 'bee-queue';
import { address, printLateness, uniqueName, until } from './support.js';

const HOUR_MS = 3_600_000;
const STALL_MS = 500;

/** Opens a queue that is closed when the test ends. The same name twice stands for two programs. */
function openQueue(t, { name = uniqueName('bee'), ...settings } = {}) {
  const queue = new Queue(name, { redis: address, activateDelayedJobs: true, ...settings });
  t.after(() => queue.close(5_000));
  return queue;
}

/** Counts from 1: bee-queue takes data of 0 for none. */
const numbers = (count) => Array.from({ length: count }, (_, index) => index + 1);

test('bee-queue: jobs are processed once each, in order, with their results', async (t) => {
  const queue = openQueue(t);
  const order = [];
  const results = new Map();
  queue.on('succeeded', (job, result) => results.set(job.data, result));
  queue.process(async (job) => {
    order.push(job.data);
    return job.data * 2;
  });

  const errors = await queue.saveAll(numbers(100).map((number) => queue.createJob(number)));
  assert.equal(errors.size, 0);
  await until(() => results.size === 100);

  assert.deepEqual(order, numbers(100));
  assert(numbers(100).every((number) => results.get(number) === number * 2));
  const { waiting, active, succeeded } = await queue.checkHealth();
  assert.deepEqual({ waiting, active, succeeded }, { waiting: 0, active: 0, succeeded: 100 });
});

test('bee-queue: two programs share a queue without a job done twice', async (t) => {
  const producer = openQueue(t, { isWorker: false });
  const runs = [];
  for (let worker = 0; worker < 2; worker += 1) {
    openQueue(t, { name: producer.name }).process(5, async (job) => {
      runs.push(job.data);
    });
  }

  await producer.saveAll(numbers(200).map((number) => producer.createJob(number)));
  await until(async () => (await producer.checkHealth()).succeeded === 200);

  assert.deepEqual(
    runs.toSorted((a, b) => a - b),
    numbers(200),
  );
});

test('bee-queue: delayed jobs start in order and never early', async (t) => {
  const queue = openQueue(t);
  const starts = [];
  queue.process(10, async (job) => {
    starts.push({ due: job.data, late_ms: Date.now() - job.data });
  });

  const now = Date.now();
  const moments = [700, 100, 400].map((delay_ms) => now + delay_ms);
  for (const moment of moments) await queue.createJob(moment).delayUntil(moment).save();
  await queue
    .createJob('never')
    .delayUntil(now + HOUR_MS)
    .save();
  await until(() => starts.length === 3);

  assert.deepEqual(
    starts.map(({ due }) => due),
    moments.toSorted((a, b) => a - b),
  );
  assert(
    starts.every(({ late_ms }) => late_ms >= 0),
    'a job started before its moment',
  );
  printLateness(
    t,
    'bee-queue delayed jobs',
    starts.map(({ late_ms }) => late_ms),
  );
  assert.equal((await queue.checkHealth()).delayed, 1);
});

test('bee-queue: a failing job is retried with backoff until it succeeds', async (t) => {
  const queue = openQueue(t);
  const starts = [];
  const retried = [];
  queue.on('retrying', (_job, error) => retried.push(error.message));
  queue.process(async () => {
    starts.push(Date.now());
    if (starts.length < 3) throw new Error(`attempt ${starts.length} broke`);
    return 'at last';
  });

  const job = await queue.createJob({}).retries(5).backoff('exponential', 100).save();
  const [result] = await once(job, 'succeeded');

  assert.equal(result, 'at last');
  assert.deepEqual(retried, ['attempt 1 broke', 'attempt 2 broke']);
  assert(starts[1] - starts[0] >= 100 && starts[2] - starts[1] >= 200, 'backoff doubles');
});

test('bee-queue: a job out of retries fails with its reason', async (t) => {
  const queue = openQueue(t);
  queue.process(async () => {
    throw new Error('as asked');
  });

  const job = await queue.createJob({}).retries(1).save();
  const [error] = await once(job, 'failed');

  assert.equal(error.message, 'as asked');
  const [found] = await queue.getJobs('failed', { size: 10 });
  assert.equal(found.id, job.id);
  assert.match(found.options.stacktraces[0], /bee-queue\.test\.js:\d+/);
});

test('bee-queue: events of a job reach the program that added it', async (t) => {
  const producer = openQueue(t, { isWorker: false });
  await producer.ready();
  const heard = [];
  producer.on('job progress', (id, progress) => heard.push(['progress', id, progress]));
  producer.on('job succeeded', (id, result) => heard.push(['succeeded', id, result]));
  openQueue(t, { name: producer.name }).process(async (job) => {
    job.reportProgress({ done: 1 });
    return { text: 'all' };
  });

  const { id } = await producer.createJob({}).save();
  await until(() => heard.length === 2);

  assert.deepEqual(heard, [
    ['progress', id, { done: 1 }],
    ['succeeded', id, { text: 'all' }],
  ]);
});

test('bee-queue: a job is recovered after its worker process was killed', async (t) => {
  const queue = openQueue(t, { stallInterval: STALL_MS });
  await queue.createJob({ payload: 'kept' }).save();
  const child = fork(new URL('bee-hanging-worker.js', import.meta.url), [queue.name, STALL_MS]);
  await once(child, 'message');
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal((await queue.checkHealth()).active, 1);

  const seen = [];
  queue.process(async (orphan) => {
    seen.push(orphan.data);
  });
  let stalled = 0;
  await until(async () => {
    stalled += await queue.checkStalledJobs();
    return seen.length > 0;
  });

  assert.deepEqual(seen, [{ payload: 'kept' }]);
  assert.equal(stalled, 1);
});
