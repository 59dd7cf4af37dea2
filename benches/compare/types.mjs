// The types beyond jobs: bytes that their values take, and what their commands cost in pipelines.

import { createRequire } from 'node:module';
import { cpuUs, HOST, run } from './servers.mjs';

const require = createRequire(new URL('../../tests/clients/package.json', import.meta.url));
const { Redis } = require('ioredis');

const CONNECTIONS = 50;
const PIPELINE = 16;
const BATCH = 500;

const LIBRARY = `#!lua name=bench
redis.register_function('count', function(keys) return redis.call('INCR', keys[1]) end)`;

/** What a value takes, by INFO's `used_memory`: [name, items, what makes it]. */
const VALUES = [
  ['pendingBytes', 10_000, async (redis, count) => {
    for (let owner = 0; owner < 10; owner++) {
      await redis.xreadgroup(
        'GROUP', 'group', `owner${owner}`, 'COUNT', count / 10, 'STREAMS', 'stream', '>',
      );
    }
  }],
  ['ttlFieldBytes', 50_000, async (redis, count) => {
    const fields = numbered(1_000, (at) => `field:${at}`);
    for (const hash of numbered(count / fields.length, (at) => `ttls:${at}`)) {
      await redis.hset(hash, ...fields.flatMap((field) => [field, 'value']));
      await redis.call('HEXPIRE', hash, 100_000, 'FIELDS', fields.length, ...fields);
    }
  }],
  ['bitmapBytes', 20, async (redis, count) => {
    for (let at = 0; at < count; at++) await redis.setbit(`bits:${at}`, 999_999, 1);
  }],
  ['sketchBytes', 100, async (redis, count) => {
    const elements = numbered(400, (at) => `element:${at}`);
    for (let at = 0; at < count; at++) await redis.pfadd(`sketch:${at}`, ...elements);
  }],
  ['placeBytes', 10_000, (redis, count) =>
    inBatches(count, (batch) => redis.geoadd('places', ...batch.flatMap(place)))],
];

/** [name, requests, words]; `__rand_int__` is below the third. */
const COMMANDS = [
  ['pfadd', 300_000, 100_000, 'PFADD dense __rand_int__'],
  ['pfaddSparse', 300_000, 300, 'PFADD sparse:__rand_int__ __rand_int__'],
  ['bitcount', 30_000, 1, 'BITCOUNT bits:0'],
  ['geosearch', 60_000, 1, 'GEOSEARCH places FROMLONLAT 15 38 BYRADIUS 50 km'],
  ['xreadgroup', 100_000, 1, 'XREADGROUP GROUP readers one COUNT 1 STREAMS stream >'],
  ['fcall', 200_000, 1, 'FCALL count 1 counter'],
];

/** The share of `requests` that each is given; what a server does not know is left out. */
export async function measureTypes({ port, pid }, program, { share }) {
  const redis = new Redis({ host: HOST, port });
  const figures = {};
  try {
    await inBatches(100_000 * share, (batch) => {
      const pipeline = redis.pipeline();
      batch.forEach((at) => pipeline.xadd('stream', '*', 'number', at));
      return pipeline.exec();
    });
    await redis.xgroup('CREATE', 'stream', 'group', 0);
    await redis.xgroup('CREATE', 'stream', 'readers', 0);
    for (const [name, count, make] of VALUES) {
      const before = await usedMemory(redis);
      try {
        await make(redis, count);
        figures[name] = ((await usedMemory(redis)) - before) / count;
      } catch (error) {
        if (!/unknown command/.test(error.message)) throw error;
      }
    }
    await redis.function('LOAD', LIBRARY);
    await inBatches(20_000, (batch) => redis.pfadd('dense', ...batch));
    for (const [name, requests, range, words] of COMMANDS) {
      const count = Math.round(requests * share);
      const options = {
        '-h': HOST, '-p': port, '-n': count, '-c': CONNECTIONS, '-P': PIPELINE, '-r': range,
      };
      const before = cpuUs(pid);
      await run(program, [...Object.entries(options).flat(), '--csv', ...words.split(' ')]);
      figures[name] = (cpuUs(pid) - before) / count;
    }
  } finally {
    redis.disconnect();
  }
  return figures;
}

async function usedMemory(redis) {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))[1]);
}

async function inBatches(count, send) {
  for (let from = 0; from < count; from += BATCH) {
    await send(numbered(Math.min(BATCH, count - from), (at) => from + at));
  }
}

function numbered(count, name) {
  return Array.from({ length: count }, (_, at) => name(at));
}

/** Places all over Sicily and the sea around, always the same. */
function place(at) {
  return [12 + ((at * 7919) % 10_007) / 2_500, 36 + ((at * 104_729) % 10_009) / 2_500, `place:${at}`];
}
