// What a search over many jobs costs others: it must not be felt by who pings, must not thaw what
// rests, and must leave nothing behind. TORIL_SEARCH_JOBS says how many jobs; tests/long/search
// has a million and asserts times as well, which the brief form only tells.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Redis } from 'ioredis';
import { address, sleep } from '../support.js';
import { send } from './rest.js';

const COUNT = Number(process.env.TORIL_SEARCH_JOBS ?? 10_000);
const IS_WHOLE = COUNT >= 1_000_000;
const BATCH = 1_000;
const PING_PAUSES_MS = [1, 10];

// As BullMQ keeps them: most have ended, some wait.
const FILL = `-- fills a queue
local names = { 'welcome', 'invoice', 'reminder', 'digest', 'export' }
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local data = string.format('{"to":"user%d@example.com","order":%d,"items":[{"sku":"A-%d","qty":%d},{"sku":"B-%d","qty":2}],"total":%d.%02d,"locale":"de-DE","requestId":"%x-%x"}',
    i * 7919 % 1000003, i, i % 971, i % 5 + 1, i % 313, i % 900, i % 100, i * 65537 % 4294967296, i * 40503 % 65536)
  redis.call('HSET', KEYS[1] .. i, 'name', names[i % 5 + 1], 'data', data, 'opts', '{"attempts":3}', 'timestamp', 1790000000000 + i, 'delay', 0, 'priority', 0)
  if i % 10 == 0 then redis.call('LPUSH', KEYS[1] .. 'wait', i)
  elseif i % 100 == 1 then redis.call('HSET', KEYS[1] .. i, 'failedReason', 'SMTP 550 no such mailbox') redis.call('ZADD', KEYS[1] .. 'failed', i, i)
  else redis.call('ZADD', KEYS[1] .. 'completed', i, i) end
end
redis.call('HSET', KEYS[1] .. 'meta', 'opts.maxLenEvents', '10000')`;

/** What the page shows once there is no more to come, and how long that took. */
async function search(q, pause_ms = 10) {
  const began = performance.now();
  for (;;) {
    const { json } = await send(`/_toril/view/search?q=${encodeURIComponent(q)}`, { method: 'GET', headers: { accept: 'application/json' } });
    if (json.settled) return { ...json, ms: performance.now() - began };
    await sleep(pause_ms);
  }
}

/** How long pings take while some work is done: their 50th and 99th percentile, and the longest. */
async function ping(pause_ms, work) {
  const pinger = new Worker(new URL('pinger.js', import.meta.url), { workerData: { pause_ms } });
  await once(pinger, 'message');
  const result = await work();
  pinger.postMessage('stop');
  const [felt] = await once(pinger, 'message');
  return { result, felt };
}

const told = ({ count, p50, p99, max }) => `p50 ${p50.toFixed(2)}, p99 ${p99.toFixed(2)}, max ${max.toFixed(2)} ms (${count})`;

test(`a search over ${COUNT.toLocaleString('en')} jobs`, async (t) => {
  const redis = new Redis(address);
  t.after(() => redis.disconnect());
  const key = (name) => `bull:searched:${name}`;
  for (let from = 1; from <= COUNT; from += BATCH) await redis.eval(FILL, 1, key(''), from, Math.min(from + BATCH - 1, COUNT));
  const samples = Array.from({ length: 200 }, (_, at) => key(1 + Math.floor((at * COUNT) / 200)));
  const sizes = () => Promise.all(samples.map((name) => redis.call('MEMORY', 'USAGE', name)));
  const used = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))[1]);
  const looks = async () => /keyspace_hits:\d+/.exec(await redis.info('stats'))[0];

  // Until what can rests. A look at a key would keep it awake. The brief form has no time for that.
  const warm = [await used(), await sizes()];
  const used_at = [warm[0]];
  if (IS_WHOLE) {
    await redis.config('SET', 'compact-idle-after', '1');
    // Passes over so many keys are ten seconds apart.
    const stillness_s = 20;
    const isStill = () => used_at.length > stillness_s && used_at.at(-1) < warm[0] * 0.9 && used_at.at(-1) > used_at.at(-stillness_s) * 0.999;
    while (!isStill() && used_at.length < 300) {
      await sleep(1000);
      used_at.push(await used());
    }
  }
  const cold = await sizes();
  const resting = cold.filter((size, at) => size < warm[1][at]).length;
  assert.ok(!IS_WHOLE || resting > samples.length * 0.8, `${resting} of ${samples.length} jobs rest: ${used_at}`);
  await redis.config('SET', 'compact-idle-after', '1000000');
  await sleep(IS_WHOLE ? 3000 : 100);
  const [before, hits] = [await used(), await looks()];

  const idle = {};
  for (const pause of PING_PAUSES_MS) {
    ({ felt: idle[pause] } = await ping(pause, () => sleep(IS_WHOLE ? 20_000 : 300)));
    t.diagnostic(`pings every ${pause} ms, idle: took ${told(idle[pause])}`);
  }

  // The first text is a walk, the second makes the index, while somebody pings.
  let index = 0;
  const during = async (name, pause, work) => {
    const began = performance.now();
    const { result, felt } = await ping(pause, work);
    const took_s = (performance.now() - began) / 1000;
    t.diagnostic(`${name}, pings every ${pause} ms: took ${took_s.toFixed(1)} s, a ping ${told(felt)}`);
    if (IS_WHOLE) assert.ok(felt.p99 <= idle[pause].p99 + 1, `${name}: p99 ${felt.p99} ms, idle ${idle[pause].p99} ms`);
    return result;
  };
  const poll_ms = IS_WHOLE ? 200 : 20;
  const walked = await during('a walk over all', 10, () => search('nobodyhasthis', poll_ms));
  assert.deepEqual([walked.hits.length, walked.searched, walked.of, walked.index], [0, COUNT, COUNT, 0]);
  const indexed = await during('the index is made', 10, () => search('nobodyhasthat', poll_ms));
  assert.deepEqual([indexed.hits.length, indexed.searched], [0, COUNT]);
  ({ index } = indexed);
  assert.ok(index > 0 && index <= 64 * (COUNT + 10_000), `the index has ${index} bytes`);
  t.diagnostic(`the index: took ${index} bytes, ${(index / COUNT).toFixed(1)} a job`);

  // Once indexed.
  const number = COUNT - 4_321;
  for (const [q, least] of [
    [`user${(number * 7919) % 1000003}@`, 1], ['invoice', 50], ['"SMTP 550" state:failed', 50], ['name:digest de-de', 50],
    [`data.order:${number}`, 1], ['nosuchthing', 0], ['id:' + number, 1], [String(number), 1],
  ]) {
    const found = await search(q);
    t.diagnostic(`${q}: took ${found.ms.toFixed(1)} ms, ${found.hits.length} found`);
    assert.ok(found.hits.length >= least, `${q}: ${found.hits.length}`);
    if (IS_WHOLE) assert.ok(found.ms <= 100, `${q} took ${found.ms} ms`);
  }

  // Nothing was touched, and nothing stays.
  assert.equal(await looks(), hits, 'hits are not counted');
  assert.deepEqual(await sizes(), cold, 'what rests still does');
  if (IS_WHOLE) {
    await during('the page is left', 10, () => sleep(8000));
    const after = await used();
    t.diagnostic(`memory: took ${before} bytes before, ${after} eight seconds after`);
    assert.ok(after < before + 1_000_000, `${before} before, ${after} after`);
    // On a server that is never quiet it takes a twentieth of the time.
    await search('first');
    const busy = await during('the index is made, slowly', 1, () => search('second', poll_ms));
    assert.equal(busy.searched, COUNT);
  }
  for (let from = 1; from <= COUNT; from += 10_000) {
    await redis.unlink(...Array.from({ length: Math.min(10_000, COUNT - from + 1) }, (_, at) => key(from + at)));
  }
  await redis.del(...['wait', 'failed', 'completed', 'meta'].map(key));
});
