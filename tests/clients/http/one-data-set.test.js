// HTTP and TCP are two doors to one room: what happens behind one is seen through the other.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Redis } from '@upstash/redis';
import { Queue, QueueEvents, Worker } from 'bullmq-6';
import { address, sleep, uniqueName, until } from '../support.js';
import { connectTcp, listen, rest, run } from './rest.js';

const http = new Redis(rest);

test('one data set: keys of every type', async (t) => {
  const tcp = connectTcp(t);
  const key = uniqueName('shared');

  await http.set(key, { by: 'http' });
  assert.equal(await tcp.get(key), '{"by":"http"}');
  await tcp.set(key, 'by tcp');
  assert.equal(await http.get(key), 'by tcp');
  await tcp.hset(`${key}:hash`, { a: 1, b: 'two' });
  assert.deepEqual(await http.hgetall(`${key}:hash`), { a: 1, b: 'two' });
  await http.lpush(`${key}:list`, 'first', 'second');
  assert.equal(await tcp.rpop(`${key}:list`), 'first');
  await tcp.zadd(`${key}:zset`, 0.1, 'm');
  assert.equal(await http.zscore(`${key}:zset`, 'm'), 0.1);
  await http.sadd(`${key}:set`, 'm');
  assert.equal(await tcp.sismember(`${key}:set`, 'm'), 1);
  const id = await http.xadd(`${key}:stream`, '*', { by: 'http' });
  assert.deepEqual(await tcp.xrange(`${key}:stream`, '-', '+'), [[id, ['by', 'http']]]);
  const sha1 = await tcp.script('LOAD', 'return ARGV[1]');
  assert.equal(await http.evalsha(sha1, [], ['known']), 'known');
});

test('one data set: expiries', async (t) => {
  const tcp = connectTcp(t);
  const key = uniqueName('expiring');

  await http.set(key, 1, { ex: 100 });
  assert.equal(await tcp.ttl(key), 100);
  await tcp.pexpire(key, 50);
  await sleep(60);
  assert.equal(await http.get(key), null);
  await tcp.set(key, 1, 'PX', 50);
  await sleep(60);
  assert.equal(await http.exists(key), 0);
});

test('one data set: messages in both directions', async (t) => {
  const channel = uniqueName('news');
  const tcp = connectTcp(t);
  const subscriber = connectTcp(t);
  const heardByTcp = [];
  subscriber.on('message', (_, text) => heardByTcp.push(text));
  await subscriber.subscribe(channel);
  const stream = await listen(t, `/subscribe/${channel}`);
  const pattern = await listen(t, `/psubscribe/${channel}*`);
  await until(() => stream.lines.length && pattern.lines.length);

  assert.equal(await tcp.publish(channel, 'by tcp'), 3);
  assert.equal(await http.publish(channel, 'by http'), 3);
  await until(() => heardByTcp.length === 2 && stream.lines.length === 3);

  assert.deepEqual(heardByTcp, ['by tcp', 'by http']);
  assert.deepEqual(stream.lines.slice(1), [
    `data: message,${channel},by tcp`,
    `data: message,${channel},by http`,
  ]);
  await until(() => pattern.lines.length === 3);
  assert.equal(pattern.lines[2], `data: pmessage,${channel}*,${channel},by http`);
  assert.deepEqual(await tcp.pubsub('NUMSUB', channel), [channel, 2]);

  stream.leave();
  pattern.leave();
  await until(async () => (await tcp.publish(channel, 'last')) === 1);
});

test('one data set: MONITOR through each door shows what comes in by the other', async (t) => {
  const [byHttp, byTcp] = [uniqueName('by-http'), uniqueName('by-tcp')];
  const tcp = connectTcp(t);
  const stream = await listen(t, '/monitor');
  const monitor = await connectTcp(t).monitor();
  t.after(() => monitor.disconnect());
  const seen = [];
  monitor.on('monitor', (_, words) => seen.push(words));
  await until(() => stream.lines.length > 0);

  await http.set(byHttp, 'value');
  await tcp.set(byTcp, 'value');
  await until(() => seen.some((words) => words.includes(byTcp)));
  await until(() => stream.lines.some((line) => line.includes(byTcp)));

  for (const key of [byHttp, byTcp]) {
    assert.ok(seen.some((words) => words[1] === key));
    assert.ok(stream.lines.some((line) => line.endsWith(`"${key}" "value"`)));
  }
  const told = stream.lines.join('\n') + JSON.stringify(seen);
  assert.ok(!told.includes(rest.token));
});

test('one data set: a caller over HTTP is a client while it is served', async (t) => {
  const tcp = connectTcp(t);
  const channel = uniqueName('listed');
  await listen(t, `/subscribe/${channel}`);

  const clients = await tcp.client('LIST');
  assert.ok(clients.split('\n').some((line) => / sub=1 /.test(line)));
  await tcp.client('PAUSE', 150, 'WRITE');
  const began_ms = Date.now();
  assert.deepEqual(await run(['SET', channel, 1]), { result: 'OK' });
  assert.ok(Date.now() - began_ms >= 100, 'CLIENT PAUSE holds for it');
});

test('one data set: a push over HTTP wakes whoever waits over TCP', async (t) => {
  const tcp = connectTcp(t);
  const queue = uniqueName('queue');

  const waiting = Promise.all([tcp.brpop(queue, 20), tcp.brpop(queue, 20)]);
  await http.lpush(queue, 'one');
  const piped = http.pipeline().lpush(queue, 'two').llen(queue);
  await piped.exec();
  assert.deepEqual(await waiting, [
    [queue, 'one'],
    [queue, 'two'],
  ]);

  const blocked = connectTcp(t).xread('BLOCK', 20_000, 'STREAMS', `${queue}:stream`, '$');
  await until(async () => (await tcp.client('LIST')).includes('cmd=xread'));
  const id = await http.xadd(`${queue}:stream`, '*', { n: 1 });
  assert.deepEqual(await blocked, [[`${queue}:stream`, [[id, ['n', '1']]]]]);
});

test('one data set: counters raised through both doors at once', async (t) => {
  const tcp = connectTcp(t);
  const key = uniqueName('counter');

  const answers = await Promise.all(
    Array.from({ length: 400 }, (_, i) => (i % 2 ? http.incr(key) : tcp.incr(key))),
  );

  assert.equal(new Set(answers).size, 400);
  assert.equal(await http.get(key), 400);
});

test('one data set: a transaction over HTTP is one step for those who watch', async (t) => {
  const tcp = connectTcp(t);
  const key = uniqueName('watched');
  await tcp.watch(key);
  assert.deepEqual(await http.multi().set(key, 1).incr(key).exec(), ['OK', 2]);
  assert.equal(await tcp.multi().set(key, 'lost').exec(), null);
  assert.equal(await http.get(key), 2);
});

/** What a test has opened of BullMQ is closed when it ends. */
function opened(t, thing) {
  thing.on('error', () => {});
  t.after(() => thing.close(true));
  return thing;
}

test('one data set: jobs of BullMQ are seen over HTTP', async (t) => {
  const name = uniqueName('jobs');
  const connection = { ...address };
  const queue = opened(t, new Queue(name, { connection }));

  const waiting = await queue.addBulk([
    { name: 'mail', data: { to: 'ada' } },
    { name: 'mail', data: { to: 'bob' } },
  ]);
  await queue.add('later', {}, { delay: 60_000 });
  assert.equal(await http.llen(`bull:${name}:wait`), 2);
  assert.equal(await http.zcard(`bull:${name}:delayed`), 1);
  const job = await http.hgetall(`bull:${name}:${waiting[0].id}`);
  assert.deepEqual([job.name, job.data], ['mail', { to: 'ada' }]);

  const send = async ({ data }) => `sent to ${data.to}`;
  const worker = opened(t, new Worker(name, send, { connection }));
  await until(async () => (await http.zcard(`bull:${name}:completed`)) === 2);
  assert.equal(await http.hget(`bull:${name}:${waiting[1].id}`, 'returnvalue'), 'sent to bob');
  const events = await http.xrange(`bull:${name}:events`, '-', '+');
  assert.equal(Object.values(events).filter(({ event }) => event === 'completed').length, 2);
  await worker.close();
});

test('one data set: what HTTP does to a queue, its worker sees', async (t) => {
  const name = uniqueName('jobs');
  const connection = { ...address };
  const queue = opened(t, new Queue(name, { connection }));
  const events = opened(t, new QueueEvents(name, { connection, lastEventId: '0-0' }));
  const done = [];
  const process = async (job) => {
    done.push(job.data.n);
    // The worker's own state, changed through the other door while it works.
    await job.updateProgress(50);
    return (await run(['HGET', `bull:${name}:${job.id}`, 'progress'])).result;
  };
  // Queue.pause() leaves this mark.
  await http.hset(`bull:${name}:meta`, { paused: 1 });
  assert.equal(await queue.isPaused(), true);
  await queue.resume();

  opened(t, new Worker(name, process, { connection, drainDelay: 60 }));
  await queue.waitUntilReady();
  const completed = once(events, 'completed');
  await queue.add('job', { n: 1 });
  assert.equal((await completed)[0].returnvalue, '50');
  assert.deepEqual(done, [1]);

  // A delayed job is promoted over HTTP: its time comes now, and the marker wakes the worker.
  const later = await queue.add('job', { n: 2 }, { delay: 3_600_000 });
  const due = Math.floor(Date.now() - 1000) * 0x1000;
  const promoted = http.multi();
  promoted.zadd(`bull:${name}:delayed`, { score: due, member: later.id });
  promoted.zadd(`bull:${name}:marker`, { score: Date.now() - 1000, member: '1' });
  await promoted.exec();
  const returned = await until(() => http.hget(`bull:${name}:${later.id}`, 'returnvalue'));
  assert.equal(returned, '50');
  assert.deepEqual(done, [1, 2]);
});
