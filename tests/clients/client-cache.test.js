// node-redis with clientSideCache: what was read is kept, until the server says that it has changed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, createClientPool } from 'redis';
import { uniqueName, until, url } from './support.js';

async function connect(t, options = {}) {
  const client = createClient({ url, RESP: 3, ...options });
  client.on('error', () => {});
  await client.connect();
  t.after(() => client.isOpen && client.destroy());
  return client;
}

function caching(t) {
  return connect(t, { clientSideCache: { ttl: 0, maxEntries: 100, evictPolicy: 'LRU' } });
}

/** How often the server has run a command. */
async function calls(client, command) {
  const stats = await client.info('commandstats');
  return Number(stats.match(new RegExp(`cmdstat_${command}:calls=(\\d+)`))?.[1] ?? 0);
}

test('what is read twice is asked for once, and read anew once another has changed it', async (t) => {
  const [client, other] = [await caching(t), await connect(t)];
  const key = uniqueName('cached');
  await other.set(key, 'first');
  const before = await calls(other, 'get');

  for (let at = 0; at < 5; at++) assert.equal(await client.get(key), 'first');
  assert.equal((await calls(other, 'get')) - before, 1);

  await other.set(key, 'second');
  await until(async () => (await client.get(key)) === 'second');
  const asked = await calls(other, 'get');
  assert.equal(asked - before, 2);
  for (let at = 0; at < 5; at++) assert.equal(await client.get(key), 'second');
  assert.equal(await calls(other, 'get'), asked);
});

test('its own change is seen as well', async (t) => {
  const client = await caching(t);
  const key = uniqueName('own');

  assert.equal(await client.get(key), null);
  await client.set(key, 'mine');
  assert.equal(await client.get(key), 'mine');
});

test('what has expired is no longer read', async (t) => {
  const [client, other] = [await caching(t), await connect(t)];
  const key = uniqueName('expires');

  await other.set(key, 'value', { expiration: { type: 'PX', value: 300 } });
  assert.equal(await client.get(key), 'value');
  assert.equal(await client.get(key), 'value');
  await until(async () => (await client.get(key)) === null);
});

test('what a transaction, a script or FLUSHALL has changed is read anew', async (t) => {
  const [client, other] = [await caching(t), await connect(t)];
  const key = uniqueName('hash');
  const reads = (value) => until(async () => (await client.hGet(key, 'field')) === value);

  assert.equal(await client.hGet(key, 'field'), null);
  await other.multi().hSet(key, 'field', 'first').exec();
  await reads('first');
  await other.eval("return redis.call('hset', KEYS[1], 'field', 'second')", { keys: [key] });
  await reads('second');
  await other.flushAll();
  await reads(null);
});

test('a pool shares one cache', async (t) => {
  const other = await connect(t);
  const pool = createClientPool(
    { url, RESP: 3 },
    { minimum: 3, clientSideCache: { ttl: 0, maxEntries: 100 } },
  );
  pool.on('error', () => {});
  await pool.connect();
  t.after(() => pool.destroy());
  const key = uniqueName('pooled');
  await other.set(key, 'first');

  assert.equal(await pool.get(key), 'first');
  const before = await calls(other, 'get');
  const values = await Promise.all(Array.from({ length: 10 }, () => pool.get(key)));
  assert.deepEqual(new Set(values), new Set(['first']));
  assert.equal(await calls(other, 'get'), before);

  await other.set(key, 'second');
  await until(async () => (await pool.get(key)) === 'second');
});
