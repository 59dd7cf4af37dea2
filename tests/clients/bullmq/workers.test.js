// Workers: how many jobs at a time, which job next, how fast, and what a lost connection costs.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { address, sleep, until } from '../support.js';
import { bullmq, feature, variant } from './variant.js';

const SANDBOXED = fileURLToPath(new URL('processors/sandboxed.cjs', import.meta.url));

const jobs = (count, opts) =>
  Array.from({ length: count }, (_, data) => ({ name: 'job', data, opts }));

/** Counts how many jobs run at the same time; none ends before `together` of them did. */
function gauge(job_ms, { together = 1 } = {}) {
  const seen = { running: 0, most: 0, order: [], starts: [] };
  seen.processor = async (job) => {
    seen.running += 1;
    seen.most = Math.max(seen.most, seen.running);
    seen.order.push(job.data);
    seen.starts.push(Date.now());
    await sleep(job_ms);
    await until(() => seen.most >= together);
    seen.running -= 1;
  };
  return seen;
}

describe(`${variant}: workers`, () => {
  feature('concurrency 1 runs one job at a time, first come first served', async (lab) => {
    const seen = gauge(2);
    lab.worker(seen.processor);
    const queue = lab.queue();

    for (const { name, data } of jobs(50)) await queue.add(name, data);
    await until(() => seen.order.length === 50);

    assert.equal(seen.most, 1);
    assert.deepEqual(
      seen.order,
      jobs(50).map(({ data }) => data),
    );
  });

  feature('concurrency 50 runs fifty jobs at a time and no more', async (lab) => {
    const seen = gauge(20, { together: 50 });
    lab.worker(seen.processor, { concurrency: 50 });
    const queue = lab.queue();

    await queue.addBulk(jobs(200));
    await until(async () => (await queue.getCompletedCount()) === 200);

    assert.equal(seen.most, 50);
    assert.equal(new Set(seen.order).size, 200);
  });

  feature('several workers share a queue without a job done twice', async (lab) => {
    const runs = new Map();
    const countRun = (job) => {
      runs.set(job.data, (runs.get(job.data) ?? 0) + 1);
    };
    for (let worker = 0; worker < 5; worker += 1) lab.worker(countRun, { concurrency: 10 });
    const queue = lab.queue();

    await Promise.all(
      [0, 1, 2, 3].map((batch) =>
        queue.addBulk(jobs(250).map((job) => ({ ...job, data: batch * 250 + job.data }))),
      ),
    );
    await until(async () => (await queue.getCompletedCount()) === 1000);

    assert.equal(runs.size, 1000);
    assert.deepEqual(
      [...runs.values()].filter((count) => count !== 1),
      [],
    );
    assert.deepEqual(await queue.getJobCounts('wait', 'active', 'failed'), {
      wait: 0,
      active: 0,
      failed: 0,
    });
  });

  feature('jobs that trickle in wake idle workers one by one', async (lab) => {
    const runs = [];
    const workers = [1, 2, 3].map(() =>
      lab.worker((job) => {
        runs.push(job.data);
      }),
    );
    await Promise.all(workers.map((worker) => worker.waitUntilReady()));
    const queue = lab.queue();

    for (const { name, data } of jobs(30)) {
      await queue.add(name, data);
      await until(() => runs.length === data + 1);
    }

    assert.deepEqual(
      runs,
      jobs(30).map(({ data }) => data),
    );
  });

  feature('the queue limits concurrency over all workers', { since: 5 }, async (lab) => {
    const seen = gauge(20, { together: 2 });
    const queue = lab.queue();
    await queue.setGlobalConcurrency(2);
    await queue.addBulk(jobs(20));

    for (let worker = 0; worker < 3; worker += 1) lab.worker(seen.processor, { concurrency: 5 });
    await until(async () => (await queue.getCompletedCount()) === 20);

    assert.equal(seen.most, 2);
  });

  feature('jobs of higher priority go first, equals in order of arrival', async (lab) => {
    const queue = lab.queue();
    for (const priority of [3, 1, 2, 3, 1, 2]) await queue.add('job', priority, { priority });
    await queue.add('job', 'last of 1', { priority: 1 });

    const seen = gauge(0);
    lab.worker(seen.processor);
    await until(() => seen.order.length === 7);

    assert.deepEqual(seen.order, [1, 1, 'last of 1', 2, 2, 3, 3]);
  });

  feature(
    'jobs without priority go before all, the last come first if it asks',
    { since: 5 },
    async (lab) => {
      const queue = lab.queue();
      await queue.add('job', 'urgent', { priority: 1 });
      await queue.add('job', 'plain');
      await queue.add('job', 'plain too');
      await queue.add('job', 'lifo', { lifo: true });

      const seen = gauge(0);
      lab.worker(seen.processor);
      await until(() => seen.order.length === 4);

      assert.deepEqual(seen.order, ['lifo', 'plain', 'plain too', 'urgent']);
    },
  );

  feature('a changed priority counts', { since: 4 }, async (lab) => {
    const queue = lab.queue();
    await queue.add('job', 'first', { priority: 5 });
    const late = await queue.add('job', 'late', { priority: 9 });

    await late.changePriority({ priority: 1 });

    const seen = gauge(0);
    lab.worker(seen.processor);
    await until(() => seen.order.length === 2);
    assert.deepEqual(seen.order, ['late', 'first']);
  });

  feature('a rate limit holds between windows, over all workers', async (lab) => {
    const limiter = { max: 5, duration: 1_000 };
    const seen = gauge(0);
    lab.worker(seen.processor, { limiter, concurrency: 5 });
    lab.worker(seen.processor, { limiter, concurrency: 5 });
    const queue = lab.queue();

    await queue.addBulk(jobs(12));
    await until(async () => (await queue.getCompletedCount()) === 12);

    assert.equal(seen.order.length, 12);
    // The window opens on the server, up to a round trip before the first job starts here.
    const span_ms = seen.starts[10] - seen.starts[0];
    assert(span_ms >= 1_750, `eleven jobs started within ${span_ms} ms`);
    assert(seen.starts[4] - seen.starts[0] < 900, 'the first five did not start in one window');
  });

  feature('a processor limits the rate and puts its job back', { since: 4 }, async (lab) => {
    const starts = [];
    const worker = lab.worker(async () => {
      starts.push(Date.now());
      if (starts.length > 1) return;
      await worker.rateLimit(500);
      throw bullmq.Worker.RateLimitError();
    });
    const queue = lab.queue();

    const { id } = await queue.add('limited', {});
    await until(async () => (await queue.getCompletedCount()) === 1);

    assert(starts[1] - starts[0] >= 450, `came back after ${starts[1] - starts[0]} ms`);
    assert.equal((await queue.getJob(id)).failedReason, undefined);
  });

  feature('a paused worker takes no job until it resumes', async (lab) => {
    const seen = gauge(0);
    const worker = lab.worker(seen.processor);
    await worker.waitUntilReady();
    await worker.pause();

    await lab.queue().addBulk(jobs(3));
    await sleep(300);
    assert.deepEqual(seen.order, []);

    worker.resume();
    await until(() => seen.order.length === 3);
  });

  feature('a worker that closes ends its job and leaves the rest', async (lab) => {
    const seen = gauge(300);
    const worker = lab.worker(seen.processor);
    const queue = lab.queue();
    await queue.addBulk(jobs(3));
    await until(() => seen.running === 1);

    await worker.close();

    assert.equal(seen.running, 0);
    const counts = await queue.getJobCounts('completed', 'wait', 'active');
    assert.deepEqual(counts, { completed: 1, wait: 2, active: 0 });
  });

  feature('an idle worker closes promptly', async (lab) => {
    const worker = lab.worker(() => {});
    await worker.waitUntilReady();
    await sleep(200);

    const before = Date.now();
    await worker.close();

    assert(Date.now() - before < 2_000, `closing took ${Date.now() - before} ms`);
  });

  feature('workers are listed by name', async (lab) => {
    const queue = lab.queue();
    assert.deepEqual(await queue.getWorkers(), []);

    const first = lab.worker(() => {}, { name: 'first' });
    const second = lab.worker(() => {}, { name: 'second' });
    await Promise.all([first.waitUntilReady(), second.waitUntilReady()]);
    const workers = await until(async () => {
      const found = await queue.getWorkers();
      return found.length === 2 && found;
    });
    for (const worker of workers) {
      assert.equal(worker.name, lab.name);
      assert.match(worker.addr, /^127\.0\.0\.1:\d+$/);
      assert.match(`${worker.age} ${worker.idle}`, /^\d+ \d+$/);
    }

    await first.close();
    await until(async () => (await queue.getWorkers()).length === 1);
  });

  feature('a worker goes on after CLIENT KILL', { causesErrors: true }, async (lab) => {
    const runs = [];
    const worker = lab.worker((job) => {
      runs.push(job.data);
    });
    await worker.waitUntilReady();
    const queue = lab.queue();
    await queue.add('job', 'before');
    await until(() => runs.length === 1);
    await sleep(100);

    const redis = new Redis(address);
    const killed = await killConnections(redis, Buffer.from(lab.name).toString('base64'));
    redis.disconnect();
    assert(killed >= 1, 'found no connection of the worker');

    await queue.add('job', 'after');
    await until(() => runs.length === 2);
    assert.deepEqual(runs, ['before', 'after']);
  });

  for (const useWorkerThreads of [false, true]) {
    const place = useWorkerThreads ? 'thread' : 'process';

    feature(`a sandboxed processor works in a ${place} of its own`, { since: 4 }, async (lab) => {
      const queue = lab.queue();
      const progress = [];
      const worker = lab.worker(SANDBOXED, { useWorkerThreads });
      worker.on('progress', (_job, value) => progress.push(value));

      const { id } = await queue.add('double', { value: 21 });
      await until(async () => (await queue.getCompletedCount()) === 1);

      const job = await queue.getJob(id);
      assert.equal(job.returnvalue.doubled, 42);
      assert.equal(job.returnvalue.pid === process.pid, useWorkerThreads);
      assert.equal(job.progress, 50);
      assert.deepEqual(progress, [50]);
      assert.deepEqual((await queue.getJobLogs(id)).logs, ['saw 21']);
    });

    feature(
      `a sandboxed failure carries its stack out of the ${place}`,
      { since: 4 },
      async (lab) => {
        const queue = lab.queue();
        lab.worker(SANDBOXED, { useWorkerThreads });

        const { id } = await queue.add('broken', {});
        await until(async () => (await queue.getFailedCount()) === 1);

        const job = await queue.getJob(id);
        assert.equal(job.failedReason, 'broken in the sandbox');
        assert.match(job.stacktrace[0], /sandboxed\.cjs:\d+/);
      },
    );
  }
});

/** Kills each connection that carries the name, and answers how many there were. */
async function killConnections(redis, name) {
  const clients = (await redis.client('LIST')).split('\n').filter((line) => line.includes(name));
  for (const client of clients) {
    await redis.client('KILL', 'ID', client.match(/\bid=(\d+)/)[1]);
  }
  return clients.length;
}
