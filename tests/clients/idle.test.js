// TORIL WAIT IDLE and TORIL EXPECT beside real workers: BullMQ 6 and 5, Bull 4 and bee-queue.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import Bee from 'bee-queue';
import Bull from 'bull';
import { Redis } from 'ioredis';
import { address, sleep, uniqueName } from './support.js';

const require = createRequire(import.meta.url);
const connection = { ...address, maxRetriesPerRequest: null };
const redis = new Redis(address);
let isThere = false;

before(async () => {
  isThere = await redis.call('TORIL', 'CLOCK').then(
    () => true,
    () => false,
  );
});

after(() => redis.disconnect());

/** RESP2 has no maps: pairs become an object, in it as well. */
function object(pairs) {
  const entries = [];
  for (let at = 0; at < pairs.length; at += 2) {
    const value = pairs[at + 1];
    const isMap = Array.isArray(value) && pairs[at] !== 'failures' && pairs[at] !== 'findings';
    entries.push([pairs[at], isMap ? object(value) : value]);
  }
  return Object.fromEntries(entries);
}

const expects = async (expectation) =>
  JSON.parse(await redis.call('TORIL', 'EXPECT', JSON.stringify(expectation)));

const idle = async (...words) => object(await redis.call('TORIL', 'WAIT', 'IDLE', ...words));

function on(name, body) {
  test(name, { timeout: 60_000 }, async (t) => {
    if (!isThere) return t.skip('this server has no TORIL');
    await body(t);
  });
}

for (const version of [6, 5]) {
  const { FlowProducer, Queue, Worker } = require(`bullmq-${version}`);

  /** Opens queues and workers that are closed when the test ends. */
  function lab(t) {
    const open = [];
    t.after(() => Promise.all(open.map((thing) => thing.close(true))));
    const opened = (thing) => {
      thing.on('error', () => {});
      open.push(thing);
      return thing;
    };
    return {
      queue: (name = uniqueName('mail')) => opened(new Queue(name, { connection })),
      worker: (name, processor, options = {}) =>
        opened(new Worker(name, processor, { connection, drainDelay: 60, ...options })),
      flow: () => opened(new FlowProducer({ connection })),
    };
  }

  describe(`BullMQ ${version}`, () => {
    on('whenever it says idle, all jobs have ended', async (t) => {
      const { queue: openQueue, worker } = lab(t);
      const queue = openQueue();
      let [begun, ended] = [0, 0];
      for (let count = 0; count < 2; count += 1) {
        const processor = async () => {
          begun += 1;
          await sleep(Math.random() * 5);
          ended += 1;
        };
        worker(queue.name, processor, { concurrency: 2 });
      }
      let added = 0;
      for (let round = 0; round < 60; round += 1) {
        const count = 1 + Math.floor(Math.random() * 5);
        for (let at = 0; at < count; at += 1) {
          await queue.add('job', { round }, { removeOnComplete: round % 2 === 0 });
        }
        added += count;
        const { idle: isIdle, queues, why } = await idle(queue.name);
        assert.equal(isIdle, 1, why);
        assert.equal(queues[queue.name].completed, count);
        assert.deepEqual([begun, ended], [added, added]);
      }
    });

    on('a job that runs is named, with its worker', async (t) => {
      const { queue: openQueue, worker } = lab(t);
      const queue = openQueue();
      let end;
      const running = new Promise((resolve) => {
        worker(queue.name, () => {
          resolve();
          return new Promise((done) => (end = done));
        });
      });
      await queue.add('welcome', { to: 'ada@example.com' }, { attempts: 3 });
      await running;
      const { idle: isIdle, why } = await idle(queue.name, 'TIMEOUT', '300');
      assert.equal(isIdle, 0);
      const [first, line] = why.split('\n');
      assert.match(first, /^not idle after 3\d\d ms: 1 of 1 queue$/);
      const told = `  ${queue.name}  1 active  job 1 "welcome" {"to":"ada@example.com"} for `;
      assert(line.startsWith(told), why);
      assert.match(line, / for \d+ ms, attempt 1 of 3, worker \S+ 127\.0\.0\.1:\d+$/);
      assert.match(why, /\nlast events: \S+ \d+ ms ago active 1; /);
      const ending = idle(queue.name);
      end();
      assert.equal((await ending).queues[queue.name].completed, 1);
    });

    on('jobs without a worker are told at once', async (t) => {
      const { queue: openQueue, worker } = lab(t);
      const name = uniqueName('invoice');
      await worker(name, () => {}).waitUntilReady();
      const queue = openQueue(`${name}s`);
      await queue.add('job', {});
      await sleep(100);
      const started = Date.now();
      const { idle: isIdle, why } = await idle(queue.name);
      assert(Date.now() - started < 2_000);
      assert.equal(isIdle, 0);
      const told =
        `1 waiting  no worker is connected: none has ever asked for this queue. ` +
        `Is its name spelled "${name}"? (1 worker there)`;
      assert(why.includes(told), why);
    });

    on('a failing job is told, with why and where', async (t) => {
      const { queue: openQueue, worker } = lab(t);
      const queue = openQueue();
      worker(queue.name, function send() {
        throw new Error('no such address');
      });
      await queue.add('welcome', { to: 'ada' }, { attempts: 2 });
      const { idle: isIdle, queues, failures, why } = await idle(queue.name);
      assert.equal(isIdle, 1, why);
      assert.equal(queues[queue.name].failed, 1);
      const start = `${queue.name}: job 1 "welcome" {"to":"ada"} failed, attempt 2 of 2: no such address\n    at `;
      assert(failures[0].startsWith(start), failures[0]);
    });

    on('a retry that comes later does not count, and is named', async (t) => {
      const { queue: openQueue, worker } = lab(t);
      const queue = openQueue();
      worker(queue.name, () => {
        throw new Error('as asked');
      });
      await queue.add('job', {}, { attempts: 2, backoff: 3_600_000 });
      const { idle: isIdle, queues, why } = await idle(queue.name);
      assert.equal(isIdle, 1, why);
      const { delayed, failed, next } = queues[queue.name];
      assert.deepEqual([delayed, failed], [1, 0]);
      const in_ms = Date.parse(next) - Date.now();
      assert(in_ms > 3_590_000 && in_ms <= 3_600_000, next);
    });

    on('the queues of parents and children are waited for', async (t) => {
      const { flow, worker } = lab(t);
      const [parents, children] = [uniqueName('parents'), uniqueName('children')];
      const order = [];
      worker(parents, () => void order.push('parent'));
      worker(children, async () => {
        await sleep(50);
        order.push('child');
      });
      await flow().add({
        name: 'parent',
        queueName: parents,
        children: [1, 2].map(() => ({ name: 'child', queueName: children })),
      });
      const { idle: isIdle, queues, why } = await idle(parents);
      assert.equal(isIdle, 1, why);
      assert.deepEqual(order, ['child', 'child', 'parent']);
      assert.deepEqual(Object.keys(queues).toSorted(), [children, parents].toSorted());
    });

    on('a limited queue says until when', async (t) => {
      const { queue: openQueue, worker } = lab(t);
      const queue = openQueue();
      worker(queue.name, () => {}, { limiter: { max: 2, duration: 3_600_000 } });
      for (let count = 0; count < 3; count += 1) await queue.add('job', {});
      const { idle: isIdle, queues, why } = await idle(queue.name);
      assert.equal(isIdle, 1, why);
      const { completed, waiting, limited_until: until } = queues[queue.name];
      assert.deepEqual([completed, waiting], [2, 1]);
      assert(Date.parse(until) - Date.now() > 3_500_000);
    });

    on('what becomes of a job is expected, also of one that is gone', async (t) => {
      const { queue: openQueue, worker } = lab(t);
      const queue = openQueue();
      worker(queue.name, async (job) => {
        await sleep(20);
        if (job.data.to === 'nobody') throw new Error('no such address');
      });
      const to = (name) => ({ queue: queue.name, name: 'welcome', data: { to: name } });
      const options = { removeOnComplete: true, removeOnFail: true };
      await queue.add('welcome', { to: 'ada', n: 1 }, options);
      assert((await expects({ ...to('ada'), state: 'completed' })).met);
      assert((await expects({ ...to('ada'), state: 'failed', never: true })).met);
      const { met, why } = await expects({ ...to('bob'), state: 'completed', within: 100 });
      assert(!met);
      const [, nearest, differs, line] = why.split('\n');
      assert.equal(nearest, 'nearest: job 1 "welcome" {"to":"ada","n":1}');
      assert.equal(differs, 'data.to: expected "bob", was "ada"');
      assert.match(line, /^job 1: added .* ago; .*active .* ago; completed \d+ ms ago$/);
      await queue.add('welcome', { to: 'nobody' }, options);
      assert((await expects({ ...to('nobody'), state: 'failed' })).met);
      const { why: whyNot } = await expects({ ...to('nobody'), state: 'failed', never: true });
      assert.match(whyNot, /failed \d+ ms ago \(no such address\)$/);
    });

    on('a paused queue is idle', async (t) => {
      const { queue: openQueue, worker } = lab(t);
      const queue = openQueue();
      await worker(queue.name, () => {}).waitUntilReady();
      await queue.pause();
      await queue.add('job', {});
      const { idle: isIdle, queues, why } = await idle(queue.name);
      assert.equal(isIdle, 1, why);
      assert.equal(queues[queue.name].paused, 1);
      await queue.resume();
      assert.equal((await idle(queue.name)).queues[queue.name].completed, 1);
    });
  });
}

on('Bull 4: whenever it says idle, all jobs have ended', async (t) => {
  const queue = new Bull(uniqueName('bull'), { redis: address });
  t.after(() => queue.close(true));
  let ended = 0;
  queue.process(2, async () => {
    await sleep(Math.random() * 5);
    ended += 1;
  });
  let added = 0;
  for (let round = 0; round < 30; round += 1) {
    const count = 1 + (round % 4);
    for (let at = 0; at < count; at += 1) await queue.add({ round });
    added += count;
    const { idle: isIdle, queues, why } = await idle(queue.name);
    assert.equal(isIdle, 1, why);
    assert.equal(queues[queue.name].completed, count);
    assert.equal(ended, added);
  }
  await queue.add({ x: 1 }, { delay: 3_600_000 });
  assert.equal((await idle(queue.name)).queues[queue.name].delayed, 1);
});

on('bee-queue: whenever it says idle, all jobs have ended', async (t) => {
  const queue = new Bee(uniqueName('bee'), { redis: address, activateDelayedJobs: true });
  t.after(() => queue.close(5_000));
  let ended = 0;
  queue.process(2, async () => {
    await sleep(Math.random() * 5);
    ended += 1;
  });
  let added = 0;
  for (let round = 0; round < 30; round += 1) {
    const count = 1 + (round % 4);
    for (let at = 0; at < count; at += 1) await queue.createJob({ round }).save();
    added += count;
    const { idle: isIdle, why } = await idle(queue.name);
    assert.equal(isIdle, 1, why);
    assert.equal(ended, added);
  }
  await queue.createJob({ x: 1 }).delayUntil(Date.now() + 3_600_000).save();
  assert.equal((await idle(queue.name)).queues[queue.name].delayed, 1);
});

on('bee-queue: what has become of jobs is known', async (t) => {
  const name = uniqueName('bee');
  const queue = new Bee(name, { redis: address, activateDelayedJobs: true });
  t.after(() => queue.close());
  queue.on('error', () => {});
  const expect = (what) => expects({ queue: name, within: 5_000, ...what });
  await queue.createJob({ to: 'later' }).delayUntil(Date.now() + 3_600_000).save();
  await queue.createJob({ to: 'ada' }).save();
  for (const what of [{ state: 'delayed', data: { to: 'later' } }, { state: 'added', data: { to: 'ada' } }]) {
    assert.equal((await expect(what)).met, true, JSON.stringify(what));
  }
  queue.process(async ({ data }) => {
    if (data.to === 'bob') throw new Error('no address');
  });
  await queue.createJob({ to: 'bob' }).save();
  await queue.createJob({ to: 'cid' }).save();
  assert.equal((await expect({ state: 'completed', data: { to: 'cid' } })).met, true);
  assert.equal((await expect({ state: 'completed', count: 2 })).met, true);
  assert.equal((await expect({ state: 'failed', data: { to: 'bob' } })).met, true);
  const missed = await expect({ state: 'failed', data: { to: 'ada' }, within: 50 });
  assert.match(missed.why, /to/);
  const { queues } = await idle(name);
  assert.deepEqual([queues[name].completed, queues[name].failed], [2, 1]);
});
