// @vercel/kv: @upstash/redis under another name, with iterators and variables of its own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, kv } from '@vercel/kv';
import { uniqueName } from '../support.js';
import { rest } from './rest.js';

Object.assign(process.env, { KV_REST_API_URL: rest.url, KV_REST_API_TOKEN: rest.token });

async function collect(iterator) {
  const items = [];
  for await (const item of iterator) items.push(item);
  return items;
}

test('@vercel/kv: from the environment', async () => {
  const key = uniqueName('kv');

  assert.equal(await kv.set(key, { name: 'Ada', n: 8 }, { ex: 100 }), 'OK');
  assert.deepEqual(await kv.get(key), { name: 'Ada', n: 8 });
  assert.equal(await kv.ttl(key), 100);
  assert.equal(await kv.hset(`${key}:session`, { user: 'OK', visits: 1 }), 2);
  assert.equal(await kv.hincrby(`${key}:session`, 'visits', 1), 2);
  assert.deepEqual(await kv.hgetall(`${key}:session`), { user: 'OK', visits: 2 });
  assert.equal(await kv.lpush(`${key}:list`, 'a', 'b'), 2);
  assert.equal(await kv.rpop(`${key}:list`), 'a');
  assert.equal(await kv.del(key, `${key}:session`, `${key}:list`), 3);
});

test('@vercel/kv: commands of one tick go together', async () => {
  const client = createClient(rest);
  const key = uniqueName('tick');

  const answers = await Promise.all([
    client.incr(key),
    client.incr(key),
    client.get(key),
    client.set(key, 'OK'),
  ]);

  // Reads are sent beside writes, not behind them: what they find is not said.
  assert.deepEqual([answers[0], answers[1], answers[3]], [1, 2, 'OK']);
  assert.equal(await client.get(key), 'OK');
});

test('@vercel/kv: iterators over keys, hashes, sets and sorted sets', async () => {
  const name = uniqueName('iterated');
  const numbers = Array.from({ length: 300 }, (_, i) => i);
  await Promise.all(numbers.map((n) => kv.set(`${name}:${n}`, n)));
  await kv.hset(`${name}-hash`, Object.fromEntries(numbers.map((n) => [`f${n}`, `v${n}`])));
  await kv.sadd(`${name}-set`, ...numbers.map((n) => `m${n}`));
  await kv.zadd(`${name}-zset`, ...numbers.map((n) => ({ score: n / 2, member: `m${n}` })));

  const keys = await collect(kv.scanIterator({ match: `${name}:*`, count: 20 }));
  assert.deepEqual([...new Set(keys)].sort(), numbers.map((n) => `${name}:${n}`).sort());
  const fields = await collect(kv.hscanIterator(`${name}-hash`, { count: 20 }));
  assert.deepEqual([...new Set(fields)].sort(), numbers.flatMap((n) => [`f${n}`, `v${n}`]).sort());
  const members = await collect(kv.sscanIterator(`${name}-set`));
  assert.deepEqual([...new Set(members)].sort(), numbers.map((n) => `m${n}`).sort());
  const scored = await collect(kv.zscanIterator(`${name}-zset`));
  const scores = new Map(numbers.map((_, i) => [scored[2 * i], Number(scored[2 * i + 1])]));
  assert.deepEqual(
    numbers.map((n) => scores.get(`m${n}`)),
    numbers.map((n) => n / 2),
  );
});

test('@vercel/kv: transactions and errors', async () => {
  const key = uniqueName('kv');

  assert.deepEqual(await kv.multi().set(key, 1).incr(key).exec(), ['OK', 2]);
  await kv.set(key, 'text');
  await assert.rejects(kv.incr(key), /ERR value is not an integer or out of range/);
  await assert.rejects(createClient({ ...rest, token: 'wrong' }).get(key), /WRONGPASS/);
});
