// Bull 4's features that wait for a time.

import Queue from 'bull';
import { DAY_MS, HOUR_MS, acrossTheJump, advance, connection, jump, minutes, run } from './lab.js';
import { sleep, taken, uniqueName } from './lab.js';

const { maxRetriesPerRequest, ...address } = connection;
const open = (opened, options = {}) =>
  opened(new Queue(uniqueName(), { redis: address, ...options }));

await run({
  async 'a delayed job'(opened) {
    const queue = open(opened);
    const ran = [];
    queue.process(async (job) => ran.push(job.data));
    await queue.isReady();
    await queue.add(1, { delay: DAY_MS });
    await sleep(100);
    const early = ran.length;
    await jump(DAY_MS + 1_000);
    return { early, ms: await taken(() => ran.length === 1) };
  },

  async 'exponential backoff'(opened) {
    const queue = open(opened);
    const ages = [];
    queue.process(async (job) => {
      ages.push(Math.round((Date.now() - job.timestamp) / 60_000));
      throw new Error('no');
    });
    await queue.add(1, { attempts: 3, backoff: { type: 'fixed', delay: HOUR_MS } });
    await taken(() => ages.length === 1);
    for (let retry = 0; retry < 2; retry += 1) {
      await sleep(100);
      const before = ages.length;
      await jump(HOUR_MS + 1_000);
      await taken(() => ages.length > before);
    }
    return { ages };
  },

  async 'every hour'(opened) {
    const queue = open(opened);
    const at = [];
    queue.process(async () => at.push(Date.now()));
    await queue.isReady();
    await queue.add(1, { repeat: { every: HOUR_MS } });
    for (let hour = 0; hour < 4; hour += 1) {
      await sleep(100);
      const before = at.length;
      await jump(HOUR_MS);
      await taken(() => at.length > before);
    }
    return { runs: at.length };
  },

  async 'a limit of one an hour'(opened) {
    const queue = open(opened, { limiter: { max: 1, duration: HOUR_MS } });
    let ran = 0;
    queue.process(async () => (ran += 1));
    await queue.addBulk([1, 2, 3].map((data) => ({ data })));
    await taken(() => ran === 1);
    await sleep(200);
    const held = ran;
    await jump(HOUR_MS + 1_000);
    return { held, ms: await taken(() => ran === 2) };
  },

  async 'a job that is active across the jump'(opened) {
    return acrossTheJump(async (processor) => {
      const queue = open(opened, { settings: { stalledInterval: 300 } });
      queue.process(processor);
      await queue.add(1);
      return async () => (await queue.getCompletedCount()) === 1;
    });
  },

  async 'step by step, every hour for a day'(opened) {
    const queue = open(opened);
    const at = [];
    queue.process(async () => at.push(Date.now()));
    await queue.isReady();
    await queue.add(1, { repeat: { every: HOUR_MS } });
    await advance('24h');
    await queue.removeRepeatable({ every: HOUR_MS });
    const gaps = at.slice(1).map((moment, index) => Math.round((moment - at[index]) / 1_000));
    return { runs: at.length, gaps: [...new Set(gaps)] };
  },

  async 'step by step, a pattern of cron for a week'(opened) {
    const queue = open(opened);
    const at = [];
    queue.process(async () => at.push(new Date().toISOString().slice(11, 19)));
    await queue.isReady();
    await queue.add(1, { repeat: { cron: '0 9 * * *', tz: 'UTC' } });
    await advance('7d');
    await queue.removeRepeatable({ cron: '0 9 * * *', tz: 'UTC' });
    return { at };
  },

  async 'step by step, retries'(opened) {
    const queue = open(opened);
    const ages = [];
    queue.process(async (job) => {
      ages.push(Math.round((Date.now() - job.timestamp) / 60_000));
      throw new Error('no');
    });
    await queue.isReady();
    await queue.add(1, { attempts: 4, backoff: { type: 'exponential', delay: HOUR_MS } });
    await advance('1d');
    return { ages, failed: await queue.getFailedCount() };
  },

  async 'step by step, a limit of one an hour'(opened) {
    const queue = open(opened, { limiter: { max: 1, duration: HOUR_MS } });
    const at = [];
    queue.process(async () => at.push(Date.now()));
    await queue.isReady();
    await queue.addBulk([1, 2, 3, 4, 5].map((data) => ({ data })));
    await advance('1d');
    return { minutes: minutes(at) };
  },
});
