// The actions of the page on queues of bee-queue, beside those of bee-queue itself: on twin queues the library
// does one and toril's script the other, and then the keys of both are compared. Then a worker that waits must
// see what toril's scripts do.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import Queue from 'bee-queue';
import { Redis } from 'ioredis';
import { address, uniqueName, until } from '../support.js';
import * as twins from './twins.js';

const HOUR_MS = 3_600_000;
const redis = new Redis(address);
after(() => redis.disconnect());

const idOf = (name) => Buffer.from(`0\0bq:${name}`).toString('base64url');

const ask = (name, action, body) => twins.ask(idOf(name), action, body);
const act = (name, action, body) => twins.act(idOf(name), action, body);

/** All keys of a queue, without what differs between twins: their name, and moments. */
async function keysOf(name) {
  const all = {};
  for (const key of (await redis.keys(`bq:${name}:*`)).sort()) {
    const value = JSON.stringify(await twins.valueOf(redis, key));
    all[key.replace(name, 'twin')] = value.replace(/\b1[78]\d{11}\b/g, 'MOMENT');
  }
  return all;
}

/** A queue with a job in each state but that of those that run. */
async function fill(name) {
  const queue = new Queue(name, { redis: address, activateDelayedJobs: true });
  const save = (id, change = (job) => job) => change(queue.createJob({ id }).setId(id)).save();
  for (const id of ['bad-1', 'bad-2', 'good-1']) await save(id);
  const hand = new Queue(name, { redis: address });
  hand.process(async (job) => {
    if (job.id.startsWith('good')) return 'fine';
    const problem = new Error('no such mailbox');
    problem.stack = 'Error: no such mailbox\n    at nowhere';
    throw problem;
  });
  await until(async () => {
    const { failed, succeeded } = await queue.checkHealth();
    return failed + succeeded === 3;
  });
  await hand.close();
  await save('next-1');
  await save('next-2');
  for (const id of ['later-1', 'later-2']) await save(id, (job) => job.delayUntil(Date.now() + HOUR_MS));
  return queue;
}

/** A delayed job that is due is let run by the library. */
async function raise(queue, id) {
  await redis.zadd(`bq:${queue.name}:delayed`, 1, id);
  queue._activateDelayed();
  await until(async () => (await redis.lpos(`bq:${queue.name}:waiting`, id)) !== null);
}

const job = (queue, id) => queue.getJob(id);

const CASES = [
  ['a failed job is retried', (q) => job(q, 'bad-1').then((it) => it.retry()), ['retry', { ids: ['bad-1'] }]],
  ['a delayed job is let run', (q) => raise(q, 'later-2'), ['promote', { ids: ['later-2'] }]],
  ...['bad-1', 'good-1', 'later-2', 'next-1'].map((id) =>
    [`${id} is removed`, (q) => job(q, id).then((it) => it.remove()), ['remove', { ids: [id] }]]),
  ['all that waits is removed', async (q) => { for (const id of ['next-1', 'next-2']) await q.removeJob(id); }, ['clean', { state: 'waiting', count: 9 }]],
  ['all that has failed is removed', async (q) => { for (const id of ['bad-1', 'bad-2']) await q.removeJob(id); }, ['clean', { state: 'failed', count: 2 }]],
  ['a queue is removed', (q) => q.destroy(), (name) => ['obliterate', { confirm: name }]],
];

describe('on twins of bee-queue', { concurrency: 4 }, () => {
  for (const [title, theirs, ours] of CASES) {
    test(title, async () => {
      const [one, two] = [uniqueName('twin'), uniqueName('twin')];
      const queues = [await fill(one), await fill(two)];
      assert.deepEqual(await keysOf(two), await keysOf(one), 'they were twins before');
      await theirs(queues[0]);
      const [action, body] = typeof ours === 'function' ? ours(two) : ours;
      const { refused } = await act(two, action, body);
      assert.deepEqual(refused, []);
      assert.deepEqual(await keysOf(two), await keysOf(one));
      for (const queue of queues) await queue.close();
    });
  }

  test('what makes no sense is refused, and what a worker holds stays', async () => {
    const name = uniqueName('twin');
    const queue = await fill(name);
    const wrong = [
      ['retry', { ids: ['good-1'] }, /there is no retry of what is succeeded/],
      ['promote', { ids: ['bad-1'] }, /there is no promote of what is failed/],
      ['delay', { ids: ['next-1'], delay: '1m' }, /there is no delay of what is waiting/],
      ['pause', {}, /there is no action 'pause': clean/],
      ['obliterate', { confirm: 'other' }, /type the queue's name/],
      ['clean', { state: 'failed', count: 2, older: '7d' }, /jobs of bee-queue are not chosen by 'older'/],
    ];
    for (const [action, body, text] of wrong) assert.match((await ask(name, action, body)).json.error, text);
    assert.deepEqual((await act(name, 'remove', { ids: ['nobody'] })).refused, ['Job nobody is not there any more']);
    const held = new Promise((resolve) => {
      queue.process((it) => {
        resolve(it.id);
        return new Promise((end) => { queue.end = end; });
      });
    });
    const id = await held;
    assert.match((await ask(name, 'remove', { ids: [id] })).json.error, /there is no remove of what is active/);
    assert.match((await act(name, 'obliterate', { confirm: name })).refused[0], /^1 run: /);
    assert.notEqual(await queue.getJob(id), null);
    queue.end();
    await queue.close();
  });
});

test('keys of bee-queue that are odd are named, and nothing is changed', async () => {
  const name = uniqueName('odd');
  const queue = await fill(name);
  const own = (...ends) => ends.map((end) => `bq:${name}:${end}`);
  const keys = { list: own('waiting', 'active'), zset: own('delayed'), set: own('failed', 'succeeded', 'stalling'), hash: own('jobs') };
  await queue.close();
  await twins.refuseOdd(redis, idOf(name), keys, [
    ['retry', { ids: ['bad-1'] }], ['retry', { state: 'failed', count: 2 }], ['promote', { ids: ['later-1'] }],
    ['delay', { ids: ['later-1'], delay: '1m' }], ['remove', { ids: ['next-1'] }], ['clean', { state: 'waiting', count: 9 }],
    ['obliterate', { confirm: name }],
  ]);
});

test('a job of bee-queue without its data stays where it is', async () => {
  const name = uniqueName('odd');
  const queue = await fill(name);
  await redis.hdel(`bq:${name}:jobs`, 'bad-1');
  const before = await twins.everything(redis);
  assert.deepEqual((await act(name, 'retry', { ids: ['bad-1'] })).refused, ['Job bad-1 is not there any more']);
  assert.deepEqual(await twins.everything(redis), before);
  await queue.close();
});

describe('workers of bee-queue that wait', () => {
  const ran = [];
  let queue, shouldFail = true;

  before(async () => {
    queue = new Queue(uniqueName('live'), { redis: address, activateDelayedJobs: true });
    queue.process(async (it) => {
      ran.push(it.id);
      if (shouldFail) throw new Error('not today');
    });
    await queue.createJob({}).setId('mine').save();
    await until(async () => (await queue.checkHealth()).failed === 1);
    shouldFail = false;
  });
  after(() => queue.close());

  /** Does something to a job while the worker waits, and looks whether it gets it. */
  async function isTaken(id, action, body) {
    const client = async () => (await redis.client('LIST')).split('\n').some((it) => / cmd=brpoplpush/.test(it));
    await until(client);
    ran.length = 0;
    assert.equal((await act(queue.name, action, { ids: [id], ...body })).done, 1);
    await until(() => ran.includes(id));
    await until(async () => (await queue.getJob(id)).isInSet('succeeded'));
  }
  const later = (id) => queue.createJob({}).setId(id).delayUntil(Date.now() + HOUR_MS).save();

  test('take what is retried', () => isTaken('mine', 'retry'));
  test('take what is let run', async () => {
    await later('promoted');
    await isTaken('promoted', 'promote');
  });
  test('take what is to run sooner', async () => {
    await later('sooner');
    await isTaken('sooner', 'delay', { delay: '300ms' });
  });
  test('take a whole state, in its order', async () => {
    for (let at = 0; at < 300; at += 1) await queue.createJob({}).setId(`many-${at}`).delayUntil(Date.now() + HOUR_MS + at).save();
    ran.length = 0;
    const first = await act(queue.name, 'promote', { state: 'delayed', count: 300 });
    assert.deepEqual([first.done, first.left, first.looked], [250, 50, 250]);
    const second = await act(queue.name, 'promote', { state: 'delayed', count: 50, before: 250 });
    assert.equal(second.told, `Let 300 jobs of ${queue.name} run now`);
    await until(() => ran.length === 300);
    assert.deepEqual(ran, Array.from({ length: 300 }, (_, at) => `many-${at}`));
  });
});
