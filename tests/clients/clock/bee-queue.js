// bee-queue's features that wait for a time.

import Queue from 'bee-queue';
import { DAY_MS, HOUR_MS, acrossTheJump, advance, connection, jump, minutes, run } from './lab.js';
import { sleep, taken, uniqueName } from './lab.js';

const address = { host: connection.host, port: connection.port };
const open = (opened, options = {}) =>
  opened(new Queue(uniqueName(), { redis: address, activateDelayedJobs: true, ...options }));

await run({
  async 'a delayed job'(opened) {
    const queue = open(opened);
    const ran = [];
    queue.process(async (job) => ran.push(job.data.n));
    await queue.ready();
    await queue.createJob({ n: 1 }).delayUntil(Date.now() + DAY_MS).save();
    await sleep(100);
    const early = ran.length;
    await jump(DAY_MS + 1_000);
    return { early, ms: await taken(() => ran.length === 1) };
  },

  async backoff(opened) {
    const queue = open(opened);
    const at = [];
    queue.process(async () => {
      at.push(Date.now());
      throw new Error('no');
    });
    await queue.ready();
    await queue.createJob({ n: 1 }).retries(2).backoff('fixed', HOUR_MS).save();
    await taken(() => at.length === 1);
    for (let retry = 0; retry < 2; retry += 1) {
      await sleep(100);
      const before = at.length;
      await jump(HOUR_MS + 1_000);
      await taken(() => at.length > before);
    }
    return { runs: at.length };
  },

  async 'a job that is active across the jump'(opened) {
    return acrossTheJump(async (processor) => {
      const queue = open(opened, { stallInterval: 300 });
      queue.process(processor);
      queue.checkStalledJobs(300);
      await queue.createJob({ n: 1 }).save();
      return async () => (await queue.checkHealth()).succeeded === 1;
    });
  },

  async 'step by step, retries'(opened) {
    const queue = open(opened);
    const at = [];
    queue.process(async () => {
      at.push(Date.now());
      throw new Error('no');
    });
    await queue.ready();
    await queue.createJob({ n: 1 }).retries(4).backoff('exponential', HOUR_MS).save();
    await advance('1d');
    return { minutes: minutes(at), failed: (await queue.checkHealth()).failed };
  },
});
