// Jobs that fail: retries, backoff, the recorded reason and stack.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { until } from '../support.js';
import { bullmq, feature, variant } from './variant.js';

/** A processor that fails until its `successes`th attempt and records when each attempt began. */
function failing(starts, { succeedsAt = Infinity } = {}) {
  return function failingProcessor(job) {
    starts.push(Date.now());
    if (starts.length >= succeedsAt) return `attempt ${starts.length}`;
    throw new Error(`attempt ${starts.length} broke`);
  };
}

const gaps = (starts) => starts.slice(1).map((start, index) => start - starts[index]);

/** Each gap is at least as long as asked for, and not of another order. */
function assertBackoff(starts, delays_ms) {
  const waited = gaps(starts);
  assert.equal(waited.length, delays_ms.length);
  for (const [index, delay_ms] of delays_ms.entries()) {
    assert(waited[index] >= delay_ms, `waited ${waited} ms, wanted at least ${delays_ms} ms`);
    assert(waited[index] < delay_ms + 3_000, `waited ${waited} ms, wanted about ${delays_ms} ms`);
  }
}

describe(`${variant}: failures`, () => {
  feature('a failing job is retried at once until it succeeds', async (lab) => {
    const starts = [];
    lab.worker(failing(starts, { succeedsAt: 3 }));
    const queue = lab.queue();

    const { id } = await queue.add('shaky', {}, { attempts: 5 });
    const job = await until(async () => {
      const found = await queue.getJob(id);
      return found.returnvalue && found;
    });

    assert.equal(await job.getState(), 'completed');
    assert.equal(job.returnvalue, 'attempt 3');
    assert.equal(starts.length, 3);
  });

  feature(
    'a job out of attempts fails, with the reason and a stack for each attempt',
    async (lab) => {
      const starts = [];
      lab.worker(failing(starts));
      const queue = lab.queue();

      const { id } = await queue.add('hopeless', {}, { attempts: 3 });
      await until(async () => (await queue.getFailedCount()) === 1);

      const job = await queue.getJob(id);
      assert.equal(job.attemptsMade, 3);
      assert.equal(starts.length, 3);
      assert.equal(job.failedReason, 'attempt 3 broke');
      assert.equal(job.stacktrace.length, 3);
      for (const stack of job.stacktrace) {
        assert.match(
          stack,
          /^Error: attempt \d broke\n\s+at .*failingProcessor .*failures\.test\.js:\d+/,
        );
      }
      assert(job.finishedOn >= job.processedOn);
    },
  );

  feature('fixed backoff waits the same time before each retry', async (lab) => {
    const starts = [];
    lab.worker(failing(starts, { succeedsAt: 4 }));

    const opts = { attempts: 4, backoff: { type: 'fixed', delay: 150 } };
    await lab.reaches(await lab.queue().add('shaky', {}, opts), 'completed');

    assertBackoff(starts, [150, 150, 150]);
  });

  feature('exponential backoff doubles the wait before each retry', async (lab) => {
    const starts = [];
    lab.worker(failing(starts, { succeedsAt: 4 }));

    const opts = { attempts: 4, backoff: { type: 'exponential', delay: 100 } };
    await lab.reaches(await lab.queue().add('shaky', {}, opts), 'completed');

    assertBackoff(starts, [100, 200, 400]);
  });

  feature('a backoff strategy of the user decides the wait', async (lab) => {
    const starts = [];
    const settings = { backoffStrategy: (attemptsMade) => attemptsMade * 120 };
    lab.worker(failing(starts, { succeedsAt: 3 }), { settings });

    const opts = { attempts: 3, backoff: { type: 'ours' } };
    await lab.reaches(await lab.queue().add('shaky', {}, opts), 'completed');

    assertBackoff(starts, [120, 240]);
  });

  feature('a job in backoff does not hold up the jobs behind it', async (lab) => {
    const order = [];
    lab.worker((job) => {
      order.push(`${job.name} ${job.attemptsMade}`);
      if (order.length === 1) throw new Error('first attempt');
    });
    const queue = lab.queue();

    await queue.add('shaky', {}, { attempts: 2, backoff: 300 });
    await queue.add('behind', {});
    await until(() => order.length === 3);

    assert.deepEqual(
      order.map((entry) => entry.split(' ')[0]),
      ['shaky', 'behind', 'shaky'],
    );
  });

  feature('an unrecoverable error ends the attempts', async (lab) => {
    let attempts = 0;
    lab.worker(() => {
      attempts += 1;
      throw new bullmq.UnrecoverableError('no use');
    });

    const job = await lab.queue().add('hopeless', {}, { attempts: 5 });
    await lab.reaches(job, 'failed');

    assert.equal(attempts, 1);
  });

  feature('a failed job is retried by hand', async (lab) => {
    const starts = [];
    lab.worker(failing(starts, { succeedsAt: 2 }));
    const queue = lab.queue();
    const { id } = await queue.add('shaky', {});
    await until(async () => (await queue.getFailedCount()) === 1);

    const job = await queue.getJob(id);
    await job.retry();
    await lab.reaches(job, 'completed');

    assert.equal(await queue.getFailedCount(), 0);
    assert.equal((await queue.getJob(id)).failedReason, undefined);
  });

  feature('all failed jobs are retried together', async (lab) => {
    let broken = true;
    lab.worker(
      () => {
        if (broken) throw new Error('the world is broken');
      },
      { concurrency: 10 },
    );
    const queue = lab.queue();
    await queue.addBulk(Array.from({ length: 30 }, () => ({ name: 'shaky', data: {} })));
    await until(async () => (await queue.getFailedCount()) === 30);

    broken = false;
    await queue.retryJobs();
    await until(async () => (await queue.getCompletedCount()) === 30);

    assert.equal(await queue.getFailedCount(), 0);
  });
});
