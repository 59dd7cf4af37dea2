// redlock 5 and 4: locks of one server, and of three of which a majority decides. TORIL_SERVER names
// the program of the further two.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Redis } from 'ioredis';
import { RedisMemoryServer } from 'redis-memory-server';
import Redlock, { ExecutionError, ResourceLockedError } from 'redlock';
import Redlock4 from 'redlock-4';
import { address, sleep, uniqueName, until } from './support.js';

const program = process.env.TORIL_SERVER ?? 'redis-server';

function openClient(t, where = address) {
  const client = new Redis({ ...where, enableOfflineQueue: true, maxRetriesPerRequest: 0 });
  client.on('error', () => {}); // Some tests end servers.
  t.after(() => client.disconnect());
  return client;
}

/** Each lock of redlock has clients of its own, as programs would. */
function openRedlock(t, settings = {}, places = [address]) {
  return new Redlock(
    places.map((place) => openClient(t, place)),
    { retryCount: 0, ...settings },
  );
}

/** Why each server voted against. */
async function reasons(error) {
  assert(error instanceof ExecutionError, String(error));
  const { votesAgainst } = await error.attempts.at(-1);
  return [...votesAgainst.values()];
}

describe('redlock', { concurrency: true }, () => {
  test('a lock is one program’s until it is released', async (t) => {
    const [ada, bob] = [openRedlock(t), openRedlock(t)];
    const resources = [uniqueName('lock'), uniqueName('lock')];

    const lock = await ada.acquire(resources, 10_000);
    const [reason] = await bob.acquire([resources[1]], 10_000).catch(reasons);
    assert(reason instanceof ResourceLockedError);
    await lock.release();
    const taken = await bob.acquire(resources, 10_000);
    const [lost] = await ada.release(lock).catch(reasons);
    assert(lost instanceof ResourceLockedError);
    await taken.release();
  });

  test('a lock ends with its time, and not before it if it is extended', async (t) => {
    const [ada, bob] = [openRedlock(t), openRedlock(t, { retryCount: -1, retryDelay: 10 })];
    const resource = uniqueName('lock');

    const started = Date.now();
    const lock = await ada.acquire([resource], 1_000);
    const extended = await lock.extend(1_500);
    const next = await bob.acquire([resource], 10_000);
    const waited_ms = Date.now() - started;

    assert(waited_ms >= 1_500, `it was taken after ${waited_ms} ms`);
    await assert.rejects(extended.extend(1_000), /already-expired/);
    await next.release();
  });

  test('contenders take turns, and a long turn extends itself', async (t) => {
    const resource = uniqueName('lock');
    const inside = new Set();
    const turns = [];
    async function work(name, signal) {
      assert.equal(inside.size, 0, `${name} is not alone`);
      inside.add(name);
      await sleep(1_200);
      assert.equal(signal.aborted, false);
      inside.delete(name);
      turns.push(name);
    }
    async function take(name) {
      const redlock = openRedlock(t, { automaticExtensionThreshold: 500 });
      // Not by redlock's own retries: it counts a lock's time from when it first asked for it.
      while (!turns.includes(name)) {
        await redlock.using([resource], 1_000, (signal) => work(name, signal)).catch(reasons);
        await sleep(10);
      }
    }

    const names = ['ada', 'bob'];
    await Promise.all(names.map(take));

    assert.deepEqual(turns.toSorted(), names);
  });

  test('a majority of three servers decides', async (t) => {
    const options = { binary: { systemBinary: program } };
    const others = await Promise.all([1, 2].map(() => RedisMemoryServer.create(options)));
    t.after(() => Promise.all(others.map((other) => other.stop())));
    const ports = await Promise.all(others.map((other) => other.getPort()));
    const places = [address, ...ports.map((port) => ({ host: '127.0.0.1', port }))];
    const [ada, bob] = [openRedlock(t, {}, places), openRedlock(t, {}, places)];
    const resource = uniqueName('lock');

    const lock = await ada.acquire([resource], 10_000);
    assert.equal((await bob.acquire([resource], 10_000).catch(reasons)).length, 3);
    await lock.release();

    await others[0].stop();
    const held = await ada.acquire([resource], 10_000);
    const against = await bob.acquire([resource], 10_000).catch(reasons);
    assert.equal(against.filter((reason) => reason instanceof ResourceLockedError).length, 2);
    await held.release();

    await others[1].stop();
    assert((await ada.acquire([resource], 10_000).catch(reasons)).length >= 2);
  });

  test('version 4 locks, extends and unlocks', async (t) => {
    const redis = openClient(t);
    const [ada, bob] = [1, 2].map(() => new Redlock4([openClient(t)], { retryCount: 0 }));
    const resource = uniqueName('lock');

    const lock = await ada.lock(resource, 10_000);
    await assert.rejects(bob.lock(resource, 10_000), { name: 'LockError' });
    await lock.extend(60_000);
    assert((await redis.pttl(resource)) > 10_000);
    await lock.unlock();
    await (await bob.lock(resource, 100)).extend(50);
    await until(async () => (await redis.exists(resource)) === 0);
  });
});
