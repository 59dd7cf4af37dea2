// The queue itself: every state of a job, what it keeps and shows, and how it is emptied.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { Redis } from 'ioredis';
import { address, sleep, until } from '../support.js';
import { feature, variant } from './variant.js';

const HOUR_MS = 3_600_000;

const jobs = (count, opts) =>
  Array.from({ length: count }, (_, data) => ({ name: 'job', data, opts }));

const dataOf = (found) => found.map((job) => job.data);

/** Puts one job into each state. The worker must be the only one of the queue. */
async function oneJobInEachState(lab, queue) {
  let release;
  const worker = lab.worker((job) => {
    if (job.name === 'failed') throw new Error('as asked');
    if (job.name === 'active')
      return new Promise((resolve) => {
        release = resolve;
      });
    return job.name;
  });
  const completed = await queue.add('completed', {});
  const failed = await queue.add('failed', {});
  const active = await queue.add('active', {});
  await until(() => release);
  const waiting = await queue.add('waiting', {});
  const delayed = await queue.add('delayed', {}, { delay: HOUR_MS });
  const prioritized = await queue.add('prioritized', {}, { priority: 7 });
  const { job: parent } = await lab.flow().add({
    name: 'waiting-children',
    queueName: lab.name,
    children: [{ name: 'child', queueName: `${lab.name}-elsewhere` }],
  });
  const byState = {
    completed,
    failed,
    active,
    waiting,
    delayed,
    prioritized,
    'waiting-children': parent,
  };
  return { byState, worker, release: () => release() };
}

/** The keys that a queue has on the server. */
async function keysOf(name) {
  const redis = new Redis(address);
  const keys = [];
  for await (const found of redis.scanStream({ match: `bull:${name}:*`, count: 500 }))
    keys.push(...found);
  redis.disconnect();
  return keys;
}

describe(`${variant}: queue`, () => {
  feature('a job goes through with its data, result and times', async (lab) => {
    const queue = lab.queue();
    const data = {
      text: 'naïve ☕ \u0000 \r\n "quoted"',
      number: 1.5,
      deep: [{ list: [null, true] }],
    };
    lab.worker(async (job) => ({ echoed: job.data }));

    const before = Date.now();
    const { id } = await queue.add('echo', data);
    assert.equal(id, '1');
    const job = await until(async () => {
      const found = await queue.getJob(id);
      return found.finishedOn && found;
    });

    assert.deepEqual(job.data, data);
    assert.deepEqual(job.returnvalue, { echoed: data });
    assert(
      before <= job.timestamp &&
        job.timestamp <= job.processedOn &&
        job.processedOn <= job.finishedOn,
    );
    assert.equal(job.attemptsMade, 1);
  });

  feature('every state of a job is seen, counted and listed', { since: 5 }, async (lab) => {
    const queue = lab.queue();
    const { byState, release } = await oneJobInEachState(lab, queue);

    for (const [state, job] of Object.entries(byState)) {
      await lab.reaches(job, state);
      const [found] = await queue.getJobs([state]);
      assert.equal(found.id, job.id, `the job listed as ${state}`);
      assert.equal(await queue.getJobCountByTypes(state), 1, state);
    }
    assert.equal(await queue.count(), 4);
    assert.equal(await queue.getJobState('no such job'), 'unknown');

    release();
    await lab.reaches(byState.waiting, 'completed');
    await lab.reaches(byState.prioritized, 'completed');
  });

  feature('each state has a getter of its own', async (lab) => {
    const queue = lab.queue();
    const { byState, release } = await oneJobInEachState(lab, queue);
    const first = async (found) => (await found)[0].id;

    assert.equal(await first(queue.getCompleted()), byState.completed.id);
    assert.equal(await first(queue.getFailed()), byState.failed.id);
    assert.equal(await first(queue.getActive()), byState.active.id);
    assert.equal(await first(queue.getDelayed()), byState.delayed.id);
    assert.equal(await first(queue.getWaitingChildren()), byState['waiting-children'].id);
    assert((await queue.getWaiting()).some((job) => job.id === byState.waiting.id));
    release();
  });

  feature('a thousand jobs are added at once, in order', async (lab) => {
    const queue = lab.queue();
    const added = await queue.addBulk(jobs(1000));

    assert.deepEqual(
      added.map((job) => Number(job.id)),
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
    assert.equal(await queue.getWaitingCount(), 1000);
    const order = [];
    lab.worker((job) => {
      order.push(job.data);
    });
    await until(() => order.length === 1000);
    assert.deepEqual(
      order,
      jobs(1000).map(({ data }) => data),
    );
  });

  feature('jobs of one id are added once', async (lab) => {
    const queue = lab.queue();
    await queue.add('job', 'first', { jobId: 'ours' });
    await queue.add('job', 'second', { jobId: 'ours' });

    assert.deepEqual(dataOf(await queue.getWaiting()), ['first']);
  });

  feature('deduplication drops a job while its like is unfinished', { since: 5 }, async (lab) => {
    const queue = lab.queue();
    const deduplication = { id: 'same' };
    const first = await queue.add('job', 'first', { deduplication });
    const second = await queue.add('job', 'second', { deduplication });
    assert.equal(second.id, first.id);
    assert.equal(await queue.getDeduplicationJobId('same'), first.id);

    const worker = lab.worker(() => {});
    await lab.reaches(first, 'completed');
    await worker.close();
    const third = await queue.add('job', 'third', { deduplication });

    assert.notEqual(third.id, first.id);
    assert.deepEqual(dataOf(await queue.getWaiting()), ['third']);
  });

  feature('deduplication with a time to live ends by itself', { since: 5 }, async (lab) => {
    const queue = lab.queue();
    const deduplication = { id: 'same', ttl: 400 };
    const added = Date.now();
    const first = await queue.add('job', 'first', { deduplication });

    let again = first;
    let tries = 0;
    while (again.id === first.id) {
      await sleep(10);
      tries += 1;
      again = await queue.add('job', 'again', { deduplication });
    }

    assert(Date.now() - added >= 400, 'the time to live ended early');
    assert(tries > 1);
    assert.equal(await queue.getWaitingCount(), 2);
  });

  feature('deduplication keeps the last of a burst', { since: 5 }, async (lab) => {
    const queue = lab.queue();
    const opts = {
      deduplication: { id: 'typing', ttl: 500, extend: true, replace: true },
      delay: 500,
    };
    const runs = [];
    lab.worker((job) => {
      runs.push(job.data);
    });

    for (const text of ['a', 'ab', 'abc']) await queue.add('search', text, opts);
    await until(() => runs.length === 1);
    await sleep(600);

    assert.deepEqual(runs, ['abc']);
  });

  feature('a paused queue gives out no job until it resumes', async (lab) => {
    const queue = lab.queue();
    const runs = [];
    await lab
      .worker(
        (job) => {
          runs.push(job.data);
        },
        { concurrency: 2 },
      )
      .waitUntilReady();
    await queue.pause();
    assert.equal(await queue.isPaused(), true);

    await queue.addBulk(jobs(3));
    await queue.add('job', 'soon', { delay: 50 });
    await sleep(500);
    assert.deepEqual(runs, []);

    await queue.resume();
    await until(() => runs.length === 4);
    assert.equal(await queue.isPaused(), false);
  });

  feature('drain empties what waits, and delayed jobs if asked', async (lab) => {
    const queue = lab.queue();
    await queue.addBulk(jobs(50));
    await queue.addBulk(jobs(5, { priority: 1 }));
    await queue.addBulk(jobs(3, { delay: HOUR_MS }));

    await queue.drain();
    assert.equal(await queue.getWaitingCount(), 0);
    assert.equal(await queue.getDelayedCount(), 3);

    await queue.drain(true);
    assert.equal(await queue.count(), 0);
    assert.equal(await queue.getJob('1'), undefined);
  });

  feature('clean removes finished jobs by age and number', async (lab) => {
    const queue = lab.queue();
    lab.worker(
      (job) => {
        if (job.data % 2) throw new Error('odd');
      },
      { concurrency: 5 },
    );
    await queue.addBulk(jobs(20));
    await until(async () => (await queue.getJobCountByTypes('completed', 'failed')) === 20);

    assert.deepEqual(await queue.clean(HOUR_MS, 100, 'completed'), []);
    assert.equal((await queue.clean(0, 4, 'completed')).length, 4);
    assert.equal(await queue.getCompletedCount(), 6);
    assert.equal((await queue.clean(0, 100, 'failed')).length, 10);
    assert.deepEqual(await queue.getJobCounts('completed', 'failed'), { completed: 6, failed: 0 });
  });

  feature('obliterate leaves nothing of a queue', async (lab) => {
    const queue = lab.queue();
    const { byState, release, worker } = await oneJobInEachState(lab, queue);
    await byState['waiting-children'].remove(); // BullMQ itself leaves parents behind.
    await queue.pause();
    await assert.rejects(queue.obliterate(), /active/);
    release();
    await worker.close();
    assert((await keysOf(lab.name)).length > 10);

    await queue.obliterate({ force: true });

    assert.deepEqual(await keysOf(lab.name), []);
  });

  feature('a removed job is gone, an active one refuses', async (lab) => {
    const queue = lab.queue();
    const { byState, release } = await oneJobInEachState(lab, queue);

    for (const state of ['completed', 'failed', 'waiting', 'delayed', 'prioritized']) {
      await byState[state].remove();
      assert.equal(await queue.getJob(byState[state].id), undefined, state);
    }
    await assert.rejects(byState.active.remove(), /locked|Could not remove/);
    release();
    await lab.reaches(byState.active, 'completed');
  });

  feature('finished jobs are kept as long as asked', async (lab) => {
    const queue = lab.queue();
    const runs = [];
    lab.worker((job) => {
      runs.push(job.data);
    });

    await queue.addBulk(jobs(10, { removeOnComplete: true }));
    await until(() => runs.length === 10);
    await until(async () => (await queue.getActiveCount()) === 0);
    assert.equal(await queue.getCompletedCount(), 0);

    await queue.addBulk(jobs(10, { removeOnComplete: 3 }));
    await until(() => runs.length === 20);
    await until(async () => (await queue.getActiveCount()) === 0);
    assert.deepEqual(dataOf(await queue.getCompleted()), [9, 8, 7]);
  });

  feature('progress and data of a job change while it runs', { since: 4 }, async (lab) => {
    const queue = lab.queue();
    const heard = [];
    const worker = lab.worker(async (job) => {
      await job.updateProgress(40);
      await job.updateProgress({ step: 'two', done: [1, 2] });
      await job.updateData({ changed: true });
    });
    worker.on('progress', (_job, progress) => heard.push(progress));

    const { id } = await queue.add('job', { changed: false });
    await until(async () => (await queue.getCompletedCount()) === 1);

    const job = await queue.getJob(id);
    assert.deepEqual(heard, [40, { step: 'two', done: [1, 2] }]);
    assert.deepEqual(job.progress, { step: 'two', done: [1, 2] });
    assert.deepEqual(job.data, { changed: true });
  });

  feature('logs are kept in order, paged and cut', { since: 4 }, async (lab) => {
    const queue = lab.queue();
    const job = await queue.add('job', {}, { keepLogs: 5 });

    for (let line = 1; line <= 8; line += 1) await job.log(`line ${line}`);

    const { logs, count } = await queue.getJobLogs(job.id);
    assert.equal(count, 5);
    assert.deepEqual(logs, ['line 4', 'line 5', 'line 6', 'line 7', 'line 8']);
    assert.deepEqual((await queue.getJobLogs(job.id, 1, 2)).logs, ['line 5', 'line 6']);
    assert.deepEqual((await queue.getJobLogs(job.id, 0, 1, false)).logs.sort(), [
      'line 7',
      'line 8',
    ]);
    await job.clearLogs();
    assert.equal((await queue.getJobLogs(job.id)).count, 0);
  });

  feature('jobs are read in pages, from either end', async (lab) => {
    const queue = lab.queue();
    await queue.addBulk(jobs(100));

    assert.deepEqual(dataOf(await queue.getJobs(['wait'], 0, 2, true)), [0, 1, 2]);
    assert.deepEqual(dataOf(await queue.getJobs(['wait'], 0, 2, false)), [99, 98, 97]);
    assert.deepEqual(dataOf(await queue.getJobs(['wait'], 98, 200, true)), [98, 99]);
  });

  feature('metrics count what was completed and failed', async (lab) => {
    const queue = lab.queue();
    lab.worker(
      (job) => {
        if (job.data < 3) throw new Error('as asked');
      },
      { metrics: { maxDataPoints: 60 } },
    );
    await queue.addBulk(jobs(10));
    await until(async () => (await queue.getJobCountByTypes('completed', 'failed')) === 10);

    assert.equal((await queue.getMetrics('completed')).meta.count, 7);
    assert.equal((await queue.getMetrics('failed')).meta.count, 3);
  });

  feature('counts are exported for Prometheus', { since: 5 }, async (lab) => {
    const queue = lab.queue();
    await queue.addBulk(jobs(3));

    const text = await queue.exportPrometheusMetrics();

    assert.match(text, new RegExp(`bullmq_job_count\\{queue="${lab.name}", state="waiting"\\} 3`));
  });
});
