// What a job costs the server when many others wait for their time in its queue already.

import {
  addBulk, addOneByOne, connection, processAll, require, sizes, timed, withQueue,
} from './client.mjs';

const Redis = require('ioredis');

const HOUR_MS = 3_600_000;
/** A few milliseconds of a server's time. */
const FILL_JOBS = 1_000;
/** What BullMQ has written when a delayed job has been added, many at a time: addBulk is slow. */
const FILL = `
  for id = ARGV[1], ARGV[2] do
    redis.call('HSET', KEYS[1] .. id, 'name', 'mail', 'data', ARGV[3], 'opts', ARGV[4],
      'timestamp', ARGV[5], 'delay', ARGV[6], 'priority', '0')
    local score = (ARGV[5] + ARGV[6] + id) * 4096 + id % 4096
    redis.call('ZADD', KEYS[1] .. 'delayed', string.format('%.0f', score), id)
  end
  redis.call('SET', KEYS[1] .. 'id', ARGV[2])`;

await withQueue('warm-up', async (queue) => {
  await addBulk(queue, sizes.warmUp);
  await addOneByOne(queue, sizes.warmUp);
  await processAll(queue, 2 * sizes.warmUp, 50);
});
const figures = {};
for (const [name, depth] of Object.entries(sizes.depths)) {
  await withQueue(`depth-${name}`, async (queue) => {
    await fill(queue, depth);
    const { jobs } = sizes;
    const add = await timed(jobs, () => addOneByOne(queue, jobs));
    const process = await timed(jobs, () =>
      processAll(queue, jobs, 50, { remain: { delayed: depth } }),
    );
    const delay = await timed(jobs, () => addOneByOne(queue, jobs, { delay: HOUR_MS }));
    figures[name] = { add: add.cpu, process: process.cpu, delay: delay.cpu };
  });
}
const growth = (key) =>
  Math.max(...Object.values(figures).map((each) => each[key])) / Object.values(figures)[0][key];
figures.growth = { add: growth('add'), process: growth('process'), delay: growth('delay') };
console.log(JSON.stringify(figures));

async function fill(queue, count) {
  const redis = new Redis(connection);
  const data = JSON.stringify({ to: 'user@example.com', subject: 'Welcome' });
  const opts = JSON.stringify({ delay: HOUR_MS, attempts: 0 });
  for (let from = 1; from <= count; from += FILL_JOBS) {
    const to = Math.min(count, from + FILL_JOBS - 1);
    await redis.eval(FILL, 1, queue.toKey(''), from, to, data, opts, Date.now(), HOUR_MS);
  }
  redis.disconnect();
}
