// A server that follows another: ioredis reads from it, alone and as Sentinel's users do, what is
// written to the other one, and BullMQ is told at once that it writes to the wrong one.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import Redis from 'ioredis';
import { startServer } from './own-server.js';
import { sleep, until } from './support.js';

const { Queue, Worker } = createRequire(import.meta.url)('bullmq-6');

/** A server and one that follows it, once all is there that the first one has. */
async function startPair(t) {
  const primary = await startServer(t);
  if (!primary) return undefined;
  const replica = await startServer(t, '--replicaof', `127.0.0.1 ${primary.port}`);
  const client = new Redis(primary.port);
  t.after(() => client.quit());
  await until(async () => (await client.wait(1, 100)) === 1, 'it follows');
  return { primary, replica, client };
}

test('ioredis reads from a replica what was written to its primary', async (t) => {
  const pair = await startPair(t);
  if (!pair) return t.skip('this server has no TORIL');
  const reader = new Redis(pair.replica.port, { maxRetriesPerRequest: 1 });
  const subscriber = new Redis(pair.replica.port);
  t.after(() => reader.disconnect());
  t.after(() => subscriber.disconnect());
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

test('ioredis comes again until the replica that it writes to leads', async (t) => {
  const pair = await startPair(t);
  if (!pair) return t.skip('this server has no TORIL');
  const writer = new Redis(pair.replica.port, {
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
    retryStrategy: () => 20,
  });
  t.after(() => writer.disconnect());
  await pair.client.set('k', 'v');
  await pair.client.wait(1, 1_000);
  const written = writer.set('k', 'w');
  await sleep(100);
  const other = new Redis(pair.replica.port);
  t.after(() => other.disconnect());
  await other.replicaof('NO', 'ONE');
  assert.equal(await written, 'OK');
  assert.equal(await writer.get('k'), 'w');
});

test('BullMQ is told at once that a replica takes no jobs', async (t) => {
  const pair = await startPair(t);
  if (!pair) return t.skip('this server has no TORIL');
  const connection = { host: '127.0.0.1', port: pair.replica.port, maxRetriesPerRequest: null };
  const leading = new Queue('q', { connection: { ...connection, port: pair.primary.port } });
  t.after(() => leading.close());
  await leading.add('job', { n: 1 });
  await pair.client.wait(1, 1_000);

  const queue = new Queue('q', { connection, skipMetasUpdate: true });
  queue.on('error', () => {});
  t.after(() => queue.close());
  assert.equal(await queue.getWaitingCount(), 1);
  const began = Date.now();
  await assert.rejects(queue.add('job', {}), /READONLY/);
  const errors = [];
  const worker = new Worker('q', async () => assert.fail('a replica gives no job'), { connection });
  worker.on('error', (error) => errors.push(error.message));
  t.after(() => worker.close(true));
  await until(() => errors.some((text) => text.includes('READONLY')), 'a worker is told');
  assert.ok(Date.now() - began < 10_000);
  assert.equal(await leading.getWaitingCount(), 1);
});
