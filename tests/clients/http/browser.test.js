// What a browser asks before a page from elsewhere may call, and what no page can do.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ratelimit } from '@upstash/ratelimit';
import { Redis } from '@upstash/redis';
import { uniqueName, until } from '../support.js';
import { listen, rest, send } from './rest.js';

/** The headers with which the libraries call: what a browser asks about before it lets them. */
async function headersOfTheLibraries(t) {
  const names = new Set();
  const fetchForReal = globalThis.fetch;
  const mock = t.mock.method(globalThis, 'fetch', (url, options) => {
    for (const name of Object.keys(options.headers)) names.add(name.toLowerCase());
    return fetchForReal(url, options);
  });
  const redis = new Redis(rest);
  const limiter = Ratelimit.fixedWindow(9, '1 d');
  await new Ratelimit({ redis, limiter, prefix: uniqueName('cors') }).limit('ada');
  await redis.multi().ping().exec();
  const subscriber = redis.subscribe(uniqueName('cors'));
  await until(() => names.has('accept'));
  await subscriber.unsubscribe();
  mock.mock.restore();
  // Sent when a request is tried again.
  names.add('upstash-telemetry-retry');
  // A browser sets this one itself, and asks nobody.
  names.delete('connection');
  return [...names].sort();
}

test('browser: a page from elsewhere asks first, and may call with a token', async (t) => {
  const names = await headersOfTheLibraries(t);
  for (const expected of ['authorization', 'content-type', 'upstash-encoding', 'cache-control']) {
    assert.ok(names.includes(expected), `${expected} is among ${names}`);
  }
  const origin = 'https://app.example';

  for (const path of ['/', '/pipeline', '/multi-exec', '/subscribe/chat', '/get/key']) {
    const preflight = await send(path, {
      method: 'OPTIONS',
      token: null,
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': names.join(','),
      },
    });
    assert.ok([200, 204].includes(preflight.status), path);
    const allowed = (header) =>
      preflight.headers.get(`access-control-allow-${header}`).toLowerCase().split(/ *, */);
    assert.ok(['*', origin].includes(allowed('origin')[0]));
    // `*` does not cover authorization.
    for (const name of names) {
      assert.ok(allowed('headers').includes(name), `${path} allows ${name}`);
    }
    for (const method of ['get', 'post', 'put', 'head']) {
      assert.ok(allowed('methods').includes(method), `${path} allows ${method}`);
    }
    assert.equal(preflight.headers.get('access-control-allow-credentials'), null, 'no cookies');
  }

  const readable = (response) => {
    assert.ok(['*', origin].includes(response.headers.get('access-control-allow-origin')));
    assert.match(response.headers.get('access-control-expose-headers'), /upstash-sync-token/i);
  };
  readable(await send('/', { headers: { origin }, body: ['PING'] }));
  readable(await send('/', { headers: { origin }, body: ['PING', 'a', 'b'] }));
  readable((await listen(t, `/subscribe/${uniqueName('cors')}`, { origin })).response);
  const refused = await send('/', { headers: { origin }, token: null, body: ['PING'] });
  assert.equal(refused.status, 401);
  readable(refused);
});

test('browser: nothing runs without a token', async () => {
  const key = uniqueName('forged');
  for (const [path, options] of [
    [`/set/${key}/1`, { method: 'GET' }],
    [`/set/${key}/1`, { method: 'OPTIONS' }],
    ['/', { body: ['SET', key, 1] }],
    ['/pipeline', { body: [['SET', key, 1]] }],
    ['/multi-exec', { body: [['SET', key, 1]] }],
    [`/subscribe/${key}`, {}],
    ['/monitor', {}],
  ]) {
    const headers = { origin: 'https://elsewhere.example', cookie: `token=${rest.token}` };
    const { status } = await send(path, { ...options, headers, token: null });
    assert.ok(status === 401 || options.method === 'OPTIONS', `${path}: ${status}`);
  }
  assert.deepEqual((await send('/', { body: ['EXISTS', key] })).json, { result: 0 });
});
