// The actions of the page over the queues, beside those of BullMQ itself: on twin queues the library does one
// and toril's script the other, and then the keys of both are compared. Then a worker that waits, and somebody
// who listens, must see what toril's scripts do.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { Redis } from 'ioredis';
import { address, sleep, uniqueName, until } from '../support.js';
import { readonlyToken, send } from './rest.js';
import * as twins from './twins.js';

const require = createRequire(import.meta.url);
const connection = { ...address, maxRetriesPerRequest: null };
const redis = new Redis(address);
after(() => redis.disconnect());

const idOf = (name, db = 0) => Buffer.from(`${db}\0bull:${name}`).toString('base64url');

const ask = (name, action, body, options = {}) => twins.ask(idOf(name, options.db), action, body, options);
const act = (name, action, body) => twins.act(idOf(name), action, body);

/** All keys of a queue, without what differs between twins: their name, and moments. */
async function keysOf(name) {
  const all = {};
  for (const key of (await redis.keys(`bull:${name}:*`)).sort()) {
    const value = await twins.valueOf(redis, key);
    // When a scheduler's run is due is counted from when it was planned.
    const isRun = key.includes(':repeat:yearly:');
    const plain = (text) => text.replaceAll(name, 'twin').replace(/\b1[78]\d{11}(\.\d+)?\b/g, 'MOMENT')
      .replace(/\b7[2-9]\d{14}\b/g, 'DUE').replace(/\boffset(\\?"[,:]\\?"?)\d+/g, 'offset$1OFFSET');
    const told = plain(JSON.stringify(value));
    all[plain(key)] = isRun ? told.replace(/(\bdelay\W+)\d+/g, '$1SPAN') : told;
  }
  return all;
}

/** A queue with a job in each state. */
async function fill(bullmq, name, { isPaused, db = 0 } = {}) {
  const connection = { ...address, maxRetriesPerRequest: null, db };
  const queue = new bullmq.Queue(name, { connection });
  await queue.waitUntilReady();
  const add = (id, options = {}) => queue.add(`name-${id}`, { id }, { jobId: id, timestamp: 1790000000000, ...options });
  for (const id of ['bad-1', 'bad-2', 'good-1', 'good-2']) await add(id, { attempts: 2, backoff: 0 });
  const worker = new bullmq.Worker(name, null, { connection, name: 'hand' });
  await worker.waitUntilReady();
  const problem = new Error('no such mailbox');
  problem.stack = 'Error: no such mailbox\n    at nowhere';
  for (let attempt = 0; attempt < 6; attempt += 1) {
    const job = await worker.getNextJob('token');
    await sleep(3);
    if (job.id.startsWith('good')) await job.moveToCompleted('fine', 'token', false);
    else await job.moveToFailed(problem, 'token', false);
  }
  await worker.close();
  await add('later-1', { delay: 50_000 });
  await add('later-2', { delay: 60_000, priority: 3 });
  await add('next-1');
  await add('next-2', { lifo: true });
  await add('first', { priority: 7 });
  await add('only', { deduplication: { id: 'one' } });
  const flows = new bullmq.FlowProducer({ connection });
  const opts = (jobId) => ({ jobId, timestamp: 1790000000000 });
  await flows.add({ name: 'p', queueName: name, opts: opts('parent'), children: [{ name: 'c', queueName: name, opts: opts('child') }] });
  await flows.close();
  await queue.upsertJobScheduler?.('yearly', { pattern: '0 3 1 1 *' }, { name: 'scheduled', data: { z: 1 } });
  if (isPaused) await queue.pause();
  return queue;
}

const job = async (bullmq, queue, id) => bullmq.Job.fromId(queue, id);

/** What the library does, and what toril is asked for. */
const CASES = [
  ['a failed job is retried', (q, b) => job(b, q, 'bad-1').then((it) => it.retry('failed')), ['retry', { state: 'failed', ids: ['bad-1'] }]],
  ['a completed job is retried', (q, b) => job(b, q, 'good-1').then((it) => it.retry('completed')), ['retry', { state: 'completed', ids: ['good-1'] }]],
  ['a failed job of a paused queue is retried', (q, b) => job(b, q, 'bad-1').then((it) => it.retry('failed')), ['retry', { state: 'failed', ids: ['bad-1'] }], { isPaused: true }],
  ['all failed jobs are retried', (q) => q.retryJobs({ state: 'failed' }), ['retry', { state: 'failed', count: 2 }]],
  ['all completed jobs are retried', (q) => q.retryJobs({ state: 'completed' }), ['retry', { state: 'completed', count: 2 }]],
  ['a delayed job is promoted', (q, b) => job(b, q, 'later-1').then((it) => it.promote()), ['promote', { ids: ['later-1'] }]],
  ['a delayed job with a priority is promoted', (q, b) => job(b, q, 'later-2').then((it) => it.promote()), ['promote', { ids: ['later-2'] }]],
  ['a delayed job of a paused queue is promoted', (q, b) => job(b, q, 'later-1').then((it) => it.promote()), ['promote', { ids: ['later-1'] }], { isPaused: true }],
  ['a queue is paused', (q) => q.pause(), ['pause']],
  ['a queue is resumed', (q) => q.resume(), ['resume'], { isPaused: true }],
  ...['next-1', 'next-2', 'first', 'later-1', 'only', 'bad-1', 'good-1', 'child', 'parent'].map((id) =>
    [`${id} is removed`, (q, b) => job(b, q, id).then((it) => it.remove()), ['remove', { ids: [id] }]]),
  ['a job of a paused queue is removed', (q, b) => job(b, q, 'next-1').then((it) => it.remove()), ['remove', { ids: ['next-1'] }], { isPaused: true }],
  ['a delay is changed', (q, b) => job(b, q, 'later-1').then((it) => it.changeDelay(777_000)), ['delay', { ids: ['later-1'], delay: '777s' }]],
  ['a waiting job gets a priority', (q, b) => job(b, q, 'next-1').then((it) => it.changePriority({ priority: 4 })), ['priority', { ids: ['next-1'], priority: 4 }]],
  ['a job loses its priority', (q, b) => job(b, q, 'first').then((it) => it.changePriority({ priority: 0 })), ['priority', { ids: ['first'], priority: '0' }]],
  ['a delayed job gets a priority', (q, b) => job(b, q, 'later-1').then((it) => it.changePriority({ priority: 9 })), ['priority', { ids: ['later-1'], priority: 9 }]],
  ['data is changed', (q, b) => job(b, q, 'next-1').then((it) => it.updateData({ a: [1, 'x y'] })), ['data', { ids: ['next-1'], data: '{ "a": [1, "x y"] }' }]],
  ['a deduplication is lifted', (q) => q.removeDeduplicationKey('one'), ['deduplication', { ids: ['only'] }]],
  ['a job is added', (q) => q.add('new', { h: 1 }), ['add', { name: 'new', data: '{"h": 1}' }]],
  ['a delayed job is added', (q) => q.add('new', { h: 1 }, { delay: 5000, attempts: 3 }), ['add', { name: 'new', data: '{"h":1}', delay: '5s', attempts: '3' }]],
  ['a job with a priority is added', (q) => q.add('new', {}, { priority: 9 }), ['add', { name: 'new', priority: 9 }]],
  ['a job is added to a paused queue', (q) => q.add('new', { h: 1 }), ['add', { name: 'new', data: '{"h":1}' }], { isPaused: true }],
  ['a job is added that is there', (q) => q.add('new', {}, { jobId: 'next-1' }), ['add', { name: 'new', jobId: 'next-1' }]],
  ['a scheduler is removed', (q) => q.removeJobScheduler('yearly'), ['unschedule', { scheduler: 'yearly' }]],
  ['limits are set', async (q) => { await q.setGlobalConcurrency(7); await q.setGlobalRateLimit(5, 60_000); }, ['limits', { concurrency: '7', max: '5', duration: '1m' }]],
  ['a rate is counted anew', (q) => q.removeRateLimitKey(), ['unlimit'], { before: (name) => redis.set(`bull:${name}:limiter`, 5, 'PX', 600_000) }],
  ['a queue is drained', (q) => q.drain(), ['drain']],
  ['a queue is drained of what is delayed as well', (q) => q.drain(true), ['drain', { delayed: 'on' }]],
  ['a paused queue is drained', (q) => q.drain(), ['drain'], { isPaused: true }],
  ['failed jobs are cleaned', (q) => q.clean(0, 1000, 'failed'), ['clean', { state: 'failed', count: 2 }]],
  ['completed jobs are cleaned', (q) => q.clean(0, 1000, 'completed'), ['clean', { state: 'completed', count: 2 }]],
  ['young jobs are not cleaned', (q) => q.clean(3_600_000, 1000, 'failed'), ['clean', { state: 'failed', count: 2, older: '1h' }]],
  ['waiting jobs are cleaned', (q) => q.clean(0, 1000, 'wait'), ['clean', { state: 'waiting', count: 9 }]],
  ['delayed jobs are cleaned', (q) => q.clean(0, 1000, 'delayed'), ['clean', { state: 'delayed', count: 9 }]],
  ['jobs with a priority are cleaned', (q) => q.clean(0, 1000, 'prioritized'), ['clean', { state: 'prioritized', count: 9 }]],
];

for (const version of [6, 5]) {
  const bullmq = require(`bullmq-${version}`);

  describe(`on twins of BullMQ ${version}`, { concurrency: 4 }, () => {
    for (const [title, theirs, [action, body], options = {}] of CASES) {
      test(title, async () => {
        const [one, two] = [uniqueName('twin'), uniqueName('twin')];
        const queues = [await fill(bullmq, one, options), await fill(bullmq, two, options)];
        for (const name of [one, two]) await options.before?.(name);
        assert.deepEqual(await keysOf(two), await keysOf(one), 'they were twins before');
        await theirs(queues[0], bullmq);
        await act(two, action, body);
        assert.deepEqual(await keysOf(two), await keysOf(one));
        for (const queue of queues) await queue.close();
        await redis.del(await redis.keys(`bull:${one}:*`), await redis.keys(`bull:${two}:*`));
      });
    }

    test('of a queue that is obliterated nothing is left', async () => {
      const name = uniqueName('twin');
      const queue = await fill(bullmq, name);
      await redis.set(`bull:${name}:limiter`, 1);
      assert.match((await ask(name, 'obliterate', { confirm: 'other' })).json.error, /type the queue's name/);
      assert.notEqual((await redis.keys(`bull:${name}:*`)).length, 0);
      const told = await act(name, 'obliterate', { confirm: name });
      assert.equal(told.left, 0);
      assert.deepEqual(await redis.keys(`bull:${name}:*`), []);
      await queue.close();
    });
  });

  describe(`workers of BullMQ ${version} that wait`, () => {
    const name = uniqueName('live');
    const ran = [];
    const heard = [];
    let queue, worker, events, shouldFail = false;

    before(async () => {
      queue = new bullmq.Queue(name, { connection });
      worker = new bullmq.Worker(name, async (it) => {
        ran.push(it.id);
        if (shouldFail) throw new Error('not today');
        return it.data;
      }, { connection, name: 'live', drainDelay: 60 });
      events = new bullmq.QueueEvents(name, { connection });
      await Promise.all([queue, worker, events].map((it) => it.waitUntilReady()));
      for (const event of ['added', 'waiting', 'delayed', 'active', 'completed', 'failed', 'removed', 'paused', 'resumed', 'cleaned']) {
        events.on(event, (told) => heard.push(`${event} ${told.jobId ?? ''}`.trim()));
      }
      await queue.add('warm', {}, { jobId: 'warm' });
      await until(() => ran.includes('warm'));
    });
    after(async () => {
      await worker.close();
      await events.close();
      await queue.close();
    });

    /** Does something while the worker waits, and looks whether it gets that job. */
    async function isTaken(id, doIt) {
      await until(async () => (await redis.client('LIST')).split('\n').some((line) =>
        line.includes(Buffer.from(name).toString('base64')) && line.includes(':w:live') && / cmd=(bzpopmin|brpoplpush|blmove)/.test(line)));
      await sleep(50);
      ran.length = 0;
      heard.length = 0;
      await doIt();
      await until(() => ran.includes(id), `${id} is taken`);
      await until(() => heard.includes(`completed ${id}`) || heard.includes(`failed ${id}`), `${id} is told of`);
    }

    test('take what is added', () => isTaken('mine', async () => {
      assert.equal((await act(name, 'add', { name: 'new', jobId: 'mine' })).id, 'mine');
    }));
    test('take what is retried', () => isTaken('mine', () => act(name, 'retry', { state: 'completed', ids: ['mine'] })));
    test('take what is added for later', () => isTaken('soon', () => act(name, 'add', { name: 'new', jobId: 'soon', delay: '300ms' })));
    test('take what is promoted', async () => {
      await queue.add('x', {}, { jobId: 'promoted', delay: 3_600_000 });
      await isTaken('promoted', () => act(name, 'promote', { ids: ['promoted'] }));
    });
    test('take what is to run sooner', async () => {
      await queue.add('x', {}, { jobId: 'sooner', delay: 3_600_000 });
      await isTaken('sooner', () => act(name, 'delay', { ids: ['sooner'], delay: '400ms' }));
    });
    test('wait while their queue is paused, and go on', async () => {
      await act(name, 'pause');
      await until(() => heard.includes('paused'));
      await queue.add('x', {}, { jobId: 'held' });
      await sleep(300);
      assert.ok(!ran.includes('held'));
      await isTaken('held', () => act(name, 'resume'));
      assert.ok(heard.includes('resumed'));
    });
    test('take what a limit held back', async () => {
      await act(name, 'pause');
      await queue.add('x', {}, { jobId: 'limited' });
      await act(name, 'limits', { concurrency: '3' });
      await isTaken('limited', () => act(name, 'resume'));
      await act(name, 'limits', {});
      assert.equal(await redis.hget(`bull:${name}:meta`, 'concurrency'), null);
    });
    test('take a scheduler’s next run, which goes on', { skip: !bullmq.Queue.prototype.upsertJobScheduler }, async () => {
      await queue.upsertJobScheduler('hourly', { every: 3_600_000 }, { name: 'tick' });
      await sleep(200);
      const [next] = await queue.getDelayed();
      await isTaken(next.id, () => act(name, 'run', { scheduler: 'hourly' }));
      await until(async () => (await queue.getDelayed()).length === 1);
      await act(name, 'unschedule', { scheduler: 'hourly' });
      assert.deepEqual(await queue.getJobSchedulers(), []);
    });
    test('take all that has failed, in the end', async () => {
      shouldFail = true;
      for (let at = 0; at < 300; at += 1) await queue.add('many', {}, { jobId: `many-${at}` });
      await until(async () => (await queue.getFailedCount()) === 300);
      shouldFail = false;
      const first = await act(name, 'retry', { state: 'failed', count: 300 });
      assert.deepEqual([first.done, first.left, first.looked], [250, 50, 250]);
      const second = await act(name, 'retry', { state: 'failed', count: 50, before: 250 });
      assert.equal(second.told, `Retried 300 jobs of ${name}`);
      await until(async () => (await queue.getFailedCount()) === 0 && (await queue.getWaitingCount()) === 0);
    });
    test('see what is removed', async () => {
      heard.length = 0;
      await act(name, 'remove', { ids: ['mine'] });
      await until(() => heard.includes('removed mine'));
      assert.equal(await queue.getJob('mine'), undefined);
    });
  });
}

describe('actions', () => {
  const bullmq = require('bullmq-6');

  test('leave alone what a worker holds, and say so', async () => {
    const name = uniqueName('held');
    const queue = new bullmq.Queue(name, { connection });
    await queue.add('x', {}, { jobId: 'mine' });
    const worker = new bullmq.Worker(name, null, { connection, name: 'hand' });
    await worker.getNextJob('token');
    const { done, refused } = await act(name, 'remove', { ids: ['mine', 'nobody'] });
    assert.equal(done, 0);
    assert.match(refused[0], /^Job mine is not removed: hand holds its lock for (29|30)\.\d s more$/);
    assert.equal(refused[1], 'Job nobody is not there any more');
    assert.match((await act(name, 'obliterate', { confirm: name })).refused[0], /^1 run: /);
    await act(name, 'obliterate', { confirm: name, force: 'on' });
    await worker.close();
    await queue.close();
  });

  test('choose by what is said of a job, and pass over the rest', async () => {
    const name = uniqueName('like');
    const queue = await fill(bullmq, name);
    const none = await act(name, 'clean', { state: 'failed', count: 2, error: 'other' });
    assert.deepEqual([none.done, none.skip, none.left], [0, 2, 0]);
    const one = await act(name, 'clean', { state: 'failed', count: 2, name: 'name-bad-2' });
    assert.equal(one.told, `Removed 1 job of ${name}`);
    assert.equal((await act(name, 'retry', { state: 'failed', count: 2, error: 'no such mailbox' })).done, 1);
    assert.equal(await queue.getFailedCount(), 0);
    await queue.close();
  });

  test('make a job like another, but for what is its own', async () => {
    const name = uniqueName('again');
    const queue = new bullmq.Queue(name, { connection });
    await queue.add('x', { a: 1 }, { jobId: 'old', attempts: 3, backoff: { type: 'fixed', delay: 10 }, deduplication: { id: 'd' } });
    const { id } = await act(name, 'add', { ids: ['old'], name: 'x', data: '{"a":2}', attempts: '4' });
    const made = await queue.getJob(id);
    assert.deepEqual(made.data, { a: 2 });
    assert.deepEqual(made.opts, { attempts: 4, backoff: { type: 'fixed', delay: 10 } });
    await queue.close();
  });

  test('are done in the queue’s own database', async () => {
    const name = uniqueName('db');
    const queue = new bullmq.Queue(name, { connection: { ...connection, db: 3 } });
    await queue.add('x', {}, { jobId: 'mine' });
    assert.equal((await ask(name, 'remove', { ids: ['mine'] }, { db: 3 })).json.done, 1);
    assert.equal(await queue.getJob('mine'), undefined);
    assert.deepEqual(await redis.keys(`bull:${name}:*`), []);
    await queue.close();
  });

  for (const version of [6, 5]) {
    test(`name keys of BullMQ ${version} that are odd, and change nothing`, async () => {
      const name = uniqueName('odd');
      // Nothing else is in this database, nor does anything of it expire.
      const redis = new Redis({ ...address, db: 5 });
      const queue = await fill(require(`bullmq-${version}`), name, { db: 5 });
      await queue.close();
      const own = (...ends) => ends.map((end) => `bull:${name}:${end}`);
      const id = idOf(name, 5);
      await redis.del(own('stalled-check'));
      const orders = [
        ['add', { name: 'new' }], ['clean', { state: 'failed', count: 9 }], ['data', { ids: ['next-1'], data: '{}' }], ['deduplication', { ids: ['only'] }],
        ['delay', { ids: ['later-1'], delay: '1h' }], ['drain', { delayed: 'on' }], ['limits', { concurrency: 3 }], ['obliterate', { confirm: name }],
        ['pause'], ['priority', { ids: ['next-1'], priority: 4 }], ['promote', { ids: ['later-2'] }], ['remove', { ids: ['first'] }], ['resume'],
        ['retry', { state: 'failed', ids: ['bad-1'] }], ['run', { scheduler: 'yearly' }], ['unlimit'], ['unlock', { ids: ['next-1'] }], ['unschedule', { scheduler: 'yearly' }],
      ];
      const keys = {
        hash: own('meta'), list: own('wait', 'paused', 'active'), stream: own('events'), string: own('id', 'pc'),
        zset: own('prioritized', 'delayed', 'completed', 'failed', 'waiting-children', 'repeat', 'marker'),
      };
      await twins.refuseOdd(redis, id, keys, orders);
      const ofJob = (job) => [['remove', { ids: [job] }], ['priority', { ids: [job], priority: 9 }], ['data', { ids: [job], data: '{}' }]];
      for (const job of ['bad-1', 'next-1', 'later-2', 'child']) await twins.leaveOdd(redis, id, ['hash', own(job)[0]], ofJob(job));
      await twins.leaveOdd(redis, id, ['hash', own('bad-1')[0]], [['retry', { state: 'failed', ids: ['bad-1'] }]]);
      await twins.leaveOdd(redis, id, ['hash', own('later-2')[0]], [['promote', { ids: ['later-2'] }], ['delay', { ids: ['later-2'], delay: '9s' }]]);
      await twins.leaveOdd(redis, id, ['string', own('de:one')[0]], [['deduplication', { ids: ['only'] }], ['remove', { ids: ['only'] }]]);
      // What belongs to a parent, from below and from above.
      for (const [type, end] of [['set', 'dependencies'], ['hash', 'processed'], ['hash', 'failed'], ['zset', 'unsuccessful']]) {
        await twins.leaveOdd(redis, id, [type, `${own('parent')[0]}:${end}`], [...ofJob('child'), ...ofJob('parent')]);
      }
      await twins.leaveOdd(redis, id, ['hash', own('child')[0]], [['remove', { ids: ['parent'] }]]);
      await redis.flushdb();
      redis.disconnect();
    });
  }

  test('are not there for queues of BullMQ 3, which is said', async () => {
    const name = uniqueName('old');
    const queue = new (require('bullmq-3').Queue)(name, { connection });
    await queue.add('x', {}, { jobId: 'mine' });
    const { status, json } = await ask(name, 'remove', { ids: ['mine'] });
    assert.deepEqual([status, json.error], [404, 'queues of BullMQ 3 can only be looked at: buttons are there from 4 on']);
    assert.notEqual(await queue.getJob('mine'), undefined);
    await queue.close();
  });

  test('are refused to who may only read, and what makes no sense is refused to all', async () => {
    const name = uniqueName('refused');
    const queue = new bullmq.Queue(name, { connection });
    await queue.add('x', {}, { jobId: 'mine' });
    const reader = await ask(name, 'remove', { ids: ['mine'] }, { token: readonlyToken });
    assert.equal(reader.status, 403);
    assert.match(reader.json.error, /may look, and change nothing/);
    assert.equal((await ask(name, 'remove', { ids: ['mine'] }, { token: 'wrong' })).status, 401);
    assert.notEqual(await queue.getJob('mine'), undefined);
    const wrong = [
      ['explode', {}, 404, /there is no action 'explode': add, clean/],
      ['remove', {}, 400, /no job is named/],
      ['remove', '{', 400, /the body is no JSON/],
      ['retry', { state: 'waiting', ids: ['mine'] }, 400, /only jobs that have ended/],
      ['retry', { state: 'nowhere', ids: ['mine'] }, 400, /there is no state 'nowhere'/],
      ['clean', { state: 'failed' }, 400, /say which jobs/],
      ['data', { ids: ['mine'], data: '{a}' }, 400, /the data is no JSON: /],
      ['delay', { ids: ['mine'], delay: 'soon' }, 400, /a span such as/],
      ['priority', { ids: ['mine'], priority: 3_000_000 }, 400, /below 2097152/],
      ['add', {}, 400, /wants a name/],
      ['add', { name: 'x', jobId: '7' }, 400, /no colon/],
      ['limits', { max: '5' }, 400, /both of them, or neither/],
      ['remove', { ids: Array(201).fill('x') }, 400, /201 ids are too many/],
      ['clean', { state: 'failed', count: '99999999999999999999' }, 400, /^count is 9007199254740992 at most, not 9{20}$/],
      ['clean', { state: 'failed', count: 1e30 }, 400, /^count is a whole number, not 1e\+?30$/],
      ['clean', { state: 'failed', count: 1, before: 2 ** 63 }, 400, /^before is 9007199254740992 at most, not 9223372036854776000$/],
      ['clean', { state: 'failed', count: 1, before: 'all' }, 400, /^before is a whole number, not "all"$/],
      ['clean', { state: 'failed', count: 1, skip: '9'.repeat(18) }, 400, /^skip is 9007199254740992 at most/],
      ['clean', { state: 'failed', count: 9, older: `${'9'.repeat(30)}d` }, 400, /^older is a hundred years at most, not '9{30}d'$/],
      ['clean', { state: 'failed', count: 9, older: '999999d' }, 400, /^older is a hundred years at most, not '999999d'$/],
      ['clean', { state: 'failed', count: 9, older: '7 weeks' }, 400, /^older is a span such as 30s, 5m or 2h, not '7weeks'$/],
    ];
    for (const [action, body, status, text] of wrong) {
      const answer = await ask(name, action, body);
      assert.equal(answer.status, status, action);
      assert.match(answer.json.error, text);
    }
    const absent = await send(`/_toril/queues/${idOf('nothing-there')}/pause`, { body: {} });
    assert.equal(absent.status, 404);
    await queue.close();
  });
});
