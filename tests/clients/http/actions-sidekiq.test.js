// The actions of the page on queues of Sidekiq, beside those of its own API: on twin jobs the library does one
// and toril's script the other, and then the keys of both are compared. Then a process must see them.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Redis } from 'ioredis';
import { jobs, notes, openConsole, ruby } from '../sidekiq-programs.js';
import { address, until } from '../support.js';
import * as twins from './twins.js';

const redis = new Redis({ ...address, db: 9 });
let ask;

const idOf = (name) => Buffer.from(`9\0queue:${name}`).toString('base64url');

const act = (action, body = {}, name = 'default') => twins.act(idOf(name), action, body);

/** The keys, without what differs between twins: their jids, and moments. */
async function keysOf() {
  const plain = (text) => {
    const told = JSON.parse(text);
    const { jid, created_at, failed_at, enqueued_at, ...rest } = told;
    return { ...rest, has: [jid, created_at, failed_at, enqueued_at].map((it) => typeof it) };
  };
  const sets = await Promise.all(['schedule', 'retry', 'dead'].map((key) => redis.zrange(key, 0, -1)));
  const list = await redis.lrange('queue:default', 0, -1);
  return { queues: await redis.smembers('queues'), list: list.map(plain), sets: sets.map((set) => set.map(plain)) };
}

before(() => { ask = openConsole(); });
beforeEach(() => redis.flushdb());
after(() => redis.disconnect());

const FAILED = { retry_count: 2, error_class: 'ArgumentError', error_message: 'as asked', failed_at: 1790000000.5 };
const jobIn = async (set) => {
  const jid = '0123456789abcdef01234567';
  const text = JSON.stringify({ class: 'WriteDown', args: ['a', { retry_count: 9 }, 12345678901234567890n.toString()], jid, retry: true, queue: 'default', created_at: 1790000000.123456, ...(set === 'schedule' ? {} : FAILED) });
  await redis.zadd(set, '4000000000.25', text);
  await redis.sadd('queues', 'default');
  return jid;
};

const CASES = [
  ['a job that is tried again is run now', 'retry', 'Sidekiq::RetrySet.new.each(&:retry)', 'promote'],
  ['a scheduled job is run now', 'schedule', 'Sidekiq::ScheduledSet.new.each(&:add_to_queue)', 'promote'],
  ['a dead job is retried', 'dead', 'Sidekiq::DeadSet.new.each(&:retry)', 'retry'],
  ['a dead job is removed', 'dead', 'Sidekiq::DeadSet.new.each(&:delete)', 'remove'],
  ['a job that is tried again is removed', 'retry', 'Sidekiq::RetrySet.new.each(&:delete)', 'remove'],
  ['a job that is tried again is killed', 'retry', 'Sidekiq::RetrySet.new.each(&:kill)', 'kill'],
];

for (const [title, set, theirs, action] of CASES) {
  test(`sidekiq: ${title}`, async () => {
    await jobIn(set);
    await ask(theirs);
    const expected = await keysOf();
    await redis.flushdb();
    const jid = await jobIn(set);
    const { done } = await act(action, { ids: [jid] });
    assert.equal(done, 1);
    assert.deepEqual(await keysOf(), expected);
  });
}

test('sidekiq: a waiting job is removed, a queue cleared, and a whole state retried', async () => {
  await ask("WriteDown.perform_bulk((1..3).map { |number| [number.to_s] })");
  const { jid } = JSON.parse((await redis.lrange('queue:default', 0, 0))[0]);
  assert.equal((await act('remove', { ids: [jid] })).done, 1);
  assert.equal(await ask('Sidekiq::Queue.new.size'), 2);
  assert.equal((await act('clear')).done, 2);
  assert.deepEqual(await redis.keys('queue:*'), []);
  assert.deepEqual(await redis.smembers('queues'), []);
  for (let at = 0; at < 300; at += 1) {
    await redis.zadd('dead', 1790000000 + at, JSON.stringify({ class: 'WriteDown', args: [String(at)], jid: `jid-${at}`, queue: 'default', created_at: 1790000000 }));
  }
  await redis.sadd('queues', 'default');
  const first = await act('retry', { state: 'dead', count: 300 });
  assert.deepEqual([first.done, first.left, first.looked], [250, 50, 250]);
  const second = await act('retry', { state: 'dead', count: 50, before: 250 });
  assert.equal(second.told, 'Retried 300 jobs of default');
  assert.equal(await ask('Sidekiq::Queue.new.size'), 300);
  const { refused } = await act('remove', { ids: ['nobody'] });
  assert.equal(refused[0], 'Job nobody is not there any more');
});

test('sidekiq: keys that are odd are named, and nothing is changed', async () => {
  const jids = {};
  for (const set of ['schedule', 'retry', 'dead']) {
    jids[set] = await jobIn(set);
    const [text] = await redis.zrange(set, 0, -1);
    jids[set] = `${set}${jids[set].slice(set.length)}`;
    await redis.del(set);
    await redis.zadd(set, 4_000_000_000, JSON.stringify({ ...JSON.parse(text), jid: jids[set] }));
  }
  await ask("WriteDown.perform_async('a')");
  const waiting = JSON.parse((await redis.lrange('queue:default', 0, 0))[0]).jid;
  await twins.refuseOdd(redis, idOf('default'), { list: ['queue:default'], set: ['queues'], zset: ['schedule', 'retry', 'dead'] }, [
    ['promote', { ids: [jids.schedule] }], ['kill', { ids: [jids.retry] }], ['retry', { ids: [jids.dead] }], ['remove', { ids: [waiting] }],
    ['clean', { state: 'enqueued', count: 9 }], ['clear'],
  ]);
  // A process is one that tells of itself.
  await redis.sadd('processes', 'host:1:abc');
  await redis.hset('host:1:abc', 'info', JSON.stringify({ identity: 'host:1:abc', queues: ['default'], concurrency: 1 }), 'busy', 0, 'beat', Date.now() / 1000);
  await twins.refuseOdd(redis, idOf('default'), { list: ['host:1:abc-signals'] }, [['quiet']]);
  assert.equal((await act('quiet')).done, 1);
});

test('sidekiq: a process does what is retried, and takes no more once it is quiet', async () => {
  const options = ['--concurrency', '1', '--timeout', '1', '--queue', 'default'];
  const worker = ruby(['-S', 'sidekiq', '--require', jobs, ...options], 'inherit');
  const jid = await jobIn('dead');
  await redis.zremrangebyrank('dead', 0, -1);
  await redis.zadd('dead', 1, JSON.stringify({ class: 'WriteDown', args: ['done'], jid, retry: true, queue: 'default', created_at: 1790000000.5 }));
  await act('retry', { ids: [jid] });
  await until(async () => (await redis.lrange(notes, 0, -1)).includes('done'));
  await until(async () => (await ask('Sidekiq::ProcessSet.new.size')) === 1);
  await act('quiet');
  await until(() => ask('Sidekiq::ProcessSet.new.all? { _1.stopping? }'));
  await ask("WriteDown.perform_async('never')");
  worker.kill('SIGTERM');
  await worker.exited;
  assert.deepEqual(await redis.lrange(notes, 0, -1), ['done']);
});
