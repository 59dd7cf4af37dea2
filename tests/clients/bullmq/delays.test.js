// Delayed jobs: never early, in order of their moment, and wherever the moment moves to.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { printLateness, until } from '../support.js';
import { bullmq, feature, variant } from './variant.js';

const HOUR_MS = 3_600_000;

describe(`${variant}: delays`, () => {
  feature('delayed jobs start once each and never early', async (lab, t) => {
    const lateness_ms = new Map();
    lab.worker(
      (job) => {
        assert(!lateness_ms.has(job.id), `job ${job.id} ran twice`);
        lateness_ms.set(job.id, Date.now() - (job.timestamp + job.opts.delay));
      },
      { concurrency: 50 },
    );
    const queue = lab.queue();

    const delays_ms = Array.from({ length: 100 }, (_, index) => 50 + index * 17);
    await queue.addBulk(delays_ms.map((delay) => ({ name: 'later', data: {}, opts: { delay } })));
    await until(() => lateness_ms.size === delays_ms.length);

    assert(Math.min(...lateness_ms.values()) >= 0, 'a job started before its moment');
    printLateness(t, 'delayed jobs', [...lateness_ms.values()]);
  });

  feature('delayed jobs start in order of their moment, not of their arrival', async (lab) => {
    const order = [];
    lab.worker((job) => {
      order.push(job.name);
    });

    await lab.queue().addBulk([
      { name: 'third', data: {}, opts: { delay: 600 } },
      { name: 'first', data: {}, opts: { delay: 200 } },
      { name: 'second', data: {}, opts: { delay: 400 } },
    ]);
    await until(() => order.length === 3);

    assert.deepEqual(order, ['first', 'second', 'third']);
  });

  feature('jobs of the same moment keep the order in which they were added', async (lab) => {
    const order = [];
    lab.worker((job) => {
      order.push(job.data);
    });
    const timestamp = Date.now();

    const numbers = Array.from({ length: 20 }, (_, index) => index);
    await lab
      .queue()
      .addBulk(numbers.map((data) => ({ name: 'later', data, opts: { timestamp, delay: 500 } })));
    await until(() => order.length === numbers.length);

    assert.deepEqual(order, numbers);
  });

  feature('a worker that waits for a far job wakes for a nearer one', async (lab) => {
    const started = [];
    const worker = lab.worker((job) => {
      started.push(job.name);
    });
    const queue = lab.queue();
    await queue.add('far', {}, { delay: HOUR_MS });
    await worker.waitUntilReady();

    const before = Date.now();
    await queue.add('near', {}, { delay: 100 });
    await until(() => started.length === 1);

    assert.deepEqual(started, ['near']);
    assert(Date.now() - before < 3_000, 'the worker slept on');
  });

  feature('a promoted job starts at once', async (lab) => {
    lab.worker(() => 'done');
    const job = await lab.queue().add('later', {}, { delay: HOUR_MS });
    assert.equal(await job.getState(), 'delayed');

    await job.promote();
    await lab.reaches(job, 'completed');
  });

  feature('all delayed jobs are promoted together', { since: 5 }, async (lab) => {
    const queue = lab.queue();
    await queue.addBulk(
      [1, 2, 3].map((data) => ({ name: 'later', data, opts: { delay: HOUR_MS } })),
    );

    await queue.promoteJobs();

    assert.equal(await queue.getDelayedCount(), 0);
    assert.equal(await queue.getWaitingCount(), 3);
  });

  feature('a changed delay counts from the moment of the change', async (lab) => {
    let started;
    lab.worker(() => {
      started = Date.now();
    });
    const job = await lab.queue().add('later', {}, { delay: HOUR_MS });

    const changed = Date.now();
    await job.changeDelay(300);
    await until(() => started);

    assert(started - changed >= 300, `started after ${started - changed} ms`);
  });

  feature('a processor puts its own job off', { since: 4 }, async (lab) => {
    const starts = [];
    lab.worker(async (job, token) => {
      starts.push(Date.now());
      if (starts.length === 2) return 'second time';
      await job.moveToDelayed(Date.now() + 200, token);
      throw new bullmq.DelayedError();
    });

    const job = await lab.queue().add('put off', {});
    await lab.reaches(job, 'completed');

    assert(starts[1] - starts[0] >= 200);
  });
});
