// What views and open pages cost a server with many jobs. TORIL_VIEW_JOBS says how many; tests/long/views has a
// million and asserts times as well, which the brief form only tells.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { startServer } from '../own-server.js';
import { sleep } from '../support.js';

const COUNT = Number(process.env.TORIL_VIEW_JOBS ?? 10_000);
const IS_WHOLE = COUNT >= 1_000_000;
const QUEUES = 100;
const BATCH = 1_000;
/** A view is asked for so often. */
const TIMES = IS_WHOLE ? 100 : 3;

const OVERVIEW_MS = 5;
const PAGE_MS = 10;

// The busy queues.
const JOBS_A_SECOND = IS_WHOLE ? 5_000 : 500;
const EVERY_MS = 50;
/** With a page and without, in turns, so that both feel what else the machine does. */
const TURNS = IS_WHOLE ? 12 : 1;
const TURN_MS = IS_WHOLE ? 10_000 : 1_000;
/** Where processor time is told. */
const skip = !existsSync('/proc/self/schedstat');
/** Of a thread, a page. */
const SHARE = 0.01;

const base = (at) => `bull:queue-${String(at).padStart(3, '0')}`;
const view = (name) => `queue/${Buffer.from(`0\0${name}`).toString('base64url')}`;

// As BullMQ keeps them: most have ended, some wait for a worker or for their time.
const FILL = `-- fills a queue
local names = { 'welcome', 'invoice', 'reminder', 'digest', 'export' }
local errors = { 'SMTP 550 no such mailbox', 'connect ECONNREFUSED', 'timed out after 30 s' }
local key = KEYS[1] .. ':'
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local at = 1790000000000 + i
  redis.call('HSET', key .. i, 'name', names[i % 5 + 1], 'data', string.format('{"to":"user%d@example.com","order":%d,"locale":"de-DE"}', i * 7919 % 1000003, i),
    'opts', '{"attempts":3}', 'timestamp', at, 'delay', 0, 'priority', 0)
  if i % 10 == 0 then redis.call('LPUSH', key .. 'wait', i)
  elseif i % 10 == 1 then redis.call('ZADD', key .. 'delayed', (at + 1e9) * 4096, i)
  elseif i % 10 == 2 then
    redis.call('HSET', key .. i, 'failedReason', errors[(i - 2) / 10 % 3 + 1], 'finishedOn', at)
    redis.call('ZADD', key .. 'failed', at, i)
  else redis.call('ZADD', key .. 'completed', at, i) end
end
redis.call('HSET', key .. 'meta', 'opts.maxLenEvents', '10000')
redis.call('SET', key .. 'id', ARGV[2])`;

// Jobs that are added, taken and done: each changes what BullMQ's scripts change. All but the last go again.
const RUN = `-- runs jobs
local key = KEYS[1] .. ':'
local function tell(...) redis.call('XADD', key .. 'events', 'MAXLEN', '~', 1000, '*', 'event', ...) end
for _ = 1, tonumber(ARGV[1]) do
  local id = redis.call('INCR', key .. 'id')
  redis.call('HSET', key .. id, 'name', 'welcome', 'data', '{"to":"ada@example.com"}', 'opts', '{}', 'timestamp', ARGV[2], 'delay', 0, 'priority', 0)
  tell('added', 'jobId', id, 'name', 'welcome')
  redis.call('LPUSH', key .. 'wait', id)
  tell('waiting', 'jobId', id)
  redis.call('LMOVE', key .. 'wait', key .. 'active', 'LEFT', 'LEFT')
  redis.call('HSET', key .. id, 'processedOn', ARGV[2])
  tell('active', 'jobId', id, 'prev', 'waiting')
  redis.call('LREM', key .. 'active', -1, id)
  redis.call('ZADD', key .. 'completed', ARGV[2], id)
  redis.call('HSET', key .. id, 'finishedOn', ARGV[2], 'returnvalue', 'null')
  tell('completed', 'jobId', id, 'returnvalue', 'null', 'prev', 'active')
  redis.call('DEL', key .. (id - 20))
  redis.call('ZREM', key .. 'completed', id - 20)
end`;

/** Milliseconds of processor time that the server has had, to the nanosecond as Linux counts them. */
function spent(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const of = (thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return threads.map(of).reduce((sum, it) => sum + it, 0) / 1e6;
}

async function start(t) {
  const server = await startServer(t, '--http-port', '0');
  const redis = new Redis(server.port);
  t.after(() => redis.disconnect());
  const { pid, http: { url, token } } = server;
  const get = (path, options = {}) => fetch(`${url}/_toril/${path}`, { ...options, headers: { authorization: `Bearer ${token}`, ...options.headers } });
  return { redis, get, spent: () => spent(pid) };
}

test(`views over ${COUNT.toLocaleString('en')} jobs`, { skip }, async (t) => {
  const { redis, get, spent } = await start(t);
  await redis.config('SET', 'compact-idle-after', '1000000');
  // One queue has nine tenths of all jobs, the others share the rest.
  const rest = Math.floor(COUNT / 10 / (QUEUES - 1));
  for (let from = 1; from <= COUNT * 0.9; from += BATCH) await redis.eval(FILL, 1, base(0), from, Math.min(from + BATCH - 1, COUNT * 0.9));
  for (let at = 1; at < QUEUES; at += 1) await redis.eval(FILL, 1, base(at), 1, rest);
  const whole = { headers: { accept: 'application/json' } };
  // Until all keys were looked at, and the server has nothing to do of its own.
  for (const until = Date.now() + 120_000; Date.now() < until;) {
    const { queues } = await (await get('view/overview', whole)).json();
    const before = spent();
    await sleep(500);
    if (queues.length === QUEUES && spent() - before < 10) break;
  }

  const of = (state) => `${view(base(0))}/${state}`;
  const middle = Math.floor(COUNT / 25 / 50) * 50;
  const error = encodeURIComponent('connect ECONNREFUSED');
  const views = [
    ['overview', OVERVIEW_MS], [of('waiting'), PAGE_MS], [of('delayed'), PAGE_MS], [of('completed'), PAGE_MS], [of('failed'), PAGE_MS],
    [`${of('failed')}?from=${middle}`, PAGE_MS], [`${of('waiting')}?from=${middle}`, PAGE_MS], [`${of('completed')}?from=${5 * middle}`, PAGE_MS],
    [`${of('failed')}?error=${error}`, PAGE_MS], [`${of('completed')}?name=digest`, PAGE_MS], [`${of('completed')}?name=nobody`, PAGE_MS],
    [`job/${view(base(0)).slice(6)}/12`, PAGE_MS], ['keys', PAGE_MS], [`keys?match=${base(0)}:`, PAGE_MS], ['keys?match=*:nobody:*', PAGE_MS],
    ['keys?type=stream', PAGE_MS], ['schedulers', PAGE_MS], ['workers', PAGE_MS], ['flows', PAGE_MS], ['commands', PAGE_MS], ['clients', PAGE_MS],
  ];
  for (const [path, most_ms] of views) {
    const first = await get(`view/${path}`);
    assert.equal(first.status, 200, path);
    await first.text();
    const [spent_ms, began] = [spent(), performance.now()];
    for (let at = 0; at < TIMES; at += 1) await (await get(`view/${path}`)).arrayBuffer();
    const took_ms = (performance.now() - began) / TIMES;
    const server_ms = (spent() - spent_ms) / TIMES;
    t.diagnostic(`${path}: took the server ${server_ms.toFixed(2)} ms, and ${took_ms.toFixed(2)} ms in all`);
    if (IS_WHOLE) assert.ok(server_ms <= most_ms, `${path}: ${server_ms} ms of the server's time`);
  }
});

test(`pages over ${QUEUES} queues with ${JOBS_A_SECOND.toLocaleString('en')} jobs a second`, { skip }, async (t) => {
  const { redis, get, spent } = await start(t);
  const sha = await redis.script('LOAD', RUN);
  let [isOver, ran] = [false, 0];
  const load = (async () => {
    const began = performance.now();
    for (let at = 0; !isOver; at += 1) {
      // So many since the beginning, spread over the queues.
      const due = Math.floor(((performance.now() - began) * JOBS_A_SECOND) / 1000);
      const each = Math.max(1, Math.floor(JOBS_A_SECOND / 20 / QUEUES));
      const calls = redis.pipeline();
      for (; ran < due; ran += each) calls.evalsha(sha, 1, base((ran / each) % QUEUES), each, Date.now());
      await calls.exec();
      await sleep(EVERY_MS);
    }
  })();
  await sleep(1_000);

  /** A page that is open, and reads what it is sent. */
  async function open(path) {
    const leaving = new AbortController();
    const { body, status } = await get(`events?view=${encodeURIComponent(path)}`, { signal: leaving.signal });
    assert.equal(status, 200, path);
    const page = { frames: 0, leave: () => leaving.abort() };
    void (async () => {
      for await (const text of body.pipeThrough(new TextDecoderStream())) page.frames += text.split('\n\n').length - 1;
    })().catch(() => {});
    return page;
  }
  /** Of a thread, while so many pages are open. */
  async function share(paths) {
    const pages = await Promise.all(paths.map(open));
    await sleep(1_000);
    const [spent_ms, began] = [spent(), performance.now()];
    await sleep(TURN_MS);
    const took = (spent() - spent_ms) / (performance.now() - began);
    for (const page of pages) {
      assert.ok(page.frames > 0, `${paths} were told nothing`);
      page.leave();
    }
    // Until the server has forgotten them.
    await sleep(IS_WHOLE ? 6_000 : 0);
    return took;
  }
  const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];
  const kinds = [[], ['overview'], [`${view(base(7))}/completed`], Array(4).fill('overview')];
  const shares = kinds.map(() => []);
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (const [at, paths] of kinds.entries()) shares[at].push(await share(paths));
  }
  isOver = true;
  await load;
  const [none, ...some] = shares.map(median);
  t.diagnostic(`no page: took ${(none * 100).toFixed(2)} % of a thread`);
  some.forEach((it, at) => {
    const paths = kinds[at + 1];
    const more = it - none;
    t.diagnostic(`${paths.length} of ${paths[0]}: took ${(more * 100).toFixed(2)} % more`);
    if (IS_WHOLE) assert.ok(more <= SHARE * paths.length, `${paths}: ${more} of a thread`);
  });
});
