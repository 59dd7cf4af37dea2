// What tests of the page's actions have in common: on twin queues a library does one and toril's script the
// other, and then the keys of both are compared.

import assert from 'node:assert/strict';
import { send } from './rest.js';

/** Asks for an action on a queue, by its id on the page: what is answered. */
export function ask(queue, action, body = {}, options = {}) {
  return send(`/_toril/queues/${queue}/${action}`, { body, ...options });
}

/** Does it by toril's script: what it answers. */
export async function act(queue, action, body) {
  const { status, json } = await ask(queue, action, body);
  assert.equal(status, 200, JSON.stringify(json));
  return json;
}

/** Options are an object, whose order means nothing. */
const inOrder = ([field, text]) => [field, field === 'opts' ? JSON.stringify(Object.entries(JSON.parse(text)).sort()) : text];

const READERS = {
  hash: async (redis, key) => Object.entries(await redis.hgetall(key)).map(inOrder).sort(),
  list: (redis, key) => redis.lrange(key, 0, -1),
  set: async (redis, key) => (await redis.smembers(key)).sort(),
  zset: (redis, key) => redis.zrange(key, 0, -1, 'WITHSCORES'),
  string: (redis, key) => redis.get(key),
  stream: async (redis, key) => (await redis.xrange(key, '-', '+')).map(([, fields]) => fields),
};

/** What a key holds, in an order of its own where it has none. */
export async function valueOf(redis, key) {
  return READERS[await redis.type(key)](redis, key);
}

/** All that is stored, as it is stored. */
export async function everything(redis) {
  const keys = (await redis.keys('*')).sort();
  return Promise.all(keys.map(async (key) => [key, (await redis.dumpBuffer(key)).toString('base64')]));
}

/** Makes a key one of another type while this runs, which is to change nothing. */
async function withOdd(redis, type, key, run) {
  const kept = await redis.dumpBuffer(key);
  await redis.del(key);
  await (type === 'set' ? redis.set(key, 'odd') : redis.sadd(key, 'odd'));
  const before = await everything(redis);
  await run(async (told) => assert.deepEqual(await everything(redis), before, told));
  await redis.del(key);
  if (kept) await redis.restore(key, 0, kept);
}

/** Makes one key after another one of another type, and asks for everything: all is refused, says which key it
 * is, and changes nothing. Where a queue is not known any more by that key, that is what is said.
 * @param {any} redis @param {string} queue its id @param {Record<string, string[]>} keys by what they are to be
 * @param {[string, any?][]} orders */
export async function refuseOdd(redis, queue, keys, orders) {
  for (const [type, key] of Object.entries(keys).flatMap(([type, all]) => all.map((key) => [type, key]))) {
    await withOdd(redis, type, key, async (isUnchanged) => {
      for (const [action, body] of orders) {
        const { status, json } = await ask(queue, action, body);
        const told = `${action} with an odd ${key}: ${JSON.stringify(json)}`;
        if (status !== 404) {
          assert.equal(status, 400, told);
          assert.ok(json.error.includes(`the key ${key} is of type ${await redis.type(key)}, and is to be of type ${type}`), told);
        }
        await isUnchanged(told);
      }
    });
  }
}

/** The same of a key of one job, which is a note then. */
export async function leaveOdd(redis, queue, [type, key], orders) {
  await withOdd(redis, type, key, async (isUnchanged) => {
    for (const [action, body] of orders) {
      const { done, refused } = await act(queue, action, body);
      const told = `${action} with an odd ${key}: ${JSON.stringify(refused)}`;
      assert.equal(done, 0, told);
      assert.ok(refused[0]?.includes(`is left as it is: the key ${key} is of type`), told);
      await isUnchanged(told);
    }
  });
}
