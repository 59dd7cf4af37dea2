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
