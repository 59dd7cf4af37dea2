// Ten tests. The tests of the packages make eight files of this one, each with a server of its own.

import { Queue, Worker } from 'bullmq';
import { server } from 'toril/vitest';
import { afterAll, expect, test } from 'vitest';

const { connection } = server;
const queue = new Queue('mail', { connection });
afterAll(() => queue.close());

test.each([...Array(10).keys()])('test %i has a job done on an empty server', async (number) => {
  // Numbers begin again at 1: the job of the test before has gone.
  expect(await server.command('EXISTS', 'bull:mail:1')).toBe(0);
  const worker = new Worker('mail', async (job) => job.data.number, { connection });
  const done = new Promise((resolve) => worker.on('completed', (job, answer) => resolve(answer)));
  await queue.add('welcome', { number });
  expect(await done).toBe(number);
  await worker.close();
});
