// Jobs that come again and again: job schedulers (BullMQ 5 and on), repeatable jobs (until 5).

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { printLateness, sleep, until } from '../support.js';
import { feature, variant } from './variant.js';

const EVERY_SECOND = '* * * * * *';
const YEARLY = '0 0 1 1 *';
const HOUR_MS = 3_600_000;

/** When a scheduled job was due: BullMQ puts that moment at the end of the job's id. */
const due = (job) => Number(job.id.split(':').at(-1));

/** Records each run and how late it was; a run before its moment fails the test at once. */
function recorder(runs) {
  return (job) => {
    const late_ms = Date.now() - due(job);
    assert(late_ms >= 0, `${job.id} ran ${-late_ms} ms early`);
    runs.push({ name: job.name, data: job.data, due: due(job), late_ms });
  };
}

/** Runs are due one interval after the other; a busy machine may miss some. */
function assertEvery(runs, every_ms) {
  for (let index = 1; index < runs.length; index += 1) {
    const gap_ms = runs[index].due - runs[index - 1].due;
    assert(gap_ms > 0 && gap_ms % every_ms === 0, `${gap_ms} ms between two runs`);
  }
}

describe(`${variant}: schedulers`, () => {
  feature(
    'a scheduler with every runs at each multiple, never early',
    { since: 5 },
    async (lab, t) => {
      const runs = [];
      const worker = lab.worker(recorder(runs));
      const queue = lab.queue();

      await queue.upsertJobScheduler(
        'tick',
        { every: 200 },
        { name: 'tick', data: { kept: true } },
      );
      await until(() => runs.length >= 6);
      await queue.removeJobScheduler('tick');
      await worker.close();

      assertEvery(runs, 200);
      assert(runs.every(({ name, data }) => name === 'tick' && data.kept));
      printLateness(
        t,
        'every 200 ms',
        runs.slice(1).map(({ late_ms }) => late_ms),
      );
    },
  );

  feature('a scheduler with cron runs on the second, never early', { since: 5 }, async (lab, t) => {
    const runs = [];
    lab.worker(recorder(runs));

    await lab.queue().upsertJobScheduler('second', { pattern: EVERY_SECOND }, { name: 'second' });
    await until(() => runs.length >= 3);

    assertEvery(runs, 1_000);
    assert(runs.every((run) => run.due % 1_000 === 0));
    printLateness(
      t,
      'cron each second',
      runs.map(({ late_ms }) => late_ms),
    );
  });

  feature('a scheduler stops at its limit', { since: 5 }, async (lab) => {
    const runs = [];
    lab.worker((job) => {
      runs.push(job.name);
    });
    const queue = lab.queue();

    await queue.upsertJobScheduler('thrice', { every: 100, limit: 3 }, { name: 'thrice' });
    await until(() => runs.length === 3);
    await sleep(400);

    assert.equal(runs.length, 3);
    assert.equal(await queue.getDelayedCount(), 0);
  });

  feature('a scheduler set twice is changed, not doubled', { since: 5 }, async (lab) => {
    const queue = lab.queue();
    await queue.upsertJobScheduler('report', { pattern: YEARLY }, { name: 'old', data: 1 });
    await queue.upsertJobScheduler('report', { every: HOUR_MS }, { name: 'new', data: 2 });
    await queue.upsertJobScheduler(
      'other',
      { pattern: YEARLY, tz: 'Europe/Madrid' },
      { name: 'o' },
    );

    assert.equal(await queue.getJobSchedulersCount(), 2);
    const scheduler = await queue.getJobScheduler('report');
    assert.equal(Number(scheduler.every), HOUR_MS);
    assert.equal(scheduler.name, 'new');
    assert.equal(scheduler.template.data, 2);
    assert.equal(scheduler.pattern, undefined);
    const keys = (await queue.getJobSchedulers()).map(({ key }) => key).sort();
    assert.deepEqual(keys, ['other', 'report']);
  });

  feature('a removed scheduler leaves no job behind', { since: 5 }, async (lab) => {
    const queue = lab.queue();
    await queue.upsertJobScheduler('report', { pattern: YEARLY }, { name: 'report' });
    assert.equal(await queue.getDelayedCount(), 1);

    assert.equal(await queue.removeJobScheduler('report'), true);

    assert.equal(await queue.getDelayedCount(), 0);
    assert.equal(await queue.getJobSchedulersCount(), 0);
    assert.equal(await queue.removeJobScheduler('report'), false);
  });

  feature(
    'a repeatable job with every runs at each multiple, never early',
    { last: 5 },
    async (lab, t) => {
      const runs = [];
      const worker = lab.worker(recorder(runs));
      const queue = lab.queue();

      await queue.add('tick', { kept: true }, { repeat: { every: 200 } });
      await until(() => runs.length >= 6);
      await worker.close();

      assertEvery(runs.slice(1), 200);
      assert(runs.every(({ data }) => data.kept));
      printLateness(
        t,
        'every 200 ms',
        runs.slice(1).map(({ late_ms }) => late_ms),
      );
    },
  );

  feature(
    'a repeatable job with cron runs on the second, never early',
    { last: 5 },
    async (lab, t) => {
      const runs = [];
      lab.worker(recorder(runs));

      await lab.queue().add('second', {}, { repeat: { pattern: EVERY_SECOND, limit: 3 } });
      await until(() => runs.length >= 3);

      assertEvery(runs, 1_000);
      assert(runs.every((run) => run.due % 1_000 === 0));
      printLateness(
        t,
        'cron each second',
        runs.map(({ late_ms }) => late_ms),
      );
    },
  );

  feature('a repeatable job is listed once and removed by its key', { last: 5 }, async (lab) => {
    const queue = lab.queue();
    await queue.add('report', {}, { repeat: { pattern: YEARLY } });
    await queue.add('report', {}, { repeat: { pattern: YEARLY } });
    const repeatable = await queue.getRepeatableJobs();
    assert.equal(repeatable.length, 1);
    assert.equal(repeatable[0].name, 'report');
    assert.equal(repeatable[0].pattern, YEARLY);
    assert(repeatable[0].next > Date.now());
    assert.equal(await queue.getDelayedCount(), 1);

    assert.equal(await queue.removeRepeatableByKey(repeatable[0].key), true);

    assert.deepEqual(await queue.getRepeatableJobs(), []);
    assert.equal(await queue.getDelayedCount(), 0);
  });
});
