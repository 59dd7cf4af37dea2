// The worker: a process that stays, and waits on connections of its own over TCP. It takes what
// the API has pushed, and gives the mail that follows to BullMQ, which retries and delays it.

import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379';
const redis = new Redis(url);
const waiting = new Redis(url); // BRPOP keeps a connection busy: this one does nothing else.
const connection = { host: redis.options.host, port: redis.options.port };

const DONE_COUNT_MAX = 100;

const mails = new Queue('mails', {
  connection,
  defaultJobOptions: { attempts: 3, backoff: { type: 'fixed', delay: 50 }, removeOnComplete: true },
});

const worker = new Worker(
  'mails',
  async (job) => {
    // The first attempt fails, so that there is one to see.
    if (job.attemptsMade === 0) throw new Error('the mail server is not there yet');
    const { id, email } = job.data;
    await redis
      .multi()
      .hset(`signup:${id}`, { state: 'welcomed', attempts: job.attemptsMade + 1 })
      .lpush('signups:done', JSON.stringify({ id, email }))
      .ltrim('signups:done', 0, DONE_COUNT_MAX - 1)
      .exec();
  },
  { connection },
);
worker.on('failed', (job, error) => console.log(`${job.id}: ${error.message}, trying again`));

let isStopping = false;
async function stop() {
  isStopping = true;
  waiting.disconnect();
  await worker.close();
  await mails.close();
  redis.disconnect();
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);

console.log('The worker waits for signups');
while (!isStopping) {
  const [, text] = (await waiting.brpop('signups', 0).catch(() => null)) ?? [];
  if (text) await mails.add('welcome', JSON.parse(text), { delay: 20 });
}
