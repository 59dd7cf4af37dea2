// Locks: who holds a job, for how long, and who takes it over when its worker dies.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { describe } from 'node:test';
import { Redis } from 'ioredis';
import { address, sleep, until } from '../support.js';
import { feature, variant } from './variant.js';

// Short enough to expire within a test, with room for a machine that stands still for a while.
const LOCK_MS = 1_000;
const STALLED_CHECK_MS = 200;

/** A plain connection that looks at what BullMQ keeps. */
async function withRedis(body) {
  const redis = new Redis(address);
  try {
    return await body(redis);
  } finally {
    redis.disconnect();
  }
}

/** Starts a worker process on the queue; the answer resolves once it holds a job for ever. */
async function hangingWorker(queueName) {
  const options = JSON.stringify({ lockDuration: LOCK_MS, stalledInterval: STALLED_CHECK_MS });
  const child = fork(new URL('hanging-worker.js', import.meta.url), [queueName, options]);
  const [message] = await once(child, 'message');
  assert.equal(message, 'holding');
  return child;
}

async function killed(child) {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe(`${variant}: locks`, () => {
  feature('the lock of a long job is renewed, so that nobody else takes the job', async (lab) => {
    let runs = 0;
    const stalls = [];
    const long = async () => {
      runs += 1;
      await sleep(2.5 * LOCK_MS);
    };
    const options = { lockDuration: LOCK_MS, stalledInterval: STALLED_CHECK_MS };
    for (const worker of [lab.worker(long, options), lab.worker(long, options)]) {
      worker.on('stalled', (jobId) => stalls.push(jobId));
    }
    const queue = lab.queue();
    const job = await queue.add('long', {});

    await lab.reaches(job, 'active');
    const lock = queue.toKey(`${job.id}:lock`);
    const ttls_ms = [];
    await withRedis(async (redis) => {
      while ((await job.getState()) === 'active') {
        ttls_ms.push(await redis.pttl(lock));
        await sleep(20);
      }
      assert.equal(await redis.exists(lock), 0, 'the lock outlived its job');
    });

    assert.equal(await job.getState(), 'completed');
    assert.equal(runs, 1);
    assert.deepEqual(stalls, []);
    const renewals = ttls_ms.slice(1).filter((ttl, index) => ttl > ttls_ms[index]).length;
    assert(renewals >= 3, `renewed ${renewals} times`);
    assert(Math.max(...ttls_ms) <= LOCK_MS);
  });

  feature('only the holder of the lock may finish a job', async (lab) => {
    let finish;
    lab.worker(
      () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    );
    const queue = lab.queue();
    const { id } = await queue.add('guarded', {});
    await until(() => finish);

    const job = await queue.getJob(id);
    await assert.rejects(job.moveToCompleted('stolen', 'wrong-token', false), /lock/i);
    assert.equal(await job.getState(), 'active');

    finish('earned');
    await lab.reaches(job, 'completed');
    assert.equal((await queue.getJob(id)).returnvalue, 'earned');
  });

  feature('a job whose lock was lost is done again', { causesErrors: true }, async (lab) => {
    const queue = lab.queue();
    let runs = 0;
    lab.worker(
      async (job) => {
        runs += 1;
        if (runs > 1) return;
        await withRedis((redis) => redis.del(queue.toKey(`${job.id}:lock`)));
        await sleep(3 * STALLED_CHECK_MS);
      },
      { lockDuration: 60_000, stalledInterval: STALLED_CHECK_MS, concurrency: 2 },
    );

    const job = await queue.add('robbed', {});
    await lab.reaches(job, 'completed');
    assert.equal(runs, 2);
  });

  feature('a job is recovered after its worker process was killed', async (lab) => {
    const events = lab.events();
    const stalled = [];
    events.on('stalled', ({ jobId }) => stalled.push(jobId));
    const queue = lab.queue();
    const job = await queue.add('orphan', { payload: 'kept' });
    await killed(await hangingWorker(lab.name));
    assert.equal(await job.getState(), 'active');

    const seen = [];
    lab.worker(
      (orphan) => {
        seen.push(orphan.data);
      },
      { stalledInterval: STALLED_CHECK_MS },
    );
    await lab.reaches(job, 'completed');

    assert.deepEqual(seen, [{ payload: 'kept' }]);
    await until(() => stalled.length > 0);
    assert.deepEqual(stalled, [job.id]);
  });

  feature('the other jobs of a killed worker stay in their order', async (lab) => {
    const queue = lab.queue();
    await queue.addBulk(['held', 'next', 'last'].map((name) => ({ name, data: {} })));
    await killed(await hangingWorker(lab.name));

    const order = [];
    lab.worker(
      (job) => {
        order.push(job.name);
      },
      { stalledInterval: STALLED_CHECK_MS },
    );
    await until(() => order.length === 3);

    assert.deepEqual(
      order.filter((name) => name !== 'held'),
      ['next', 'last'],
    );
    assert(order.includes('held'));
  });

  feature('a job that stalls too often fails', async (lab) => {
    const queue = lab.queue();
    const { id } = await queue.add('killer', {});
    await killed(await hangingWorker(lab.name));

    let runs = 0;
    const options = { stalledInterval: STALLED_CHECK_MS, maxStalledCount: 0 };
    lab.worker(() => {
      runs += 1;
    }, options);
    await until(async () => (await queue.getFailedCount()) === 1);

    assert.equal((await queue.getJob(id)).failedReason, 'job stalled more than allowable limit');
    assert.equal(runs, 0);
  });
});
