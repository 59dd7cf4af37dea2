// ioredis 5: the client beneath BullMQ and Bull, used the way applications use it directly.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { address, sleep, uniqueName, until } from './support.js';

function connect(t, options = {}) {
  const redis = new Redis({ ...address, ...options });
  t.after(() => redis.disconnect());
  return redis;
}

test('ioredis: values of every type, binary ones too', async (t) => {
  const redis = connect(t);
  const key = uniqueName('key');
  const bytes = Buffer.from([0, 13, 10, 255, 254, 36]);

  await redis.set(key, bytes);
  assert.deepEqual(await redis.getBuffer(key), bytes);
  assert.equal(await redis.incrby(`${key}:n`, 41), 41);
  await redis.hset(`${key}:h`, { name: 'toril', legs: 4 });
  assert.deepEqual(await redis.hgetall(`${key}:h`), { name: 'toril', legs: '4' });
  await redis.zadd(`${key}:z`, 1.5, 'b', 1, 'a', '+inf', 'c');
  assert.deepEqual(await redis.zrange(`${key}:z`, 0, -1, 'WITHSCORES'), [
    'a',
    '1',
    'b',
    '1.5',
    'c',
    'inf',
  ]);
  await redis.sadd(`${key}:s`, 1, 2, 3);
  assert.deepEqual((await redis.smembers(`${key}:s`)).sort(), ['1', '2', '3']);
  assert.equal(await redis.get(`${key}:none`), null);
});

test('ioredis: a pipeline answers in order, an error in its place', async (t) => {
  const redis = connect(t);
  const key = uniqueName('list');

  const answers = await redis.pipeline().rpush(key, 'a', 'b').incr(key).lrange(key, 0, -1).exec();

  assert.deepEqual(answers[0], [null, 2]);
  assert.match(answers[1][0].message, /^WRONGTYPE /);
  assert.deepEqual(answers[2], [null, ['a', 'b']]);
});

test('ioredis: ten thousand commands in one pipeline', async (t) => {
  const redis = connect(t);
  const key = uniqueName('counter');
  const pipeline = redis.pipeline();
  for (let command = 0; command < 10_000; command += 1) pipeline.incr(key);

  const answers = await pipeline.exec();

  assert.deepEqual(
    answers.map(([, value]) => value),
    Array.from({ length: 10_000 }, (_, i) => i + 1),
  );
});

test('ioredis: MULTI runs all or, after WATCH, nothing', async (t) => {
  const redis = connect(t);
  const other = connect(t);
  const key = uniqueName('watched');

  assert.deepEqual(await redis.multi().set(key, 1).incr(key).exec(), [
    [null, 'OK'],
    [null, 2],
  ]);

  await redis.watch(key);
  await other.set(key, 'changed');
  assert.equal(await redis.multi().set(key, 'lost').exec(), null);
  assert.equal(await redis.get(key), 'changed');
  await assert.rejects(redis.multi().set(key).exec(), /EXECABORT/);
});

test('ioredis: messages reach channel and pattern subscribers in order', async (t) => {
  const subscriber = connect(t);
  const publisher = connect(t);
  const channel = uniqueName('news');
  const heard = [];
  subscriber.on('message', (...message) => heard.push(message));
  subscriber.on('pmessage', (...message) => heard.push(message));
  assert.equal(await subscriber.subscribe(channel), 1);
  assert.equal(await subscriber.psubscribe(`${channel}*`), 2);

  assert.equal(await publisher.publish(channel, 'one'), 2);
  assert.equal(await publisher.publish(`${channel}-more`, 'two'), 1);
  await until(() => heard.length === 3);

  assert.deepEqual(heard, [
    [channel, 'one'],
    [`${channel}*`, channel, 'one'],
    [`${channel}*`, `${channel}-more`, 'two'],
  ]);
  await subscriber.unsubscribe(channel);
  await subscriber.punsubscribe(`${channel}*`);
  assert.equal(await subscriber.ping(), 'PONG', 'an ordinary connection again');
});

test('ioredis: a defined command loads its script when the server has forgotten it', async (t) => {
  const redis = connect(t);
  redis.defineCommand('addUp', {
    numberOfKeys: 1,
    lua: `-- ${uniqueName('script')}
      local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
      return { sum, tostring(sum), false, { ok = 'FINE' }, 1.9 }`,
  });
  const key = uniqueName('sum');

  assert.deepEqual(await redis.addUp(key, 5), [5, '5', null, 'FINE', 1]);
  assert.deepEqual(await redis.addUp(key, 6), [11, '11', null, 'FINE', 1]);
  const piped = await redis.pipeline().addUp(key, 1).addUp(key, 1).exec();
  assert.deepEqual(
    piped.map(([, [sum]]) => sum),
    [12, 13],
  );
  await assert.rejects(
    redis.addUp(key, 'no number'),
    /ERR value is not an integer or out of range/,
  );
  await assert.rejects(redis.evalsha('0'.repeat(40), 0), /^ReplyError: NOSCRIPT /);
});

test('ioredis: a blocking pop waits for a push, in order of arrival', async (t) => {
  const [first, second, pusher] = [connect(t), connect(t), connect(t)];
  const key = uniqueName('queue');
  const popped = [];
  const wait = (client, name) =>
    client.blpop(key, 20).then(([, element]) => popped.push([name, element]));
  const waits = [wait(first, 'first')];
  await sleep(100);
  waits.push(wait(second, 'second'));
  await sleep(100);

  await pusher.rpush(key, 'a', 'b');
  await Promise.all(waits);

  assert.deepEqual(popped.toSorted(), [
    ['first', 'a'],
    ['second', 'b'],
  ]);
  assert.equal(await pusher.exists(key), 0);
});

test('ioredis: a blocking call that nobody serves ends with null, not early', async (t) => {
  const redis = connect(t);
  const before = Date.now();

  assert.equal(await redis.bzpopmin(uniqueName('none'), 0.3), null);

  assert(Date.now() - before >= 300);
});

test('ioredis: a stream is written, read and waited for', async (t) => {
  const [writer, reader] = [connect(t), connect(t)];
  const key = uniqueName('stream');
  await writer.xadd(key, '1-1', 'n', '1');

  assert.deepEqual(await reader.xread('COUNT', 10, 'STREAMS', key, '0'), [
    [key, [['1-1', ['n', '1']]]],
  ]);
  const waiting = reader.xread('BLOCK', 20_000, 'STREAMS', key, '$');
  await sleep(100);
  const id = await writer.xadd(key, '*', 'n', '2');
  assert.deepEqual(await waiting, [[key, [[id, ['n', '2']]]]]);
  assert.deepEqual(await writer.xrange(key, '-', '+', 'COUNT', 1), [['1-1', ['n', '1']]]);
});

test('ioredis: a scan finds every key once', async (t) => {
  const redis = connect(t);
  const prefix = uniqueName('scan');
  await redis.mset(
    Array.from({ length: 2_000 }, (_, index) => [`${prefix}:${index}`, index]).flat(),
  );

  const found = [];
  for await (const keys of redis.scanStream({ match: `${prefix}:*`, count: 100 }))
    found.push(...keys);

  assert.equal(new Set(found).size, 2_000);
});

test('ioredis: a lost connection is made again, and commands wait for it', async (t) => {
  const redis = connect(t, { connectionName: uniqueName('victim') });
  const killer = connect(t);
  await redis.select(5);
  const id = await redis.client('ID');

  const reconnected = once(redis, 'reconnecting');
  assert.equal(await killer.client('KILL', 'ID', id), 1);
  await reconnected;
  const info = await redis.client('INFO');

  assert.notEqual(await redis.client('ID'), id);
  assert.match(info, /\bdb=5\b/, 'its database is chosen again');
  assert.match(info, new RegExp(`\\bname=${redis.options.connectionName}\\b`));
});

test('ioredis: QUIT answers OK and closes', async () => {
  const redis = new Redis(address);
  const ended = once(redis, 'end');

  assert.equal(await redis.quit(), 'OK');
  await ended;
});

test('ioredis: INFO has what clients look for', async (t) => {
  const redis = connect(t);
  const lines = (await redis.info()).split('\r\n').filter((line) => line.includes(':'));
  const info = Object.fromEntries(lines.map((line) => line.split(/:(.*)/)));

  assert.match(info.redis_version, /^\d+\.\d+\.\d+$/);
  assert.equal(info.redis_mode ?? info.server_mode, 'standalone'); // Valkey's word for it.
  assert.equal(info.role, 'master');
  assert.equal(info.loading, '0');
  assert.equal(info.maxmemory_policy, 'noeviction');
  assert.equal(Number(info.tcp_port), address.port);
  assert(Number(info.connected_clients) >= 1);
  assert(Number(info.used_memory) > 0);
});
