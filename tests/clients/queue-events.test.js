// BullMQ's QueueEvents say `XREAD BLOCK ... $` again and again until the first event has come, and
// lose what is added between an answer and the next request; with `keep-dollar` they lose nothing.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { address, uniqueName, until } from './support.js';

const require = createRequire(import.meta.url);

const redis = new Redis(address);
let knowsSetting = false;

before(async () => {
  const [, value] = await redis.config('GET', 'keep-dollar');
  knowsSetting = value !== undefined;
});

after(() => redis.disconnect());

/** What QueueEvents hear of a job that is added after their first answer, before they ask again. */
async function heardOfGap(t, { Queue, QueueEvents }) {
  const name = uniqueName('events');
  const queue = new Queue(name, { connection: address });
  const events = new QueueEvents(name, {
    connection: address,
    autorun: false,
    blockingTimeout: 50,
  });
  const heard = [];
  for (const event of ['added', 'waiting']) events.on(event, () => heard.push(event));

  const check = events.checkConnectionError.bind(events);
  let answers = 0;
  events.checkConnectionError = async (request) => {
    const answer = await check(request);
    answers += 1;
    if (answers === 1) {
      assert.equal(answer ?? null, null, 'there is nothing to hear yet');
      await queue.add('job', {});
    }
    return answer;
  };
  events.run();
  t.after(() => Promise.all([events.close(), queue.close()]));
  await until(() => heard.length > 0 || answers >= 3, 'two more answers');
  await sleep(10);
  return heard;
}

for (const version of [6, 5]) {
  const bullmq = require(`bullmq-${version}`);
  test(`BullMQ ${version}: an event between two reads is not lost`, async (t) => {
    if (!knowsSetting) return t.skip('this server has no keep-dollar');
    await redis.config('SET', 'keep-dollar', 'yes');
    assert.deepEqual(await heardOfGap(t, bullmq), ['added', 'waiting']);
  });

  test(`BullMQ ${version}: without keep-dollar it is`, async (t) => {
    if (knowsSetting) await redis.config('SET', 'keep-dollar', 'no');
    assert.deepEqual(await heardOfGap(t, bullmq), []);
  });
}
