// The page's buttons on queues of other libraries than BullMQ, clicked in Chromium: a real worker of each sees
// what is done.

import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import BeeQueue from 'bee-queue';
import { Redis } from 'ioredis';
import { jobs, notes, openConsole, ruby } from '../sidekiq-programs.js';
import { address, until } from '../support.js';
import { launch, skip } from './chromium.js';
import { rest } from './rest.js';

const Bull = createRequire(import.meta.url)('bull');
const HOUR_MS = 3_600_000;
const CLIENTS = fileURLToPath(new URL('..', import.meta.url));
const redis = new Redis(address);
after(() => redis.disconnect());

describe('the buttons of other libraries', { skip }, () => {
  let browser, page;
  const complaints = [];

  before(async () => {
    browser = await launch();
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(`${rest.url}/#token=${rest.token}`);
    await page.waitForSelector('text=No queue yet');
  });
  after(() => browser?.close());

  async function look(base, state, db = 0) {
    const id = Buffer.from(`${db}\0${base}`).toString('base64url');
    // A queue is known once the page has been told of it.
    await page.goto(`${rest.url}/#/overview`);
    await page.click(`.queues a[href*="${id}"]`);
    await page.click(`.tabs a:has-text("${state}")`);
    await page.waitForSelector(`.tabs [aria-selected=true]:has-text("${state}")`);
  }
  const toast = (text) => page.waitForSelector(`.toast:has-text("${text}")`);
  const confirm = () => page.click('#ask footer .btn:last-child');
  async function choose(id, label) {
    // An id stands there as in addresses.
    await page.check(`[data-id="${id.replaceAll('-', '%2D')}"]`);
    await page.click(`#chosen >> text=${label}`);
  }

  test('bull: a job is added, retried and run now, the queue paused and drained', async () => {
    const ran = [];
    const queue = new Bull('letters', { redis: address });
    let shouldFail = true;
    queue.process('*', async (job) => {
      ran.push(`${job.name} ${job.data.n}`);
      if (shouldFail) throw new Error('not today');
    });
    await queue.add('post', { n: 1 }, { jobId: 'first' });
    await until(async () => (await queue.getFailedCount()) === 1);
    shouldFail = false;
    await look('bull:letters', 'Failed');
    await choose('first', 'Retry');
    await until(async () => (await queue.getCompletedCount()) === 1);
    await page.click('text=Add a job');
    await page.fill('#ask [name=name]', 'post');
    await page.fill('#ask [name=data]', '{"n": 2}');
    await confirm();
    await until(() => ran.includes('post 2'));
    await queue.add('post', { n: 3 }, { jobId: 'later', delay: HOUR_MS });
    await look('bull:letters', 'Delayed');
    await choose('later', 'Run now');
    await until(() => ran.includes('post 3'));
    await page.click('.actions >> text=Pause');
    await toast('Paused letters');
    await queue.add('post', { n: 4 }, { jobId: 'never' });
    await page.click('.actions details.menu summary');
    await page.click('.actions details.menu >> text=Drain');
    await page.waitForSelector('#ask:has-text("1 job that wait")');
    await confirm();
    await toast('Removed 1 job of letters');
    await page.click('.actions >> text=Resume');
    await toast('Resumed letters');
    assert.equal(await queue.getJob('never'), null);
    await queue.close();
    assert.deepEqual(ran, ['post 1', 'post 1', 'post 2', 'post 3']);
  });

  test('bee-queue: a job is retried, run now, run sooner and removed, and the queue goes', async () => {
    const ran = [];
    let shouldFail = true;
    const queue = new BeeQueue('honey', { redis: address, activateDelayedJobs: true });
    queue.process(async (job) => {
      ran.push(job.id);
      if (shouldFail) throw new Error('not today');
    });
    await queue.createJob({}).setId('first').save();
    await until(async () => (await queue.checkHealth()).failed === 1);
    shouldFail = false;
    for (const id of ['now', 'soon', 'never']) await queue.createJob({}).setId(id).delayUntil(Date.now() + HOUR_MS).save();
    await look('bq:honey', 'Failed');
    await page.click('text=Retry all 1');
    await until(() => ran.length === 2);
    await look('bq:honey', 'Delayed');
    await choose('now', 'Run now');
    await until(() => ran.includes('now'));
    // Until the page has said what was done, it may forget what is chosen.
    await toast('Let 1 job of honey run now');
    await choose('soon', 'Change delay');
    await page.fill('#ask [name=delay]', '200ms');
    await confirm();
    await until(() => ran.includes('soon'));
    await toast('Changed when 1 job of honey will run');
    await choose('never', 'Remove');
    await page.waitForSelector('#ask:has-text("Remove job never?")');
    await confirm();
    await toast('Removed 1 job of honey');
    await queue.close();
    await page.click('.actions details.menu summary');
    await page.click('.actions details.menu >> text=Remove the queue');
    await page.fill('#ask [name=confirm]', 'honey');
    await confirm();
    await toast('Removed honey');
    assert.deepEqual(await redis.keys('bq:honey:*'), []);
    assert.deepEqual(ran, ['first', 'first', 'now', 'soon']);
  });

  /** Programs in Python beside the test, of a virtual environment, with the names that they are told. */
  function python(t, environment, names) {
    const program = `${CLIENTS}/${environment}/bin/python`;
    const options = { cwd: CLIENTS, env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...names } };
    return {
      /** Runs a text to its end: what it has printed, in lines. */
      run: async (text, ...args) => {
        const { stdout } = await promisify(execFile)(program, ['-c', text, ...args], options);
        return stdout.trim().split('\n');
      },
      start: (...args) => {
        const child = spawn(program, args, { ...options, stdio: 'inherit', detached: true });
        const kill = () => child.exitCode ?? child.signalCode ?? process.kill(-(/** @type {number} */ (child.pid)), 'SIGKILL');
        t.after(kill);
        return { kill };
      },
    };
  }
  const missing = (environment) => {
    if (existsSync(`${CLIENTS}/${environment}/bin/python`)) return false;
    console.log(`*** NOT RUN: buttons of what runs in Python: there is no ${environment} ***`);
    return true;
  };
  const hasSidekiq = spawnSync('sidekiq-ruby', ['-e', '']).status === 0;
  if (!hasSidekiq) console.log('*** NOT RUN: buttons of Sidekiq: there is no sidekiq-ruby ***');
  const noted = (key, text) => until(async () => (await redis.lrange(key, 0, -1)).includes(text), `${text} is noted`);

  test('rq: what is pickled is read, jobs are retried, run now, cancelled and removed, workers suspended, and a worker sees it', { skip: missing('.venv') }, async (t) => {
    const rq = python(t, '.venv', { RQ_NAME: 'snakes' });
    const url = `redis://${address.host}:${address.port}`;
    const enqueue = (how, ...ids) => rq.run(`
import datetime, sys
import redis, rq
import rq_functions as functions
queue = rq.Queue("snakes", connection=redis.Redis.from_url("${url}"))
how, ids = sys.argv[1], sys.argv[2:]
for job_id in ids:
    if how == "shaky":
        queue.enqueue(functions.shaky, job_id=job_id)
    elif how == "later":
        queue.enqueue_in(datetime.timedelta(hours=1), functions.add, 1, 2, job_id=job_id)
    else:
        queue.enqueue(functions.add, 1, 2, job_id=job_id)`, how, ...ids);
    const becomes = (id, status) => until(async () => (await redis.hget(`rq:job:${id}`, 'status')) === status, `${id} is ${status}`);
    const worker = rq.start('-m', 'rq.cli', 'worker', '--quiet', '--url', url, 'snakes');
    await enqueue('shaky', 'bad');
    await becomes('bad', 'failed');
    await look('snakes', 'Failed');
    await page.click('table.jobs a:has-text("bad")');
    await page.waitForSelector('[data-key=data]:has-text("(\'rq_functions.shaky\', None, (), {})")');
    await page.click('.actions >> text=Retry');
    await toast('Retried 1 job of snakes');
    await becomes('bad', 'finished');
    await enqueue('later', 'soon', 'never', 'gone');
    await look('snakes', 'Scheduled');
    await choose('soon', 'Run now');
    await becomes('soon', 'finished');
    await toast('Let 1 job of snakes run now');
    await choose('never', 'Cancel');
    await becomes('never', 'canceled');
    await toast('Cancelled 1 job of snakes');
    await choose('gone', 'Remove');
    await confirm();
    await until(async () => !(await redis.exists('rq:job:gone')));
    await page.click('.actions >> text=Suspend all workers');
    await toast('Suspended the workers of all queues');
    // One that waits takes one more job before it looks whether it may, and RQ's program ends where it may not.
    worker.kill();
    await enqueue('now', 'held');
    rq.start('-c', `import redis, rq; rq.Worker(["snakes"], connection=redis.Redis.from_url("${url}")).work(logging_level="ERROR")`);
    await until(async () => {
      const names = await redis.smembers('rq:workers');
      return (await Promise.all(names.map((name) => redis.hget(name, 'state')))).includes('suspended');
    }, 'a worker is suspended');
    assert.equal(await redis.hget('rq:job:held', 'status'), 'queued');
    await page.click('.actions >> text=Resume all workers');
    await toast('The workers of all queues take jobs again');
    await becomes('held', 'finished');
  });

  test('sidekiq: jobs are run now, retried, killed and removed, the queue is quiet and cleared, and a process sees it', { skip: !hasSidekiq }, async (t) => {
    const queues = new Redis({ ...address, db: 9 });
    t.after(() => queues.disconnect());
    const askSidekiq = openConsole();
    const text = (jid, rest = {}) => JSON.stringify({ class: 'WriteDown', args: [jid], jid, retry: true, queue: 'default', created_at: 1790000000.5, ...rest });
    const FAILED = { retry_count: 2, error_class: 'ArgumentError', error_message: 'as asked', failed_at: 1790000000.5 };
    const program = ruby(['-S', 'sidekiq', '--require', jobs, '--concurrency', '1', '--timeout', '1', '--queue', 'default'], 'inherit');
    const does = (jid) => until(async () => (await queues.lrange(notes, 0, -1)).includes(jid), `${jid} is done`);
    await until(async () => (await askSidekiq('Sidekiq::ProcessSet.new.size')) === 1);
    await queues.sadd('queues', 'default');
    for (const jid of ['dead1', 'dead2', 'dead3']) await queues.zadd('dead', 1_790_000_000, text(jid, FAILED));
    for (const jid of ['again1', 'again2', 'again3']) await queues.zadd('retry', 4_000_000_000, text(jid, FAILED));
    await queues.zadd('schedule', 4_000_000_000, text('later1'));
    await look('queue:default', 'Dead', 9);
    await choose('dead1', 'Retry');
    await does('dead1');
    await toast('Retried 1 job of default');
    await choose('dead2', 'Remove');
    await confirm();
    await toast('Removed 1 job of default');
    await page.click('text=Retry all 1');
    await does('dead3');
    await look('queue:default', 'Retries', 9);
    await choose('again1', 'Run now');
    await does('again1');
    await toast('Let 1 job of default run now');
    await choose('again2', 'Kill');
    await toast('Put 1 job of default to the dead ones');
    assert.deepEqual(await askSidekiq('Sidekiq::DeadSet.new.map(&:jid)'), ['again2']);
    await page.click('.tools >> text=Remove all');
    await page.waitForSelector('#ask:has-text("Remove 1 ")');
    await confirm();
    await until(async () => (await askSidekiq('Sidekiq::RetrySet.new.size')) === 0);
    await look('queue:default', 'Scheduled', 9);
    await page.click('text=Run all 1 now');
    await does('later1');
    await page.click('.actions details.menu summary');
    await page.click('.actions details.menu >> text=Quiet its processes');
    await confirm();
    await toast('take no more jobs');
    await until(() => askSidekiq('Sidekiq::ProcessSet.new.all? { _1.stopping? }'));
    await askSidekiq("WriteDown.perform_bulk([['never1'], ['never2']])");
    await look('queue:default', 'Enqueued', 9);
    await page.waitForSelector('table.jobs tbody tr:nth-child(2)');
    await page.check('table.jobs tbody tr:nth-child(1) [data-id]');
    await page.click('#chosen >> text=Remove');
    await confirm();
    await until(async () => (await askSidekiq('Sidekiq::Queue.new.size')) === 1);
    await page.click('.actions details.menu summary');
    await page.click('.actions details.menu >> text=Clear the queue');
    await confirm();
    await toast('Removed 1 job that waited in default');
    assert.equal(await askSidekiq('Sidekiq::Queue.new.size'), 0);
    program.kill('SIGTERM');
    await program.exited;
    assert.deepEqual((await queues.lrange(notes, 0, -1)).sort(), ['again1', 'dead1', 'dead3', 'later1']);
  });

  test('arq: jobs are run now, put off, removed and aborted, and a worker sees it', { skip: missing('.venv-arq') }, async (t) => {
    const arq = python(t, '.venv-arq', { ARQ_NAME: 'herring' });
    const enqueue = (name, ...texts) => arq.run(`
import asyncio, sys
from arq import create_pool
import arq_worker
async def enqueue(name, *texts):
    pool = await create_pool(arq_worker.SETTINGS, default_queue_name=arq_worker.NAME)
    for text in texts:
        later = {} if name == "survive" else {"_defer_by": 3600}
        await pool.enqueue_job(name, *([text] if later else []), _job_id=text, **later)
asyncio.run(enqueue(*sys.argv[1:]))`, name, ...texts);
    arq.start('-m', 'arq', 'arq_worker.Worker');
    await enqueue('survive', 'running');
    await until(() => redis.exists('arq:in-progress:running'));
    await look('herring', 'queued');
    await choose('running', 'Remove');
    await confirm();
    await toast('Job running is with a worker already');
    await page.keyboard.press('Escape');
    await choose('running', 'Abort');
    await until(() => redis.exists('arq:result:running'));
    await enqueue('write_down', 'now', 'soon', 'never', 'stopped', 'all-1', 'all-2');
    await choose('now', 'Run now');
    await noted('herring-notes', 'now');
    await toast('Let 1 job of herring run now');
    await choose('soon', 'Change delay');
    await page.fill('#ask [name=delay]', '200ms');
    await confirm();
    await noted('herring-notes', 'soon');
    await toast('Changed when 1 job of herring will run');
    await choose('never', 'Remove');
    await page.waitForSelector('#ask:has-text("Remove job never?")');
    await confirm();
    await toast('Removed 1 job of herring');
    assert.equal(await redis.exists('arq:job:never'), 0);
    await choose('stopped', 'Abort');
    await toast('Told workers to abort 1 job of herring');
    await until(() => redis.exists('arq:result:stopped'));
    await page.click('text=Run all 2 now');
    await noted('herring-notes', 'all-1');
    await noted('herring-notes', 'all-2');
    await enqueue('write_down', 'gone-1', 'gone-2');
    await page.waitForSelector('[data-id="gone%2D2"]');
    await page.click('.tools >> text=Remove all');
    await page.waitForSelector('#ask:has-text("Remove 2 queued jobs of herring?")');
    await confirm();
    await toast('Removed 2 jobs of herring');
    assert.equal(await redis.zcard('herring'), 0);
    assert.deepEqual((await redis.lrange('herring-notes', 0, -1)).sort(), ['all-1', 'all-2', 'now', 'soon', 'try 1']);
  });

  test('celery: what waits is removed and revoked, what workers hold revoked, the queue purged, and a worker sees it', { skip: missing('.venv') }, async (t) => {
    const celery = python(t, '.venv', { CELERY_NAME: 'celeriac-' });
    const name = 'celeriac-celery';
    const send = (...texts) => celery.run(`
import sys
import celery_tasks as tasks
for text in sys.argv[2:]:
    kind, wait, priority = (sys.argv[1] + " 0").split(" ")[:3]
    tasks.app.tasks[f"celery_tasks.{kind}"].apply_async([text] if kind == "write_down" else [], task_id=text, countdown=int(wait) or None, priority=int(priority))`, ...texts);
    await send('write_down 0', 'first', 'second', 'third');
    await look(name, 'waiting');
    await choose('first', 'Remove');
    await page.waitForSelector('#ask:has-text("Remove job first?")');
    await confirm();
    await toast(`Removed 1 job of ${name}`);
    await choose('second', 'Revoke');
    await toast('No worker is there that could be told');
    await page.click('.tools >> text=Remove all');
    await page.waitForSelector(`#ask:has-text("Remove 2 waiting jobs of ${name}?")`);
    await confirm();
    await toast(`Removed 2 jobs of ${name}`);
    // Each priority but the first has a list of its own.
    await send('write_down 0 3', 'third-of-3');
    await send('write_down 0 6', 'sixth', 'removed-of-6');
    await send('write_down 0 9', 'ninth');
    await send('write_down 0', 'fourth', 'fifth');
    await look(name, 'waiting (6)');
    await choose('removed-of-6', 'Remove');
    await confirm();
    await toast(`Removed 1 job of ${name}`);
    assert.equal(await redis.llen(`${name}\x06\x166`), 1);
    await page.click('.actions details.menu summary');
    await page.click('.actions details.menu >> text=Clear the queue');
    await page.waitForSelector('#ask:has-text("5 jobs that wait for a worker are removed")');
    await confirm();
    await toast(`Removed 5 jobs that waited in ${name}`);
    assert.deepEqual(await redis.keys(`${name}*`), []);
    celery.start('-m', 'celery', '--app=celery_tasks', 'worker', '--concurrency=1', '--loglevel=ERROR', '--without-gossip', '--without-mingle');
    await send('write_down 3600', 'later');
    await look(name, 'scheduled');
    await choose('later', 'Revoke');
    await toast(`Revoked 1 job of ${name}`);
    await send('write_down 0', 'later', 'last');
    await noted('celeriac-:notes', 'last');
    assert.match(String(await redis.get('celeriac-celery-task-meta-later')), /REVOKED/);
    await send('survive 0', 'running');
    await noted('celeriac-:notes', 'first');
    await look(name, 'reserved');
    await choose('running', 'Revoke');
    await until(async () => /running/.test(String(await celery.run('import celery_tasks as tasks; print(tasks.app.control.inspect().revoked())'))));
    assert.deepEqual(await redis.lrange('celeriac-:notes', 0, -1), ['last', 'first']);
  });

  test('dramatiq: what waits, is delayed or dead is removed, run now and retried, and a worker sees it', { skip: missing('.venv') }, async (t) => {
    const dramatiq = python(t, '.venv', { DRAMATIQ_NAME: 'drama', dramatiq_worker_timeout: '100' });
    const send = (kind, ...texts) => dramatiq.run(`
import sys
import dramatiq_actors as actors
kind, texts = sys.argv[1], sys.argv[2:]
for text in texts:
    sent = actors.write_down.send_with_options(args=[text], delay=3_600_000 if kind == "delayed" else None)
    if kind == "dead":
        consumer = actors.broker.consume("default", timeout=100)
        taken = next(consumer)
        taken.options["traceback"] = "ValueError: as asked"
        consumer.nack(taken)
        consumer.close()
    print(sent.message_id)`, kind, ...texts);
    for (const [kind, state, key] of [['delayed', 'delayed', 'default.DQ.msgs'], ['dead', 'dead', 'default.XQ.msgs']]) {
      await send(kind, `gone-${kind}-1`, `gone-${kind}-2`);
      await look('drama:default', state);
      await page.click('.tools >> text=Remove all');
      await page.waitForSelector(`#ask:has-text("Remove 2 ${state} jobs of default?")`);
      await confirm();
      await toast('Removed 2 jobs of default');
      assert.equal(await redis.exists(`drama:${key}`), 0);
    }
    const [dead, dropped] = await send('dead', 'dead', 'dropped', 'all-dead');
    const [waiting] = await send('waiting', 'removed');
    const [now, never] = await send('delayed', 'now', 'never', 'all-later');
    await look('drama:default', 'dead');
    await choose(dead, 'Retry');
    await toast('Retried 1 job of default');
    await choose(dropped, 'Remove');
    await confirm();
    await toast('Removed 1 job of default');
    await page.click('text=Retry all 1');
    await until(async () => (await redis.zcard('drama:default.XQ')) === 0);
    await look('drama:default', 'waiting');
    await choose(waiting, 'Remove');
    await page.waitForSelector(`#ask:has-text("Remove job ${waiting}?")`);
    await confirm();
    await until(async () => (await redis.llen('drama:default')) === 2);
    await look('drama:default', 'delayed');
    await choose(now, 'Run now');
    await toast('Let 1 job of default run now');
    await choose(never, 'Remove');
    await confirm();
    await until(async () => (await redis.hlen('drama:default.DQ.msgs')) === 2);
    await page.click('text=Run all 2 now');
    await toast('Let 2 jobs of default run now');
    dramatiq.start('-m', 'dramatiq', '--processes=1', '--threads=1', 'dramatiq_actors');
    for (const text of ['dead', 'all-dead', 'now', 'all-later']) await noted('drama-notes', text);
    assert.deepEqual((await redis.lrange('drama-notes', 0, -1)).sort(), ['all-dead', 'all-later', 'dead', 'now']);
  });

  test('the browser had nothing to complain of', () => {
    // What is gone is told of by the browser as well.
    assert.deepEqual(complaints.filter((text) => !/status of 404/.test(text)), []);
  });
});
