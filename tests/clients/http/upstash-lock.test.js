// @upstash/lock: SET NX PX, and scripts that let go and extend.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lock } from '@upstash/lock';
import { Redis } from '@upstash/redis';
import { sleep, uniqueName } from '../support.js';
import { rest } from './rest.js';

const redis = new Redis(rest);

function lock(id, options = {}) {
  return new Lock({ id, redis, lease: 10_000, retry: { attempts: 1, delay: 0 }, ...options });
}

test('@upstash/lock: one holds it until it lets go', async () => {
  const id = uniqueName('lock');
  const [mine, other] = [lock(id), lock(id)];

  assert.equal(await mine.acquire(), true);
  assert.equal(await mine.getStatus(), 'ACQUIRED');
  assert.equal(await other.acquire(), false);
  assert.equal(await other.getStatus(), 'FREE');
  assert.equal(await other.release(), false, 'it was not the holder');
  assert.equal(await mine.release(), true);
  assert.equal(await mine.release(), false);
  assert.equal(await other.acquire(), true);
});

test('@upstash/lock: of many who try at once, one gets it', async () => {
  const id = uniqueName('lock');
  const locks = Array.from({ length: 50 }, () => lock(id));

  const answers = await Promise.all(locks.map((each) => each.acquire()));

  assert.equal(answers.filter(Boolean).length, 1);
});

test('@upstash/lock: those who try again get it in turn', async () => {
  const id = uniqueName('lock');
  let [holders, holdersMax, turns] = [0, 0, 0];

  const work = async () => {
    const mine = lock(id, { retry: { attempts: 2000, delay: 5 } });
    assert.equal(await mine.acquire(), true);
    holders += 1;
    holdersMax = Math.max(holdersMax, holders);
    await sleep(2);
    holders -= 1;
    turns += 1;
    assert.equal(await mine.release(), true);
  };
  await Promise.all(Array.from({ length: 10 }, work));

  assert.deepEqual([turns, holdersMax], [10, 1]);
});

test('@upstash/lock: it is free when its lease is over', async () => {
  const id = uniqueName('lock');
  const mine = lock(id, { lease: 50 });
  const other = lock(id, { retry: { attempts: 2000, delay: 5 } });

  assert.equal(await mine.acquire(), true);
  assert.equal(await other.acquire(), true);
  assert.equal(await mine.getStatus(), 'FREE');
  assert.equal(await mine.release(), false);
  assert.equal(await other.getStatus(), 'ACQUIRED');
});

test('@upstash/lock: whoever holds it extends it, by whole seconds', async () => {
  const id = uniqueName('lock');
  const [mine, other] = [lock(id), lock(id)];
  await mine.acquire();

  assert.equal(await mine.extend(100_000), true);
  const left_s = await redis.ttl(id);
  assert.ok(left_s > 100 && left_s <= 110, `${left_s} s are left`);
  assert.equal(await other.extend(100_000), false);
  assert.equal(await mine.release(), true);
  assert.equal(await mine.extend(1000), false);
});

test('@upstash/lock: a fraction of a second is refused, as by Redis', async () => {
  const id = uniqueName('lock');
  const mine = lock(id);
  await mine.acquire();

  await assert.rejects(mine.extend(500), /ERR value is not an integer or out of range/);
  assert.equal(await mine.getStatus(), 'ACQUIRED', 'and nothing has changed');
});
