// Bull 4's features that wait for a time.

import Queue from 'bull';
import { DAY_MS, HOUR_MS, connection, jump, run, sleep, taken, uniqueName } from './lab.js';

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
    const queue = open(opened, { settings: { stalledInterval: 300 } });
    let release;
    const gate = new Promise((resolve) => (release = resolve));
    let runs = 0;
    queue.process(async () => {
      runs += 1;
      await gate;
    });
    await queue.add(1);
    await taken(() => runs === 1);
    await jump(HOUR_MS);
    await sleep(900);
    release();
    await taken(async () => (await queue.getCompletedCount()) === 1);
    return { runs };
  },
});
