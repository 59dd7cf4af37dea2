// What stands in a queue's keys may be written by anybody: each field of each library's keys holds HTML, a megabyte,
// bytes that are no text or a pickle, and whatever shows it shows text.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Redis } from 'ioredis';
import { startServer } from '../own-server.js';
import { sleep } from '../support.js';
import { launch, skip } from './chromium.js';

const HTML = '<img src=x onerror="window.taken=1"><script>window.taken=2</script>';
const PICKLE = Buffer.from('80048c057461736b738c026f6b934b0585522e', 'hex');
const BROKEN = Buffer.concat([Buffer.from([0xff, 0xc3, 0x28, 0x00]), Buffer.from(HTML)]);
const VALUES = [HTML, HTML + 'x'.repeat(1 << 20), BROKEN, PICKLE, `{"deep":${'['.repeat(200)}${']'.repeat(200)}}`, '', '-1', '1e400'];
/** Where a field holds JSON of the library's own, only texts fit into it; together they are a megabyte. */
const TEXTS = [HTML, HTML + 'x'.repeat(1 << 17), '\u0000\u202e\ud800', '', '"\\'];
const Q = `q${HTML.replaceAll('/', '')}`;
const LATER = 4_000_000_000_000;

/** All fields of a hash hold the value. */
const all = (names, value) => Object.fromEntries(names.split(' ').map((name) => [name, value]));
const json = (fields, value, rest = {}) => JSON.stringify({ ...all(fields, value), ...rest });

const BULLMQ = 'name data opts returnvalue failedReason stacktrace timestamp processedOn finishedOn progress attemptsMade atm ats stc delay priority parentKey parent rjk deid pb nrjid';

/** Of each library the base of its queue, what it writes of a job whose fields hold one value, and of the queue. */
const LIBRARIES = {
  BullMQ: {
    base: `bull:${Q}`,
    values: VALUES,
    job: (b, id, value) => [
      ['hset', `${b}:${id}`, all(BULLMQ, value)], ['rpush', `${b}:${id}:logs`, value],
      ['lpush', `${b}:wait`, id], ['lpush', `${b}:active`, id], ['lpush', `${b}:paused`, id],
      ...['delayed', 'failed', 'completed', 'prioritized', 'waiting-children'].map((key) => ['zadd', `${b}:${key}`, LATER, id]),
      ['sadd', `${b}:${id}:dependencies`, value], ['hset', `${b}:${id}:processed`, { x: value }], ['set', `${b}:${id}:lock`, value],
      ['xadd', `${b}:events`, '*', 'event', 'failed', 'jobId', id, 'failedReason', value, 'prev', value],
      ['xadd', `${b}:events`, '*', 'event', value, 'jobId', value, value, value],
      ['zadd', `${b}:repeat`, LATER, id], ['hset', `${b}:repeat:${id}`, all('name pattern every tz endDate opts data ic', value)],
    ],
    queue: (b, value) => [['hset', `${b}:meta`, { 'opts.maxLenEvents': 100, version: value, concurrency: value }]],
  },
  Bull: {
    base: `bull:bull-${Q}`,
    values: VALUES,
    job: (b, id, value) => [
      ['hset', `${b}:${id}`, all('name data opts returnvalue failedReason stacktrace timestamp processedOn finishedOn progress attemptsMade delay priority', value)],
      ['rpush', `${b}:${id}:logs`, value], ['lpush', `${b}:wait`, id], ['lpush', `${b}:active`, id], ['lpush', `${b}:paused`, id],
      ...['delayed', 'failed', 'completed'].map((key) => ['zadd', `${b}:${key}`, LATER, id]),
      ['zadd', `${b}:repeat`, LATER, value],
    ],
    queue: (b) => [['set', `${b}:id`, 1]],
  },
  'bee-queue': {
    base: `bq:${Q}`,
    values: TEXTS,
    job: (b, id, value) => [
      ['hset', `${b}:jobs`, { [id]: json('data status progress', value, { options: all('timestamp delay retries timeout stacktraces backoff', value) }) }],
      ['hset', `${b}:jobs`, { [`raw${id}`]: value }],
      ...['waiting', 'active'].map((key) => ['lpush', `${b}:${key}`, id, `raw${id}`]), ...['succeeded', 'failed'].map((key) => ['sadd', `${b}:${key}`, id, `raw${id}`]),
      ['zadd', `${b}:delayed`, LATER, id],
    ],
    queue: (b) => [['set', `${b}:id`, 1], ['set', `${b}:stallBlock`, 1]],
  },
  RQ: {
    base: Q,
    values: VALUES,
    job: (b, id, value) => [
      ['hset', `rq:job:${id}`, { ...all('created_at data status description exc_info enqueued_at started_at ended_at result meta timeout worker_name last_heartbeat success_callback_name dependency_ids retries_left', value), origin: b }],
      ['rpush', `rq:queue:${b}`, id],
      ...['finished', 'failed', 'wip', 'scheduled', 'deferred', 'canceled'].map((key) => ['zadd', `rq:${key}:${b}`, LATER / 1000, id]),
      ['xadd', `rq:results:${id}`, '*', 'type', value, 'return_value', value, 'exc_string', value, 'created_at', value],
    ],
    queue: (b) => [['sadd', 'rq:queues', `rq:queue:${b}`]],
  },
  Celery: {
    base: Q,
    values: TEXTS,
    job: (b, id, value) => {
      const message = { body: value, 'content-type': value, headers: all('lang task root_id parent_id group argsrepr kwargsrepr origin eta expires retries', value), properties: all('correlation_id reply_to priority body_encoding', value) };
      message.headers.id = id;
      return [
        ...['', '\x06\x163', '\x06\x169'].map((end) => ['rpush', `${b}${end}`, JSON.stringify(message), value]),
        ['hset', 'unacked', { [id]: JSON.stringify([message, b, b]), [`raw${id}`]: value }], ['zadd', 'unacked_index', 1, id],
        ['set', `celery-task-meta-${id}`, json('status result traceback children date_done', value, { task_id: id })],
      ];
    },
    queue: (b) => [['sadd', `_kombu.binding.${b}`, `${b}\x06\x16\x06\x16${b}`]],
  },
  arq: {
    base: 'arq:queue',
    values: VALUES,
    job: (b, id, value) => [['zadd', b, LATER, id], ['set', `arq:job:${id}`, value], ['set', `arq:retry:${id}`, value], ['set', `arq:result:${id}`, value], ['set', `arq:in-progress:${id}`, value]],
    queue: (b, value) => [['set', 'arq:queue:health-check', value]],
  },
  dramatiq: {
    base: `dramatiq:${Q}`,
    values: TEXTS,
    job: (b, id, value) => {
      const text = json('actor_name args kwargs options message_timestamp', value, { queue_name: Q, message_id: id, args: [value], kwargs: { [value]: value }, actor_name: value, options: all('eta traceback retries redis_message_id', value) });
      return [['', 'rpush'], ['.DQ', 'rpush'], ['.XQ', 'zadd']].flatMap(([end, how]) => [
        ['hset', `${b}${end}.msgs`, { [id]: text, [`raw${id}`]: value }], how === 'zadd' ? [how, `${b}${end}`, LATER, id, LATER, `raw${id}`] : [how, `${b}${end}`, id, `raw${id}`],
      ]);
    },
    queue: () => [],
  },
  Sidekiq: {
    base: `queue:${Q}`,
    values: TEXTS,
    job: (b, id, value) => {
      const text = json('class args retry created_at enqueued_at failed_at error_message error_class error_backtrace retry_count wrapped tags bid', value, { jid: id, queue: Q, class: value });
      return [['lpush', b, text, value], ...['retry', 'schedule', 'dead'].map((key) => ['zadd', key, LATER / 1000, text]),
        ['hset', 'host:1:abc:work', { [`tid${id}`]: JSON.stringify({ queue: Q, payload: text, run_at: value }) }]];
    },
    queue: (b, value) => [['sadd', 'queues', Q], ['sadd', 'processes', 'host:1:abc'], ['hset', 'host:1:abc', { info: json('hostname tag labels', value, { identity: 'host:1:abc', queues: [Q], concurrency: 1 }), busy: value, beat: value }]],
  },
};

describe('hostile data', { skip }, () => {
  let browser;
  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  for (const [name, { base, values, job, queue }] of Object.entries(LIBRARIES)) {
    test(`${name}: whatever stands in its keys is shown as text`, async (t) => {
      const server = await startServer(t, '--http-port', '0');
      const redis = new Redis(server.port);
      t.after(() => redis.disconnect());
      for (const command of queue(base, HTML)) await redis[command[0]](...command.slice(1));
      const ids = [...values.keys()].map((at) => `id-${at}`);
      for (const [at, id] of [...ids, `${HTML}`].entries()) {
        for (const command of job(base, id, values[at] ?? HTML)) await redis[command[0]](...command.slice(1));
      }
      const complaints = [];
      for (const width of [1280, 390]) {
        const page = await browser.newPage({ viewport: { width, height: 800 } });
        page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(`${page.url()}: ${message.text()}`); });
        page.on('pageerror', (error) => complaints.push(error.message));
        let isShown = false;
        async function look(view) {
          const shown = page.waitForResponse((answer) => answer.url().includes('/_toril/view/'));
          await page.goto(`${server.http.url}/#/${view}`);
          await shown;
          await page.waitForSelector('#main :is(h1, .problem)');
          await sleep(200);
          const seen = await page.evaluate(() => ({
            taken: /** @type {any} */ (window).taken,
            foreign: document.querySelectorAll('#main :is(img, script, iframe, [onerror])').length,
            wide: document.documentElement.scrollWidth - innerWidth,
            links: [...document.querySelectorAll('.tabs a, table.jobs td a')].map((link) => link.getAttribute('href')?.slice(2)),
            text: document.querySelector('#main')?.textContent ?? '',
          }));
          const place = `${view.slice(0, 90)} at ${width}`;
          assert.equal(seen.taken, undefined, place);
          assert.equal(seen.foreign, 0, place);
          assert.ok(seen.wide <= 0, `${place}: ${seen.wide} px too wide`);
          isShown ||= seen.text.includes('<img src=x onerror=');
          return seen.links;
        }
        await look('overview');
        const id = Buffer.from(`0\0${base}`).toString('base64url');
        await page.waitForSelector(`.queues a[href*="${id}"]`);
        const views = ['workers', 'schedulers', 'flows', 'clients', 'keys', 'search?q=img'];
        const tabs = (await look(`queue/${id}`)).filter((link) => link?.startsWith(`queue/${id}`));
        const jobs = new Set();
        for (const tab of tabs) (await look(tab)).filter((link) => link?.startsWith('job/')).forEach((link) => jobs.add(link));
        assert.ok(jobs.size > 0, 'jobs are shown');
        // A job takes as much time as all else.
        for (const view of [...views, ...[...jobs].slice(0, width > 1000 ? jobs.size : 2)]) await look(view);
        assert.ok(isShown, 'what is hostile is shown');
        await page.close();
      }
      assert.deepEqual(complaints, []);
    });
  }
});
