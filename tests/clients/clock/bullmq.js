// BullMQ's features that wait for a time: each runs as if the time had passed.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { DAY_MS, HOUR_MS, acrossTheJump, advance, connection, jump, minutes, redis } from './lab.js';
import { run, sleep, taken, uniqueName } from './lab.js';

const { FlowProducer, Queue, Worker } = createRequire(import.meta.url)(process.env.LIBRARY);

/** A queue and a worker that notes what it is given. */
async function lab(opened, processor, options = {}) {
  const name = uniqueName();
  const queue = opened(new Queue(name, { connection }));
  const worker = opened(new Worker(name, processor, { connection, ...options }));
  await worker.waitUntilReady();
  return { name, queue, worker };
}

await run({
  async 'a delayed job'(opened) {
    const ran = [];
    const { queue } = await lab(opened, async (job) => ran.push(job.name));
    await queue.add('x', {}, { delay: DAY_MS });
    await sleep(50);
    await jump(DAY_MS - 60_000);
    await sleep(100);
    const early = ran.length;
    await jump(61_000);
    return { early, ms: await taken(() => ran.length === 1) };
  },

  async 'a worker that is started later'(opened) {
    const name = uniqueName();
    const queue = opened(new Queue(name, { connection }));
    await queue.add('x', {}, { delay: DAY_MS });
    await jump(DAY_MS + 1_000);
    const ran = [];
    opened(new Worker(name, async (job) => ran.push(job.name), { connection }));
    return { ms: await taken(() => ran.length === 1) };
  },

  async 'exponential backoff'(opened) {
    const ages = [];
    const { queue } = await lab(opened, async (job) => {
      ages.push(Math.round((Date.now() - job.timestamp) / 60_000));
      throw new Error('no');
    });
    await queue.add('x', {}, { attempts: 4, backoff: { type: 'exponential', delay: HOUR_MS } });
    const ms = [await taken(() => ages.length === 1)];
    for (const hours of [1, 2, 4]) {
      await sleep(50);
      await jump(hours * HOUR_MS + 1_000);
      const before = ages.length;
      ms.push(await taken(() => ages.length > before));
    }
    await sleep(50);
    return { ages, ms, failed: (await queue.getJobCounts('failed')).failed };
  },

  async 'a scheduler every hour'(opened) {
    const at = [];
    const { queue } = await lab(opened, async (job) => at.push(Number(job.id.split(':').pop())));
    await queue.upsertJobScheduler('s', { every: HOUR_MS });
    await taken(() => at.length === 1);
    for (let hour = 0; hour < 4; hour += 1) {
      await sleep(50);
      const before = at.length;
      await jump(HOUR_MS);
      await taken(() => at.length > before);
    }
    return { minutes: minutes(at) };
  },

  async 'a pattern of cron'(opened) {
    const at = [];
    const { queue } = await lab(opened, async () => at.push(new Date().toISOString().slice(11, 13)));
    const moment = new Date((await redis.time())[0] * 1_000);
    const hour = (moment.getUTCHours() + 1) % 24;
    await queue.upsertJobScheduler('s', { pattern: `0 ${hour} * * *`, tz: 'UTC' });
    for (let day = 0; day < 4; day += 1) {
      await sleep(50);
      const before = at.length;
      await jump(DAY_MS);
      await taken(() => at.length > before);
    }
    return { runs: at.length };
  },

  async 'a limit of one an hour'(opened) {
    let ran = 0;
    const options = { limiter: { max: 1, duration: HOUR_MS } };
    const { queue } = await lab(opened, async () => (ran += 1), options);
    await queue.addBulk([1, 2, 3].map((number) => ({ name: `x${number}`, data: {} })));
    await taken(() => ran === 1);
    await sleep(200);
    const held = ran;
    await jump(HOUR_MS + 1_000);
    return { held, ms: await taken(() => ran === 2) };
  },

  async 'deduplication for an hour'(opened) {
    const queue = opened(new Queue(uniqueName(), { connection }));
    const options = { deduplication: { id: 'k', ttl: HOUR_MS } };
    const first = await queue.add('x', {}, options);
    const same = await queue.add('x', {}, options);
    await jump(HOUR_MS + 1);
    const next = await queue.add('x', {}, options);
    return { isSame: first.id === same.id, isNew: next.id !== first.id };
  },

  async 'removal after an hour'(opened) {
    const { queue } = await lab(opened, async () => {});
    const options = { removeOnComplete: { age: 3_600 } };
    await queue.add('x', {}, options);
    await taken(async () => (await queue.getCompletedCount()) === 1);
    await jump(2 * HOUR_MS);
    await queue.add('y', {}, options);
    await taken(async () => (await queue.getCompleted()).some((job) => job.name === 'y'));
    return { left: (await queue.getCompleted()).map((job) => job.name) };
  },

  async 'a job that is active across the jump'(opened) {
    let queue;
    const outcome = await acrossTheJump(async (processor) => {
      const { name, ...made } = await lab(opened, processor);
      queue = made.queue;
      opened(new Worker(name, processor, { connection, stalledInterval: 300 }));
      await queue.add('x');
      return async () => (await queue.getCompletedCount()) === 1;
    });
    return { ...outcome, counts: await queue.getJobCounts('completed', 'active', 'failed') };
  },

  async 'step by step, a scheduler every hour for a day'(opened) {
    const at = [];
    const { queue } = await lab(opened, async () => at.push(Date.now()));
    await queue.upsertJobScheduler('s', { every: HOUR_MS });
    await taken(() => at.length === 1);
    await advance('24h');
    const gaps = at.slice(2).map((moment, index) => Math.round((moment - at[index + 1]) / 1_000));
    await queue.removeJobScheduler('s');
    return { runs: at.length - 1, gaps: [...new Set(gaps)] };
  },

  async 'step by step, a pattern of cron for a week'(opened) {
    const at = [];
    const { queue } = await lab(opened, async () => at.push(new Date().toISOString().slice(11, 19)));
    await queue.upsertJobScheduler('s', { pattern: '0 9 * * *', tz: 'UTC' });
    await advance('7d');
    await queue.removeJobScheduler('s');
    return { at };
  },

  async 'step by step, retries'(opened) {
    const ages = [];
    const { queue } = await lab(opened, async (job) => {
      ages.push(Math.round((Date.now() - job.timestamp) / 60_000));
      throw new Error('no');
    });
    await queue.add('x', {}, { attempts: 5, backoff: { type: 'exponential', delay: HOUR_MS } });
    await advance('1d');
    return { ages, failed: (await queue.getJobCounts('failed')).failed };
  },

  async 'step by step, a flow whose child is delayed'(opened) {
    const ran = [];
    const { name } = await lab(opened, async (job) => ran.push(job.name));
    const flows = opened(new FlowProducer({ connection }));
    const child = { name: 'child', queueName: name, opts: { delay: DAY_MS } };
    await flows.add({ name: 'parent', queueName: name, children: [child] });
    await advance('2d');
    return { ran };
  },

  async 'step by step, a limit of one an hour'(opened) {
    const at = [];
    const options = { limiter: { max: 1, duration: HOUR_MS } };
    const { queue } = await lab(opened, async () => at.push(Date.now()), options);
    await queue.addBulk([1, 2, 3, 4, 5].map((number) => ({ name: `x${number}`, data: {} })));
    await advance('1d');
    return { minutes: minutes(at) };
  },

  async 'step by step, a job whose worker was killed'(opened) {
    const name = uniqueName();
    const queue = opened(new Queue(name, { connection }));
    const killed = fork(fileURLToPath(new URL('./hanging-worker.js', import.meta.url)), [name]);
    await queue.add('x');
    await once(killed, 'message');
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    const ran = [];
    const worker = opened(new Worker(name, async () => ran.push(Date.now()), { connection }));
    await worker.waitUntilReady();
    const begun = Date.now();
    await advance('10m');
    return { seconds: ran.map((moment) => Math.round((moment - begun) / 1_000)) };
  },

  async 'a job that does not end in time is named'(opened) {
    let release;
    const gate = new Promise((resolve) => (release = resolve));
    const { name, queue } = await lab(opened, () => gate);
    await queue.add('welcome', {});
    await taken(async () => (await queue.getActiveCount()) === 1);
    const refusal = await advance('7d', 'TIMEOUT', '300ms').catch((error) => error.message);
    release();
    await taken(async () => (await queue.getCompletedCount()) === 1);
    return { refusal: refusal.replaceAll(name, 'mail') };
  },

  async 'by itself'(opened) {
    const ages = [];
    const { queue } = await lab(opened, async (job) => {
      ages.push(Math.round((Date.now() - job.timestamp) / HOUR_MS));
      throw new Error('no');
    });
    await redis.call('TORIL', 'CLOCK', 'AUTO');
    const options = { delay: 3 * DAY_MS, attempts: 3, backoff: { type: 'exponential', delay: HOUR_MS } };
    await queue.add('x', {}, options);
    const ms = await taken(async () => (await queue.getFailedCount()) === 1);
    await redis.call('TORIL', 'CLOCK', 'RESUME');
    return { ages, ms };
  },
});
