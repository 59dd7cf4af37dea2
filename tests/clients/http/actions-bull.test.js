// The actions of the page on queues of Bull, beside those of Bull itself: on twin queues the library does one
// and toril's script the other, and then the keys of both are compared. Then a worker that waits, and somebody
// who listens, must see what toril's scripts do.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { Redis } from 'ioredis';
import { address, sleep, uniqueName, until } from '../support.js';
import * as twins from './twins.js';

const require = createRequire(import.meta.url);
const Bull = require('bull');
const redis = new Redis(address);
after(() => redis.disconnect());

const idOf = (name) => Buffer.from(`0\0bull:${name}`).toString('base64url');
const open = (name) => new Bull(name, { redis: { host: address.host, port: address.port } });

const ask = (name, action, body) => twins.ask(idOf(name), action, body);
const act = (name, action, body) => twins.act(idOf(name), action, body);

/** All keys of a queue, without what differs between twins: their name, and moments. */
async function keysOf(name) {
  const all = {};
  for (const key of (await redis.keys(`bull:${name}:*`)).sort()) {
    const value = JSON.stringify(await twins.valueOf(redis, key));
    all[key.replaceAll(name, 'twin')] = value.replaceAll(name, 'twin').replace(/\b1[78]\d{11}\b/g, 'MOMENT').replace(/\b7[2-9]\d{14}\b/g, 'DUE');
  }
  return all;
}

/** A queue with a job in each state. */
async function fill(name, { isPaused } = {}) {
  const queue = open(name);
  await queue.isReady();
  const add = (id, options = {}) => queue.add(`name-${id}`, { id }, { jobId: id, timestamp: 1790000000000, ...options });
  for (const id of ['bad-1', 'bad-2', 'good-1']) await add(id);
  for (let at = 0; at < 3; at += 1) {
    const job = await queue.getNextJob();
    await sleep(3);
    if (job.id.startsWith('good')) await job.moveToCompleted('fine', true, true);
    else {
      const problem = new Error('no such mailbox');
      problem.stack = 'Error: no such mailbox\n    at nowhere';
      await job.moveToFailed(problem, true);
    }
    await redis.del(`bull:${name}:${job.id}:lock`);
  }
  await add('later-1', { delay: 50_000 });
  await add('later-2', { delay: 60_000, priority: 3 });
  await add('next-1');
  await add('first', { priority: 2 });
  await add('last', { priority: 7 });
  if (isPaused) await queue.pause();
  return queue;
}

const job = (queue, id) => queue.getJob(id);

const CASES = [
  ['a failed job is retried', (q) => job(q, 'bad-1').then((it) => it.retry()), ['retry', { state: 'failed', ids: ['bad-1'] }]],
  ['a failed job of a paused queue is retried', (q) => job(q, 'bad-1').then((it) => it.retry()), ['retry', { state: 'failed', ids: ['bad-1'] }], { isPaused: true }],
  ['a delayed job is promoted', (q) => job(q, 'later-1').then((it) => it.promote()), ['promote', { ids: ['later-1'] }]],
  ['a delayed job with a priority is promoted', (q) => job(q, 'later-2').then((it) => it.promote()), ['promote', { ids: ['later-2'] }]],
  ['a delayed job of a paused queue is promoted', (q) => job(q, 'later-1').then((it) => it.promote()), ['promote', { ids: ['later-1'] }], { isPaused: true }],
  ...['bad-1', 'good-1', 'later-2', 'next-1', 'first'].map((id) =>
    [`${id} is removed`, (q) => job(q, id).then((it) => it.remove()), ['remove', { ids: [id] }]]),
  ['a queue is paused', (q) => q.pause(), ['pause']],
  ['a queue is resumed', (q) => q.resume(), ['resume'], { isPaused: true }],
  ['data is changed', (q) => job(q, 'next-1').then((it) => it.update({ a: [1, 'x y'] })), ['data', { ids: ['next-1'], data: '{ "a": [1, "x y"] }' }]],
  ['a job is added', (q) => q.add('new', { h: 1 }), ['add', { name: 'new', data: '{"h": 1}' }]],
  ['a delayed job is added', (q) => q.add('new', { h: 1 }, { delay: 5000, attempts: 3 }), ['add', { name: 'new', data: '{"h":1}', delay: '5s', attempts: '3' }]],
  ['a job with a priority is added', (q) => q.add('new', {}, { priority: 3 }), ['add', { name: 'new', priority: 3 }]],
  ['a job is added to a paused queue', (q) => q.add('new', { h: 1 }), ['add', { name: 'new', data: '{"h":1}' }], { isPaused: true }],
  ['a job is added that is there', (q) => q.add('new', {}, { jobId: 'next-1' }), ['add', { name: 'new', jobId: 'next-1' }]],
  // Its own empty() leaves the data of delayed jobs behind, and resumes the queue.
  ['a queue is drained', (q) => q.clean(0, 'wait'), ['drain']],
  ['a queue is drained of what is delayed as well', async (q) => { await q.clean(0, 'wait'); await q.clean(0, 'delayed'); }, ['drain', { delayed: 'on' }]],
  ['a paused queue is drained', (q) => q.clean(0, 'paused'), ['drain'], { isPaused: true }],
  ['failed jobs are cleaned', (q) => q.clean(0, 'failed'), ['clean', { state: 'failed', count: 2 }]],
  ['completed jobs are cleaned', (q) => q.clean(0, 'completed'), ['clean', { state: 'completed', count: 1 }]],
  ['waiting jobs are cleaned', (q) => q.clean(0, 'wait'), ['clean', { state: 'waiting', count: 9 }]],
  ['delayed jobs are cleaned', (q) => q.clean(0, 'delayed'), ['clean', { state: 'delayed', count: 9 }]],
];

describe('on twins of Bull', { concurrency: 4 }, () => {
  for (const [title, theirs, [action, body], options = {}] of CASES) {
    test(title, async () => {
      const [one, two] = [uniqueName('twin'), uniqueName('twin')];
      const queues = [await fill(one, options), await fill(two, options)];
      await sleep(5);
      assert.deepEqual(await keysOf(two), await keysOf(one), 'they were twins before');
      await theirs(queues[0]);
      await act(two, action, body);
      assert.deepEqual(await keysOf(two), await keysOf(one));
      for (const queue of queues) await queue.close();
    });
  }

  test('of a queue that is obliterated nothing is left', async () => {
    const name = uniqueName('twin');
    const queue = await fill(name);
    assert.match((await ask(name, 'obliterate', { confirm: 'other' })).json.error, /type the queue's name/);
    const told = await act(name, 'obliterate', { confirm: name });
    assert.equal(told.left, 0);
    assert.deepEqual(await redis.keys(`bull:${name}:*`), []);
    await queue.close();
  });

  test('what makes no sense is refused, and what a worker holds stays', async () => {
    const name = uniqueName('twin');
    const queue = await fill(name);
    assert.match((await ask(name, 'retry', { state: 'completed', ids: ['good-1'] })).json.error, /there is no retry of what is completed/);
    assert.match((await ask(name, 'promote', { ids: ['bad-1'] })).json.error, /there is no promote of what is failed/);
    assert.match((await ask(name, 'limits', {})).json.error, /there is no action 'limits': add, clean/);
    assert.match((await ask(name, 'add', {})).json.error, /the job wants a name/);
    assert.match((await ask(name, 'add', { name: 'x', jobId: 'completed' })).json.error, /would lie where the library keeps something/);
    assert.match((await ask(name, 'add', { name: 'x', delay: 5 })).json.error, /delay is a span such as .* not 5/);
    assert.match((await ask(name, 'add', { name: 'x', delay: '999999d' })).json.error, /a hundred years at most/);
    assert.match((await ask(name, 'remove', { ids: [1], state: 'failed', count: 9 })).json.error, /ids are texts, such as "1"/);
    const held = await queue.getNextJob();
    const { refused } = await act(name, 'remove', { ids: [held.id] });
    assert.match(refused[0], /holds its lock/);
    assert.notEqual(await queue.getJob(held.id), null);
    await queue.close();
  });
});

test('keys of Bull that are odd are named, and nothing is changed', async () => {
  const name = uniqueName('odd');
  const queue = await fill(name);
  await queue.close();
  const own = (...ends) => ends.map((end) => `bull:${name}:${end}`);
  const keys = { hash: own('meta'), list: own('wait', 'paused', 'active'), zset: own('delayed', 'completed', 'failed', 'priority'), string: own('id', 'meta-paused') };
  await twins.refuseOdd(redis, idOf(name), keys, [
    ['add', { name: 'new' }], ['add', { name: 'new', priority: 3 }], ['clean', { state: 'failed', count: 9 }], ['data', { ids: ['next-1'], data: '{}' }],
    ['drain', { delayed: 'on' }], ['obliterate', { confirm: name }], ['pause'], ['promote', { ids: ['later-2'] }], ['remove', { ids: ['first'] }],
    ['resume'], ['retry', { state: 'failed', ids: ['bad-1'] }],
  ]);
  const [failed, later] = own('bad-1', 'later-2');
  await twins.leaveOdd(redis, idOf(name), ['hash', failed], [['retry', { state: 'failed', ids: ['bad-1'] }], ['remove', { ids: ['bad-1'] }], ['data', { ids: ['bad-1'], data: '{}' }]]);
  await twins.leaveOdd(redis, idOf(name), ['hash', later], [['promote', { ids: ['later-2'] }]]);
  // Of a whole state the others are done.
  await redis.del(failed);
  await redis.set(failed, 'odd');
  const told = await act(name, 'retry', { state: 'failed', count: 2 });
  assert.deepEqual([told.done, told.skip, told.refused.length], [1, 1, 1]);
  assert.equal((await act(name, 'obliterate', { confirm: name })).left, 1);
  assert.deepEqual(await redis.zrange(own('failed')[0], 0, -1), ['bad-1']);
});

describe('workers of Bull that wait', () => {
  const name = uniqueName('live');
  const ran = [];
  const heard = [];
  let queue, shouldFail = false;

  before(async () => {
    queue = open(name);
    queue.process('*', async (it) => {
      ran.push(it.id);
      if (shouldFail) throw new Error('not today');
      return 'fine';
    });
    for (const event of ['waiting', 'completed', 'failed', 'paused', 'resumed']) {
      queue.on(`global:${event}`, (id) => heard.push(`${event} ${id ?? ''}`.trim()));
    }
    await queue.isReady();
    shouldFail = true;
    await queue.add('x', {}, { jobId: 'mine' });
    await until(() => heard.includes('failed mine'));
    shouldFail = false;
  });
  after(() => queue.close());

  test('take what is retried', async () => {
    await sleep(50);
    ran.length = 0;
    await act(name, 'retry', { state: 'failed', ids: ['mine'] });
    await until(() => ran.includes('mine') && heard.includes('completed mine'));
    assert.ok(heard.includes('waiting mine'));
  });
  test('take what is added, and what is added for later', async () => {
    assert.equal((await act(name, 'add', { name: 'x', jobId: 'new' })).told, `Added job new to ${name}`);
    await until(() => heard.includes('waiting new') && heard.includes('completed new'));
    await act(name, 'add', { name: 'x', jobId: 'soon', delay: '300ms' });
    await until(() => heard.includes('completed soon'));
  });
  test('make a job like another', async () => {
    const { id } = await act(name, 'add', { ids: ['new'], name: 'x', data: '{"a":2}', attempts: '4' });
    const made = await queue.getJob(id);
    assert.deepEqual([made.data, made.opts.attempts, made.opts.jobId], [{ a: 2 }, 4, undefined]);
  });
  test('take what is promoted', async () => {
    await queue.add('x', {}, { jobId: 'later', delay: 3_600_000 });
    await act(name, 'promote', { ids: ['later'] });
    await until(() => heard.includes('completed later'));
  });
  test('wait while their queue is paused, and go on', async () => {
    await act(name, 'pause');
    await until(() => heard.some((text) => text.startsWith('paused')));
    await queue.add('x', {}, { jobId: 'held' });
    await sleep(300);
    assert.ok(!ran.includes('held'));
    await act(name, 'resume');
    await until(() => heard.includes('completed held'));
  });
});
