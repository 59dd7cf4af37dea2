// Bull 4, the ancestor of BullMQ: BRPOPLPUSH, Pub/Sub and scripts of its own.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import Queue from 'bull';
import { address, printLateness, sleep, uniqueName, until } from './support.js';

const HOUR_MS = 3_600_000;
const LOCK_MS = 1_000;

/** Opens a queue that is closed when the test ends. The same name twice stands for two programs. */
function openQueue(t, { name = uniqueName('bull'), ...options } = {}) {
  const queue = new Queue(name, { redis: address, ...options });
  t.after(() => queue.close(true));
  return queue;
}

/** Counts from 1: Bull takes data of 0 for none. */
const numbers = (count) => Array.from({ length: count }, (_, index) => index + 1);

test('bull: jobs are processed once each, in order, with their results', async (t) => {
  const queue = openQueue(t);
  const order = [];
  queue.process((job) => {
    order.push(job.data);
    return job.data * 2;
  });

  const jobs = await queue.addBulk(numbers(100).map((data) => ({ data })));
  assert.equal(await jobs.at(-1).finished(), 200);

  assert.deepEqual(order, numbers(100));
  const completed = await queue.getCompleted();
  assert.equal(completed.length, 100);
  assert(completed.every((job) => job.returnvalue === job.data * 2));
});

test('bull: two programs share a queue without a job done twice', async (t) => {
  const producer = openQueue(t);
  const runs = [];
  for (let worker = 0; worker < 2; worker += 1) {
    openQueue(t, { name: producer.name }).process(5, (job) => {
      runs.push(job.data);
    });
  }

  await Promise.all(numbers(200).map((number) => producer.add(number)));
  await until(async () => (await producer.getCompletedCount()) === 200);

  assert.deepEqual(
    runs.toSorted((a, b) => a - b),
    numbers(200),
  );
});

test('bull: delayed jobs start in order and never early', async (t) => {
  const queue = openQueue(t);
  const starts = [];
  queue.process(10, (job) => {
    starts.push({ job, late_ms: Date.now() - job.timestamp - job.opts.delay });
  });

  for (const delay of [700, 100, 400]) await queue.add({}, { delay });
  await queue.add({}, { delay: HOUR_MS });
  await until(() => starts.length === 3);

  assert.deepEqual(
    starts.map(({ job }) => job.opts.delay),
    [100, 400, 700],
  );
  assert(
    starts.every(({ late_ms }) => late_ms >= 0),
    'a job started before its moment',
  );
  printLateness(
    t,
    'bull delayed jobs',
    starts.map(({ late_ms }) => late_ms),
  );
  assert.equal(await queue.getDelayedCount(), 1);
});

test('bull: repeatable jobs come again on the second', async (t) => {
  const queue = openQueue(t);
  const due = [];
  queue.process((job) => {
    const moment = Number(job.id.split(':').at(-1));
    assert(Date.now() >= moment, 'a job started before its moment');
    due.push(moment);
  });

  await queue.add({}, { repeat: { cron: '* * * * * *' } });
  await until(() => due.length === 3);
  assert.equal(new Set(due).size, 3);
  assert(due.every((moment) => moment % 1_000 === 0));

  const [{ key }] = await queue.getRepeatableJobs();
  await queue.removeRepeatableByKey(key);
  assert.deepEqual(await queue.getRepeatableJobs(), []);
});

test('bull: a failing job is retried with backoff, then fails with its stacks', async (t) => {
  const queue = openQueue(t);
  const starts = [];
  queue.process(() => {
    starts.push(Date.now());
    throw new Error('as asked');
  });

  const { id } = await queue.add({}, { attempts: 3, backoff: { type: 'exponential', delay: 100 } });
  await until(async () => (await queue.getFailedCount()) === 1);

  const job = await queue.getJob(id);
  assert.equal(job.attemptsMade, 3);
  assert.equal(job.failedReason, 'as asked');
  assert.equal(job.stacktrace.length, 3);
  assert.match(job.stacktrace[0], /bull\.test\.js:\d+/);
  assert(starts[1] - starts[0] >= 100 && starts[2] - starts[1] >= 300, 'backoff: (2^n - 1) times');
});

test('bull: priorities and lifo decide the order', async (t) => {
  const queue = openQueue(t);
  for (const priority of [3, 1, 2, 1]) await queue.add(priority, { priority });
  await queue.add(4, { lifo: true });

  const order = [];
  queue.process((job) => {
    order.push(job.data);
  });
  await until(() => order.length === 5);

  assert.deepEqual(order, [4, 1, 1, 2, 3]);
});

test('bull: progress and events reach every program', async (t) => {
  const queue = openQueue(t);
  const listener = openQueue(t, { name: queue.name });
  const heard = [];
  const names = ['waiting', 'active', 'progress', 'completed', 'drained'];
  for (const name of names)
    listener.on(`global:${name}`, (...detail) => heard.push([name, ...detail]));
  await listener.isReady();
  await sleep(100);

  const { id } = await queue.add({});
  queue.process(async (job) => {
    await job.progress(50);
    await job.log('half way');
    return 'done';
  });
  await until(() => heard.length === names.length);

  assert.deepEqual(
    heard.map(([name]) => name),
    names,
  );
  assert.deepEqual(heard[2], ['progress', id, 50]);
  assert.deepEqual(heard[3].slice(0, 3), ['completed', id, '"done"']);
  assert.deepEqual((await queue.getJobLogs(id)).logs, ['half way']);
});

test('bull: a paused queue gives out no job until it resumes', async (t) => {
  const queue = openQueue(t);
  const runs = [];
  queue.process((job) => {
    runs.push(job.data);
  });
  await queue.isReady();
  await queue.pause();

  await queue.add({});
  await sleep(300);
  assert.deepEqual(runs, []);
  assert.equal(await queue.getPausedCount(), 1);

  await queue.resume();
  await until(() => runs.length === 1);
});

test('bull: a rate limit holds between windows', async (t) => {
  const queue = openQueue(t, { limiter: { max: 3, duration: 500 } });
  const starts = [];
  queue.process(() => {
    starts.push(Date.now());
  });

  await queue.addBulk(numbers(7).map((data) => ({ data })));
  await until(() => starts.length === 7);

  const span_ms = starts[6] - starts[0];
  assert(span_ms >= 750, `seven jobs started within ${span_ms} ms`);
});

test('bull: a job is recovered after its worker process was killed', async (t) => {
  const settings = { lockDuration: LOCK_MS, stalledInterval: 200 };
  const queue = openQueue(t, { settings });
  const job = await queue.add({ payload: 'kept' });
  const child = fork(new URL('bull-hanging-worker.js', import.meta.url), [
    queue.name,
    JSON.stringify(settings),
  ]);
  await once(child, 'message');
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(await job.getState(), 'active');

  const stalled = [];
  queue.on('stalled', (stalledJob) => stalled.push(stalledJob.id));
  const seen = [];
  queue.process((orphan) => {
    seen.push(orphan.data);
  });
  await until(async () => (await job.getState()) === 'completed');

  assert.deepEqual(seen, [{ payload: 'kept' }]);
  assert.deepEqual(stalled, [job.id]);
});

test('bull: clean, empty and obliterate', async (t) => {
  const queue = openQueue(t);
  await queue.addBulk(numbers(10).map((data) => ({ data })));
  await queue.empty();
  assert.equal(await queue.count(), 0);

  queue.process(() => {});
  await queue.addBulk(numbers(5).map((data) => ({ data })));
  await until(async () => (await queue.getCompletedCount()) === 5);
  await sleep(5);
  assert.equal((await queue.clean(0, 'completed', 3)).length, 3);
  assert.equal(await queue.getCompletedCount(), 2);

  await queue.obliterate({ force: true });
  assert.deepEqual(await queue.client.keys(`bull:${queue.name}:*`), []);
});
