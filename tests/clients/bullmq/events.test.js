// QueueEvents: what happened to which job, each thing once and in order.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { Redis } from 'ioredis';
import { address, until } from '../support.js';
import { bullmq, feature, variant } from './variant.js';

const jobs = (count, opts) =>
  Array.from({ length: count }, (_, data) => ({ name: 'job', data, opts }));

/** Listens to the named events; `heard` has them in order. */
function listen(events, names) {
  const heard = [];
  for (const name of names) events.on(name, (detail) => heard.push({ event: name, ...detail }));
  return heard;
}

describe(`${variant}: events`, () => {
  feature('no event of five hundred jobs is lost, doubled or out of order', async (lab) => {
    const stages = ['waiting', 'active', 'completed'];
    const heard = listen(lab.events(), stages);
    const lastEvent = new Map();
    lab.worker((job) => job.data, { concurrency: 20 });

    const queue = lab.queue();
    for (let batch = 0; batch < 10; batch += 1) await queue.addBulk(jobs(50));
    await until(() => heard.length >= 1500);

    assert.equal(heard.length, 1500);
    for (const { event, jobId } of heard) {
      const expected = stages[stages.indexOf(lastEvent.get(jobId)) + 1];
      assert.equal(event, expected, `job ${jobId}`);
      lastEvent.set(jobId, event);
    }
    assert.equal(lastEvent.size, 500);
  });

  feature('a job is waited for: its result, or its reason', async (lab) => {
    const events = lab.events();
    lab.worker((job) => {
      if (job.name === 'bad') throw new Error('as asked');
      return { answer: 42 };
    });
    const queue = lab.queue();

    const good = await queue.add('good', {}, { delay: 100 });
    const bad = await queue.add('bad', {}, { delay: 100 });

    assert.deepEqual(await good.waitUntilFinished(events), { answer: 42 });
    await assert.rejects(bad.waitUntilFinished(events), /as asked/);
    assert.deepEqual(
      await good.waitUntilFinished(events),
      { answer: 42 },
      'also when it has ended',
    );
  });

  feature('the way of a delayed job that is retried and fails', async (lab) => {
    const heard = listen(lab.events(), [
      'added',
      'delayed',
      'waiting',
      'active',
      'failed',
      'retries-exhausted',
    ]);
    lab.worker(() => {
      throw new Error('as asked');
    });

    await lab.queue().add('job', {}, { delay: 50, attempts: 2, backoff: 50 });
    await until(() => heard.some(({ event }) => event === 'retries-exhausted'));

    const names = heard.map(({ event }) => event).filter((event) => event !== 'failed');
    assert.deepEqual(names, [
      'added',
      'delayed',
      'waiting',
      'active',
      'delayed',
      'waiting',
      'active',
      'retries-exhausted',
    ]);
    assert.equal(heard.find(({ event }) => event === 'failed').failedReason, 'as asked');
  });

  feature('progress arrives in order and whole', async (lab) => {
    const heard = listen(lab.events(), ['progress']);
    lab.worker(async (job) => {
      for (let step = 1; step <= 20; step += 1) await job.updateProgress({ step });
    });

    await lab.queue().add('job', {});
    await until(() => heard.length === 20);

    assert.deepEqual(
      heard.map(({ data }) => data.step),
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
  });

  feature('what is done to the queue is heard', async (lab) => {
    const heard = listen(lab.events(), ['paused', 'resumed', 'removed', 'cleaned', 'drained']);
    const queue = lab.queue();
    await queue.pause();
    const job = await queue.add('job', {});
    await job.remove();
    await queue.add('job', {});
    lab.worker(() => {});
    await queue.resume();
    await until(async () => (await queue.getCompletedCount()) === 1);
    await queue.clean(0, 10, 'completed');
    await until(() => heard.length >= 5);

    const names = heard.map(({ event }) => event);
    assert.deepEqual(names.toSorted(), ['cleaned', 'drained', 'paused', 'removed', 'resumed']);
    assert(names.indexOf('paused') < names.indexOf('resumed'));
    assert.equal(heard.find(({ event }) => event === 'removed').jobId, job.id);
    assert.equal(Number(heard.find(({ event }) => event === 'cleaned').count), 1);
  });

  feature('a job dropped by deduplication is told', { since: 5 }, async (lab) => {
    const heard = listen(lab.events(), ['deduplicated', 'duplicated']);
    const queue = lab.queue();
    await queue.add('job', {}, { jobId: 'ours', deduplication: { id: 'same' } });
    await queue.add('job', {}, { deduplication: { id: 'same' } });
    await queue.add('job', {}, { jobId: 'ours' });
    await until(() => heard.length === 2);

    assert.equal(heard[0].event, 'deduplicated');
    assert.equal(heard[0].deduplicationId, 'same');
    assert.deepEqual(heard[1], { event: 'duplicated', jobId: 'ours' });
  });

  feature('several listeners hear the same, also what came before them', async (lab) => {
    const queue = lab.queue();
    const first = listen(lab.events(), ['waiting']);
    await queue.addBulk(jobs(10));
    await until(() => first.length === 10);

    const second = listen(lab.events(), ['waiting']);
    await queue.addBulk(jobs(10));
    await until(() => first.length === 20 && second.length === 20);

    assert.deepEqual(second, first);
  });

  feature('the stream of events keeps about as many as asked', async (lab) => {
    const queue = lab.queue({ streams: { events: { maxLen: 50 } } });
    await queue.waitUntilReady();
    await queue.addBulk(jobs(1000));

    const redis = new Redis(address);
    const length = await redis.xlen(queue.toKey('events'));
    assert(length >= 50 && length <= 200, `${length} events are kept`);
    await queue.trimEvents(0);
    assert.equal(await redis.xlen(queue.toKey('events')), 0);
    redis.disconnect();
  });

  feature('events of the user travel the same way', { since: 5 }, async (lab) => {
    const heard = listen(lab.events(), ['ours']);
    const producer = new bullmq.QueueEventsProducer(lab.name, { connection: address });
    for (const text of ['one', 'two']) await producer.publishEvent({ eventName: 'ours', text });
    await until(() => heard.length === 2);
    await producer.close();

    assert.deepEqual(
      heard.map(({ text }) => text),
      ['one', 'two'],
    );
  });
});
