// @upstash/ratelimit: scripts with a shebang of Upstash's own, called by SHA first.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IpDenyList, MultiRegionRatelimit, Ratelimit } from '@upstash/ratelimit';
import { Redis } from '@upstash/redis';
import { uniqueName } from '../support.js';
import { connectTcp, rest } from './rest.js';

const redis = new Redis(rest);

// Windows begin at multiples of their length since 1970: no boundary of this one is near.
const WINDOW = '10000 d';

/** A limiter with keys of its own, and no memory of whom it has blocked unless asked for. */
function ratelimit(limiter, options = {}) {
  const prefix = uniqueName('ratelimit');
  return new Ratelimit({ redis, limiter, prefix, ephemeralCache: false, ...options });
}

/** Asks for the same caller until it is refused; answers what it has left each time. */
async function untilRefused(limiter, caller, options) {
  const left = [];
  for (;;) {
    const { success, remaining, reason, reset } = await limiter.limit(caller, options);
    assert.notEqual(reason, 'timeout', 'the library lets all pass when it gets no answer');
    assert.ok(reset > Date.now());
    if (!success) return left;
    left.push(remaining);
  }
}

const ALGORITHMS = {
  fixedWindow: () => Ratelimit.fixedWindow(3, WINDOW),
  slidingWindow: () => Ratelimit.slidingWindow(3, WINDOW),
  tokenBucket: () => Ratelimit.tokenBucket(1, WINDOW, 3),
};

for (const [name, algorithm] of Object.entries(ALGORITHMS)) {
  test(`@upstash/ratelimit ${name}: three may pass, also once scripts are forgotten`, async () => {
    const limiter = ratelimit(algorithm());

    assert.deepEqual(await untilRefused(limiter, 'ada'), [2, 1, 0]);
    assert.equal(await redis.scriptFlush(), 'OK');
    assert.deepEqual(await untilRefused(limiter, 'ada'), []);
    assert.deepEqual(await untilRefused(limiter, 'bob'), [2, 1, 0], 'each caller alone');
  });

  test(`@upstash/ratelimit ${name}: what is left, and starting anew`, async () => {
    const limiter = ratelimit(algorithm());

    assert.equal((await limiter.getRemaining('ada')).remaining, 3);
    await limiter.limit('ada');
    assert.equal((await limiter.getRemaining('ada')).remaining, 2);
    await limiter.resetUsedTokens('ada');
    assert.equal((await limiter.getRemaining('ada')).remaining, 3);
  });

  test(`@upstash/ratelimit ${name}: a call that costs more, and one that gives back`, async () => {
    const limiter = ratelimit(algorithm());

    assert.equal((await limiter.limit('ada', { rate: 2 })).remaining, 1);
    assert.equal((await limiter.limit('ada', { rate: -1 })).remaining, 2);
    assert.deepEqual(await untilRefused(limiter, 'ada'), [1, 0]);
  });

  test(`@upstash/ratelimit ${name}: many at once, as many pass as may`, async () => {
    const limiter = ratelimit(algorithm());

    const answers = await Promise.all(Array.from({ length: 40 }, () => limiter.limit('ada')));

    assert.equal(answers.filter(({ success }) => success).length, 3);
  });

  test(`@upstash/ratelimit ${name}: a limit that is changed while it runs`, async () => {
    const limiter = ratelimit(algorithm(), { dynamicLimits: true });

    assert.deepEqual(await limiter.getDynamicLimit(), { dynamicLimit: null });
    await limiter.setDynamicLimit({ limit: 5 });
    assert.deepEqual(await limiter.getDynamicLimit(), { dynamicLimit: 5 });
    assert.deepEqual(await untilRefused(limiter, 'ada'), [4, 3, 2, 1, 0]);
    assert.equal((await limiter.getRemaining('ada')).limit, 5);
    await limiter.setDynamicLimit({ limit: false });
    assert.deepEqual(await untilRefused(limiter, 'bob'), [2, 1, 0]);
  });
}

test('@upstash/ratelimit: its keys expire', async (t) => {
  const tcp = connectTcp(t);
  const windows = { fixedWindow: 864e9, slidingWindow: 2 * 864e9 + 1000, tokenBucket: 864e9 };
  for (const [name, expected_ms] of Object.entries(windows)) {
    const limiter = ratelimit(ALGORITHMS[name]());
    await limiter.limit('ada');
    const keys = await tcp.keys(`${limiter.prefix}:*`);
    assert.equal(keys.length, 1);
    const left_ms = await tcp.pttl(keys[0]);
    assert.ok(left_ms <= expected_ms && left_ms > expected_ms - 60_000, `${name}: ${left_ms}`);
  }
});

test('@upstash/ratelimit: waits until the window has passed', async () => {
  for (const limiter of [
    ratelimit(Ratelimit.fixedWindow(1, '100 ms')),
    ratelimit(Ratelimit.slidingWindow(1, '100 ms')),
    ratelimit(Ratelimit.tokenBucket(1, '100 ms', 1)),
  ]) {
    for (let call = 0; call < 3; call += 1) {
      assert.equal((await limiter.blockUntilReady('ada', 10_000)).success, true);
    }
  }
});

test('@upstash/ratelimit cachedFixedWindow: counts here, tells the server later', async () => {
  const limiter = ratelimit(Ratelimit.cachedFixedWindow(3, WINDOW), {
    ephemeralCache: new Map(),
  });
  const answers = [];
  for (let call = 0; call < 4; call += 1) {
    answers.push(await limiter.limit('ada'));
    if (call === 1) await redis.scriptFlush();
  }
  await Promise.all(answers.map(({ pending }) => pending));

  assert.deepEqual(
    answers.map(({ success, remaining }) => [success, remaining]),
    [
      [true, 2],
      [true, 1],
      [true, 0],
      [false, -1],
    ],
  );
  const elsewhere = ratelimit(Ratelimit.cachedFixedWindow(3, WINDOW), {
    prefix: limiter.prefix,
    ephemeralCache: new Map(),
  });
  assert.equal((await elsewhere.getRemaining('ada')).remaining, 0);
  assert.equal((await elsewhere.limit('ada')).success, false);
  await limiter.resetUsedTokens('ada');
  assert.equal((await limiter.getRemaining('ada')).remaining, 3);
});

test('@upstash/ratelimit: whoever is blocked is remembered', async () => {
  const limiter = ratelimit(Ratelimit.slidingWindow(1, WINDOW), { ephemeralCache: new Map() });

  assert.equal((await limiter.limit('ada')).success, true);
  assert.equal((await limiter.limit('ada')).reason, undefined);
  assert.equal((await limiter.limit('ada')).reason, 'cacheBlock');
});

test('@upstash/ratelimit: the deny list', async () => {
  const limiter = ratelimit(Ratelimit.fixedWindow(100, WINDOW), { enableProtection: true });
  const [ip, country] = [uniqueName('ip'), uniqueName('country')];
  // Else the library fetches a list of addresses from elsewhere.
  await redis.set(`${limiter.prefix}:ipDenyListStatus`, 'valid', { ex: 100 });
  await redis.sadd(`${limiter.prefix}:denyList:all`, ip, country);

  assert.equal((await limiter.limit('ada', { ip: 'another' })).success, true);
  const { success, reason, deniedValue } = await limiter.limit('ada', { ip });
  assert.deepEqual([success, reason, deniedValue], [false, 'denyList', ip]);
  assert.equal((await limiter.limit('bob', { country })).deniedValue, country);
  assert.equal((await limiter.limit('bob', { ip })).deniedValue, ip, 'remembered here');
});

test('@upstash/ratelimit: the deny list of addresses is renewed in one transaction', async (t) => {
  const limiter = ratelimit(Ratelimit.fixedWindow(100, WINDOW), { enableProtection: true });
  const list = ['192.0.2.1', '192.0.2.2', '198.51.100.7'].map((ip) => `${ip}-${limiter.prefix}`);
  const all = `${limiter.prefix}:denyList:all`;
  const fetchForReal = globalThis.fetch;
  t.mock.method(globalThis, 'fetch', (url, options) =>
    String(url).startsWith(rest.url)
      ? fetchForReal(url, options)
      : Promise.resolve(new Response(list.join('\n'))),
  );
  await redis.sadd(all, 'kept');

  // Nobody has set the status: the first call renews the list, while others pass.
  const first = await limiter.limit('ada', { ip: list[0] });
  assert.equal(first.success, true);
  const [, answers] = await first.pending;
  assert.deepEqual(answers, [1, 0, 3, 3, 4, 'OK']);
  assert.equal((await limiter.limit('ada', { ip: list[0] })).reason, 'denyList');
  assert.ok((await redis.ttl(`${limiter.prefix}:ipDenyListStatus`)) > 0);

  assert.deepEqual(await IpDenyList.disableIpDenyList(redis, limiter.prefix), [1, 1, 'OK']);
  assert.deepEqual(await redis.smembers(all), ['kept']);
  assert.equal((await limiter.limit('ada', { ip: list[1] })).success, true);
});

test('@upstash/ratelimit: analytics are kept and read', async () => {
  const limiter = ratelimit(Ratelimit.fixedWindow(2, WINDOW), { analytics: true });
  for (let call = 0; call < 5; call += 1) await (await limiter.limit('ada')).pending;
  await (await limiter.limit('bob')).pending;

  const hour_ms = 3_600_000;
  assert.deepEqual(await limiter.analytics.getUsage(Date.now() - 2 * hour_ms), {
    ada: { success: 2, blocked: 3 },
    bob: { success: 1, blocked: 0 },
  });
  const most = await limiter.analytics.getMostAllowedBlocked(2);
  assert.deepEqual(most.ratelimited, [{ identifier: 'ada', count: 3 }]);
  assert.deepEqual(
    most.allowed.toSorted((a, b) => b.count - a.count),
    [
      { identifier: 'ada', count: 2 },
      { identifier: 'bob', count: 1 },
    ],
  );
  const overTime = await limiter.analytics.getUsageOverTime(2, 'identifier');
  const counts = overTime.map(({ identifier }) => identifier ?? {});
  assert.equal(counts.reduce((sum, { ada = 0 }) => sum + ada, 0), 5);
});

test('@upstash/ratelimit: several regions', async () => {
  for (const algorithm of ['fixedWindow', 'slidingWindow']) {
    const limiter = new MultiRegionRatelimit({
      redis: [new Redis(rest), new Redis(rest)],
      limiter: MultiRegionRatelimit[algorithm](3, WINDOW),
      prefix: uniqueName('regions'),
    });
    const answers = [];
    for (let call = 0; call < 4; call += 1) {
      answers.push(await limiter.limit('ada'));
      await answers.at(-1).pending;
    }
    assert.deepEqual(
      answers.map(({ success }) => success),
      [true, true, true, false],
      algorithm,
    );
    assert.equal((await limiter.getRemaining('ada')).remaining, 0);
  }
});
