import { QueueEvents } from 'bullmq';
import { server } from 'toril/vitest';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mailQueue, mailWorker, welcome } from './mail.js';

const { connection } = server;
let queue, events, worker;

beforeEach(async () => {
  queue = mailQueue(connection);
  events = new QueueEvents('mail', { connection });
  await events.waitUntilReady();
});

// The server is emptied after this, when nobody uses it any more.
afterEach(async () => {
  await worker.close();
  await events.close();
  await queue.close();
});

test('a letter is sent', async () => {
  const sent = [];
  worker = mailWorker(connection, async (to, text) => sent.push([to, text]));
  const job = await welcome(queue, 'ada@example.com', 'Ada');
  await job.waitUntilFinished(events);
  expect(sent).toEqual([['ada@example.com', 'Hello Ada']]);
});

test('a letter is tried again', async () => {
  let tries = 0;
  worker = mailWorker(connection, async () => {
    tries += 1;
    if (tries < 3) throw new Error('closed');
  });
  const job = await welcome(queue, 'ada@example.com', 'Ada');
  await job.waitUntilFinished(events);
  expect(tries).toBe(3);
});

test('a letter that is refused three times stays as failed', async () => {
  worker = mailWorker(connection, async () => {
    throw new Error('no such address');
  });
  const job = await welcome(queue, 'nobody', 'Nobody');
  await expect(job.waitUntilFinished(events)).rejects.toThrow('no such address');
  // Each test begins with an empty server: this is the only one.
  expect(await queue.getFailedCount()).toBe(1);
});
