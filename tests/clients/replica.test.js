// A server that follows another: ioredis reads from it, alone and as Sentinel's users do, what is
// written to the other one, and BullMQ is told at once that it writes to the wrong one.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import Redis from 'ioredis';
import { startServer } from './own-server.js';
import { sleep, until } from './support.js';

const { Queue, Worker } = createRequire(import.meta.url)('bullmq-6');

/**
 * A test of a server and one that follows it, once all is there that the first one has. `body` gets
 * both, a client of the first, and what takes note of how to close the clients of its own.
 */
function pairTest(name, body) {
  test(name, { timeout: 60_000 }, async (t) => {
    const primary = await startServer(t);
    if (!primary) return t.skip('this server has no TORIL');
    const replica = await startServer(t, '--replicaof', `127.0.0.1 ${primary.port}`);
    const client = new Redis(primary.port);
    const closers = [() => client.disconnect()];
    try {
      await until(async () => (await client.wait(1, 100)) === 1, 'it follows');
      await body({ primary, replica, client }, (close) => closers.push(close));
    } finally {
      for (const close of closers.reverse()) await close();
    }
  });
}

pairTest('ioredis reads from a replica what was written to its primary', async (pair, after) => {
  const reader = new Redis(pair.replica.port, { maxRetriesPerRequest: 1 });
  const subscriber = new Redis(pair.replica.port);
  after(() => reader.disconnect());
  after(() => subscriber.disconnect());
  await subscriber.subscribe('news');
  const heard = new Promise((resolve) => subscriber.once('message', (_, text) => resolve(text)));
  await pair.client.multi().set('k', 'v').rpush('l', 'a', 'b').hset('h', { f: 1 }).exec();
  await pair.client.publish('news', 'hello');
  await pair.client.wait(1, 1_000);
  assert.equal(await reader.get('k'), 'v');
  assert.deepEqual(await reader.lrange('l', 0, -1), ['a', 'b']);
  assert.deepEqual(await reader.hgetall('h'), { f: '1' });
  assert.equal(await heard, 'hello');
  await assert.rejects(reader.set('k', 'w'), /^ReplyError: READONLY /);
  const [role, , port, state] = await reader.role();
  assert.deepEqual([role, port, state], ['slave', pair.primary.port, 'connected']);
});

pairTest('ioredis comes again until the replica that it writes to leads', async (pair, after) => {
  const writer = new Redis(pair.replica.port, {
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    retryStrategy: () => 20,
  });
  const other = new Redis(pair.replica.port);
  after(() => writer.disconnect());
  after(() => other.disconnect());
  await pair.client.set('k', 'v');
  await pair.client.wait(1, 1_000);
  const written = writer.set('k', 'w');
  await sleep(100);
  await other.replicaof('NO', 'ONE');
  assert.equal(await written, 'OK');
  assert.equal(await writer.get('k'), 'w');
});

pairTest('BullMQ is told at once that a replica takes no jobs', async (pair, after) => {
  const connection = { host: '127.0.0.1', port: pair.replica.port, maxRetriesPerRequest: null };
  const leading = new Queue('q', { connection: { ...connection, port: pair.primary.port } });
  after(() => leading.close());
  await leading.add('job', { n: 1 });
  await pair.client.wait(1, 1_000);

  const queue = new Queue('q', { connection, skipMetasUpdate: true });
  queue.on('error', () => {});
  after(() => queue.close());
  assert.equal(await queue.getWaitingCount(), 1);
  const began = Date.now();
  await assert.rejects(queue.add('job', {}), /READONLY/);
  const errors = [];
  const worker = new Worker('q', async () => assert.fail('a replica gives no job'), { connection });
  worker.on('error', (error) => errors.push(error.message));
  after(() => worker.close(true));
  await until(() => errors.some((text) => text.includes('READONLY')), 'a worker is told');
  assert.ok(Date.now() - began < 10_000);
  assert.equal(await leading.getWaitingCount(), 1);
});
