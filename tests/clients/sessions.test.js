// express-session on connect-redis: what the browser has is a cookie, what Redis has is a session
// with a time to live.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { createClient } from 'redis';
import { uniqueName, until, url } from './support.js';

/** An application of two server processes, and a browser that visits either. */
async function openSite(t, { store: storeOptions = {}, ...options } = {}) {
  const prefix = `${uniqueName('session')}:`;
  const ports = [];
  let store;
  const client = await createClient({ url }).connect();
  t.after(() => client.destroy());
  for (let count = 0; count < 2; count += 1) {
    store = new RedisStore({ client, prefix, ...storeOptions });
    const app = express();
    app.use(
      session({ store, secret: 'secret', resave: false, saveUninitialized: false, ...options }),
    );
    app.post('/login/:user', (request, response, next) => {
      // A session that existed before the login would be known to whoever planted it.
      request.session.regenerate((error) => {
        if (error) return next(error);
        request.session.user = request.params.user;
        response.json({});
      });
    });
    app.post('/count', (request, response) => {
      request.session.count = (request.session.count ?? 0) + 1;
      response.json({});
    });
    app.get('/', (request, response) => {
      const { user, count } = request.session;
      response.json({ user, count });
    });
    app.post('/logout', (request, response, next) => {
      request.session.destroy((error) => (error ? next(error) : response.json({})));
    });
    const listening = app.listen(0, '127.0.0.1');
    await once(listening, 'listening');
    t.after(() => listening.close());
    ports.push(listening.address().port);
  }

  let visits = 0;
  function openBrowser() {
    const browser = { cookie: '' };
    browser.visit = async (method, path) => {
      visits += 1;
      const site = `http://127.0.0.1:${ports[visits % 2]}`;
      const response = await fetch(site + path, { method, headers: { cookie: browser.cookie } });
      const cookie = response.headers.get('set-cookie');
      if (cookie) browser.cookie = cookie.split(';')[0];
      assert.equal(response.status, 200);
      return response.json();
    };
    /** The key of its session, by what the cookie says. */
    browser.key = () => prefix + /s%3A(.+?)\./.exec(browser.cookie)[1];
    return browser;
  }
  return { client, store, openBrowser };
}

test('connect-redis: a person logs in, is known to all servers, and logs out', async (t) => {
  const { client, openBrowser } = await openSite(t);
  const [ada, bob] = [openBrowser(), openBrowser()];

  await ada.visit('POST', '/count');
  const before = ada.key();
  await ada.visit('POST', '/login/ada');
  assert.notEqual(ada.key(), before);
  assert.equal(await client.exists(before), 0);
  await ada.visit('POST', '/count');
  await ada.visit('POST', '/count');
  await bob.visit('POST', '/login/bob');

  assert.deepEqual(await ada.visit('GET', '/'), { user: 'ada', count: 2 });
  assert.deepEqual(await bob.visit('GET', '/'), { user: 'bob' });
  assert.equal(JSON.parse(await client.get(ada.key())).user, 'ada');
  const ttl = await client.ttl(ada.key());
  assert(ttl > 86_390 && ttl <= 86_400, `${ttl} s are left`);

  await ada.visit('POST', '/logout');
  assert.equal(await client.exists(ada.key()), 0);
  assert.deepEqual(await ada.visit('GET', '/'), {});
});

test('connect-redis: visits keep a session alive, and without any it ends', async (t) => {
  const { client, openBrowser } = await openSite(t, { cookie: { maxAge: 10_000 }, rolling: true });
  const ada = openBrowser();
  await ada.visit('POST', '/login/ada');

  await client.expire(ada.key(), 5);
  assert.deepEqual(await ada.visit('GET', '/'), { user: 'ada' });
  assert((await client.pTTL(ada.key())) > 5_000, 'the visit has not touched it');
  const value = await client.get(ada.key());
  await ada.visit('GET', '/');
  assert.equal(await client.get(ada.key()), value);

  await client.pExpire(ada.key(), 20);
  await until(async () => (await client.exists(ada.key())) === 0);
  assert.deepEqual(await ada.visit('GET', '/'), {});
});

test('connect-redis: the store lists and clears its own sessions', async (t) => {
  const { client, store, openBrowser } = await openSite(t, { store: { scanCount: 10 } });
  const neighbour = uniqueName('neighbour');
  await client.set(neighbour, 'kept');
  const users = Array.from({ length: 30 }, (_, index) => `user${index}`);
  await Promise.all(users.map((user) => openBrowser().visit('POST', `/login/${user}`)));

  assert.equal(await store.length(), users.length);
  const found = (await store.all()).map(({ user }) => user);
  assert.deepEqual(found.toSorted(), users.toSorted());
  const [id] = await store.ids();
  assert(users.includes((await store.get(id)).user));
  await store.clear();

  assert.equal(await store.length(), 0);
  assert.equal(await client.get(neighbour), 'kept');
});
