// Memory gets short while a job is at work: it ends all the same, and goes to where it belongs. Its
// libraries take the job off one list and put it on another in a script or a transaction, of which
// half would be worse than none.
//
// Each test shortens the memory of the server that all of this file share, and nobody else.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, afterEach, test } from 'node:test';
import BeeQueue from 'bee-queue';
import Bull from 'bull';
import { Redis } from 'ioredis';
import { address, uniqueName, until } from './support.js';

const require = createRequire(import.meta.url);

const redis = new Redis(address);
const shorten = () => redis.config('SET', 'maxmemory', 1);
const lengthen = () => redis.config('SET', 'maxmemory', 0);
await lengthen();

afterEach(lengthen);
after(() => redis.disconnect());

for (const version of ['bullmq-6', 'bullmq-5', 'bullmq-4', 'bullmq-3']) {
  // Older ones rest for 15 s after an error of theirs.
  const skip = version < 'bullmq-5' && 'it takes too long';
  const bullmq = require(version);

  /** Opens a queue and a worker that are closed when the test ends. */
  const open = (t, processor) => {
    const name = uniqueName(version);
    const queue = new bullmq.Queue(name, { connection: address });
    const worker = new bullmq.Worker(name, processor, { connection: address, drainDelay: 1 });
    const errors = [];
    worker.on('error', (error) => errors.push(error.message));
    t.after(() => Promise.all([queue.close(), worker.close(true)]));
    return { queue, worker, errors };
  };

  test(`${version}: a job that has begun is completed, and the next waits for memory`, async (t) => {
    const { queue } = open(t, async (job) => {
      if (job.name === 'large') await shorten();
      return `${job.name} done`;
    });

    const job = await queue.add('large', {});
    await until(async () => (await job.getState()) === 'completed');
    assert.equal((await queue.getJob(job.id)).returnvalue, 'large done');
    await assert.rejects(queue.add('small', {}), /OOM command not allowed/);

    await lengthen();
    const next = await queue.add('small', {});
    await until(async () => (await next.getState()) === 'completed');
    assert.deepEqual(await queue.getJobCounts('active', 'completed', 'failed', 'wait'), {
      active: 0,
      completed: 2,
      failed: 0,
      wait: 0,
    });
  });

  test(`${version}: a job that fails is kept as failed, and can be retried`, { skip }, async (t) => {
    let isShort = true;
    const { queue } = open(t, async () => {
      if (!isShort) return 'done';
      await shorten();
      throw new Error('no memory');
    });

    const job = await queue.add('large', {});
    await until(async () => (await job.getState()) === 'failed');
    assert.equal((await queue.getJob(job.id)).failedReason, 'no memory');

    isShort = false;
    await lengthen();
    await (await queue.getJob(job.id)).retry();
    await until(async () => (await job.getState()) === 'completed');
  });
}

test('bull: a job that has begun is completed, and the next waits for memory', async (t) => {
  const queue = new Bull(uniqueName('bull'), { redis: address });
  t.after(() => queue.close(true));
  queue.on('error', () => {});
  queue.process(async (job) => {
    if (job.data.isLarge) await shorten();
    return 'done';
  });

  const job = await queue.add({ isLarge: true });
  await until(async () => (await job.getState()) === 'completed');
  assert.equal(await queue.getActiveCount(), 0);
  await assert.rejects(queue.add({}), /OOM command not allowed/);

  await lengthen();
  const next = await queue.add({});
  await until(async () => (await next.getState()) === 'completed');
});

/** Opens a queue of bee-queue, and what its jobs and their data were told. */
const openBee = (t, settings) => {
  const queue = new BeeQueue(uniqueName('bee'), { redis: address, ...settings });
  const [errors, succeeded] = [[], []];
  queue.on('error', (error) => errors.push(error.message));
  queue.on('succeeded', (job) => succeeded.push(job.id));
  queue.process(async (job) => {
    if (job.data.isLarge && !succeeded.length && !errors.length) await shorten();
  });
  t.after(() => queue.close(1));
  return { queue, errors, succeeded };
};

test('bee-queue: a job whose end takes no memory ends, and the next waits for memory', async (t) => {
  const { queue, succeeded } = openBee(t, { removeOnSuccess: true });

  await queue.createJob({ isLarge: true }).save();
  await until(() => succeeded.length === 1);
  const { waiting, active } = await queue.checkHealth();
  assert.deepEqual({ waiting, active }, { waiting: 0, active: 0 });
  await assert.rejects(queue.createJob({}).save(), /OOM command not allowed/);

  await lengthen();
  await queue.createJob({}).save();
  await until(() => succeeded.length === 2);
});

test('bee-queue: a job whose end takes memory stays as it is, and runs again', async (t) => {
  const { queue, errors, succeeded } = openBee(t, { stallInterval: 500 });

  await queue.createJob({ isLarge: true }).save();
  await until(() => errors.length > 0);
  assert.equal((await queue.checkHealth()).active, 1);

  await lengthen();
  await until(async () => {
    await queue.checkStalledJobs();
    return succeeded.length === 1;
  });
  const { waiting, active } = await queue.checkHealth();
  assert.deepEqual({ waiting, active }, { waiting: 0, active: 0 });
});
