// What BullMQ does when its server fails: each row once with a rule of TORIL FAULT on toril, and
// once with the real cause on redis-7.4. Both must come out as the table says.
//
// The brief form leaves out what takes long to not happen, or to happen at last. TORIL_FAULTS=whole
// waits for that as well; tests/long/faults runs it and keeps what it told. TORIL_FAULTS_ROW runs
// the rows of which it is a part of the name.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { readdirSync, writeFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { FAULT_MS, outcome } from './faults/lab.js';
import { Proxy, Server } from './faults/servers.js';

const require = createRequire(import.meta.url);
const program = process.env.TORIL_SERVER ?? 'redis-server';
const is_whole = process.env.TORIL_FAULTS === 'whole';
const chosen = process.env.TORIL_FAULTS_ROW ?? '';

/** How long is waited for what must not come. */
const NEVER_MS = is_whole ? 12_000 : 3_000;

const MISCONF =
  "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.";

/** Every script of the package: its name, and its text as it is sent. */
const scripts = (() => {
  const folder = join(dirname(require.resolve('bullmq-6')), 'scripts');
  const files = readdirSync(folder).filter((file) => /-\d+\.js$/.test(file));
  return files.map((file) => Object.values(require(join(folder, file)))[0]);
})();

/** Requests for scripts, by name. */
const calls = (...names) => {
  const called = scripts.filter(({ name }) => names.includes(name));
  const shas = called.map(({ content }) => createHash('sha1').update(content).digest('hex'));
  return new RegExp(shas.join('|'));
};

const WRITES = ['addStandardJob', 'moveToFinished'];

/** What comes of a fault that hurts nobody. */
const HARMLESS = { add: 'ok', errors: [], is_storm: false, resumes: true, active: 0, jobs: 4 };

/** By the proxy. */
const wire = (rule) => ({
  needs_proxy: true,
  begin: ({ proxy }) => (proxy.rule = { ...rule }),
  end: ({ proxy }) => (proxy.rule = null),
});

/** How a client notices that its connection was cut; which of these it is, is chance. */
const CUTS = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE'];

/** `rule` on toril, `cause` on Redis, and what is told of both. */
const ROWS = {
  failover: {
    rule: `action=failover down=${FAULT_MS}ms`,
    cause: {
      begin: ({ control }) => control.replicaof('127.0.0.1', 1),
      end: ({ control }) => control.replicaof('NO', 'ONE'),
    },
    stalls: true,
    told: { add: 'READONLY', errors: ['READONLY'], is_storm: true, active: 1, jobs: 3 },
  },
  'read-only replica': {
    rule: 'action=readonly',
    cause: {
      begin: ({ control }) => control.replicaof('127.0.0.1', 1),
      end: ({ control }) => control.replicaof('NO', 'ONE'),
    },
    stalls: true,
    told: { add: 'READONLY', errors: ['READONLY'], is_storm: true, active: 1, jobs: 3 },
  },
  loading: {
    rule: 'action=loading',
    cause: wire({ matches: /./s, error: 'LOADING Redis is loading the dataset in memory' }),
    stalls: true,
    told: { add: 'LOADING', errors: ['LOADING'], is_storm: true, active: 1, jobs: 3 },
  },
  misconf: {
    rule: 'action=misconf',
    cause: wire({ matches: /evalsha|eval\r/i, error: MISCONF }),
    stalls: true,
    told: { add: 'MISCONF', errors: ['MISCONF'], is_storm: true, active: 1, jobs: 3 },
  },
  'out of memory': {
    rule: 'action=oom',
    cause: {
      begin: ({ control }) => control.config('SET', 'maxmemory', '1'),
      end: ({ control }) => control.config('SET', 'maxmemory', '0'),
    },
    told: { add: 'OOM', errors: ['OOM'], jobs: 3 },
  },
  'busy with a script': {
    rule: `action=busy ttl=${FAULT_MS - 100}ms`,
    cause: { begin: keepBusy, end: () => {} },
    told: { add: 'BUSY', errors: ['BUSY'], is_storm: true, active: 1, jobs: 3 },
  },
  'scripts are forgotten': {
    rule: 'action=noscript count=1',
    cause: { begin: ({ control }) => control.script('FLUSH'), end: () => {} },
    told: {},
  },
  'restart without data': {
    cuts: true,
    rule: 'action=restart data=lose down=700ms',
    cause: { begin: ({ server }) => restart(server), end: () => {} },
    told: { errors: ['Missing key for job'], jobs: 2 },
  },
  'restart with data': {
    cuts: true,
    rule: 'action=restart data=keep down=700ms',
    cause: {
      begin: async ({ server, control }) => {
        await control.save();
        await restart(server);
      },
      end: () => {},
    },
    told: {},
  },
  'reset before': {
    rule: `script=${WRITES} count=2 action=reset at=before`,
    cause: wire({ matches: calls(...WRITES), act: 'reset', count: 2 }),
    told: { errors: ['ECONNRESET'] },
  },
  'reset after': {
    rule: `script=${WRITES} count=2 action=reset at=after`,
    cause: wire({ matches: calls(...WRITES), act: 'reset after', count: 2 }),
    // The client sends again what it has no answer to.
    told: { errors: ['ECONNRESET', 'Missing lock for job'], active: 1, jobs: 5 },
  },
  'all clients are killed': {
    cuts: true,
    rule: 'action=restart down=0ms',
    cause: {
      begin: ({ control }) => control.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
      end: () => {},
    },
    told: {},
  },
  'a reply is late': {
    rule: `script=${WRITES} action=delay ms=1200`,
    cause: wire({ matches: calls(...WRITES), delay_ms: 1_200 }),
    told: {},
  },
  'half a reply and the end': {
    rule: `script=${WRITES} count=2 action=half then=close`,
    cause: wire({ matches: calls(...WRITES), act: 'half', count: 2 }),
    told: { errors: ['Missing lock for job'], active: 1, jobs: 5 },
  },
  'half a reply and silence': {
    rule: 'script=addStandardJob count=1 action=half then=hang',
    cause: wire({ matches: calls('addStandardJob'), act: 'half and hang', count: 1 }),
    never: true,
    told: { add: 'pending', resumes: false, jobs: 3 },
  },
  'black hole': {
    rule: 'action=blackhole',
    cause: wire({ matches: /./s, act: 'lose' }),
    never: true,
    told: { add: 'pending', resumes: false, active: 1, jobs: 2 },
  },
  'too many clients': {
    cuts: true,
    rule: 'action=maxclients',
    also: ({ control }) => control.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
    cause: {
      begin: async ({ control }) => {
        await control.config('SET', 'maxclients', '1');
        await control.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      },
      end: ({ control }) => control.config('SET', 'maxclients', '1000'),
    },
    told: { add: 'pending' },
  },
  'nobody is answered for a while': {
    rule: `action=slow ms=${FAULT_MS + 100} count=1`,
    cause: { begin: ({ control }) => control.client('PAUSE', FAULT_MS + 100), end: () => {} },
    told: { add: 'pending' },
  },
};

/** A script that runs for nearly as long as the fault, and has begun to be busy. */
async function keepBusy({ server, control }) {
  const redis = await server.connect();
  const source = `
    local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
    local last = now() + ${FAULT_MS - 100}
    while now() < last do end`;
  redis.eval(source, 0).finally(() => redis.disconnect());
  while (await control.ping().then(() => true, () => false)) await sleep(5);
}

async function restart(server) {
  await server.kill();
  await sleep(700);
  await server.begin();
}

/** A row with its rule. */
async function onToril(row) {
  const server = await Server.start(program);
  const { control, port } = server;
  const begin = async () => {
    await control.call('TORIL', 'FAULT', 'ADD', row.rule);
    await row.also?.(server);
  };
  const end = () => control.call('TORIL', 'FAULT', 'CLEAR');
  const never_ms = row.never && NEVER_MS;
  const stalls = is_whole && row.stalls;
  try {
    return await outcome({ port, control, begin, end, never_ms, stalls });
  } finally {
    await server.stop();
  }
}

/** A row with its cause. */
async function onRedis(row) {
  const server = await Server.start('redis-7.4', ['--busy-reply-threshold', '100']);
  const proxy = row.cause.needs_proxy ? await Proxy.before(server.port) : undefined;
  const world = { server, proxy, control: server.control };
  const never_ms = row.never && NEVER_MS;
  const stalls = is_whole && row.stalls;
  const [begin, end] = [() => row.cause.begin(world), () => row.cause.end(world)];
  const port = proxy?.port ?? server.port;
  try {
    return await outcome({ port, control: server.control, begin, end, never_ms, stalls });
  } finally {
    proxy?.stop();
    await server.stop();
  }
}

/** Whether a program is there, and which it is. */
async function is(server, question) {
  const started = await Server.start(server).catch(() => undefined);
  if (!started) return false;
  const answer = await question(started.control).catch(() => false);
  await started.stop();
  return Boolean(answer);
}

const has_faults = await is(program, (redis) => redis.call('TORIL', 'FAULT', 'LIST'));
const has_redis = await is('redis-7.4', (redis) => redis.ping());

/** What came of each row, for those who want to read it. */
const lines = [];

function keep(name, where, { told, took_ms, errors }) {
  const heard = Object.entries(errors).map(([error, count]) => `${count} ${error}`);
  const next = told.resumes ? `after ${took_ms} ms` : `not in ${took_ms} ms`;
  const left = `${told.active} active, ${told.jobs} jobs`;
  const again = told.runs_twice ? ', later run twice' : '';
  const columns = [name, where, told.add, heard.join(', ') || 'none', next, left + again];
  lines.push(`| ${columns.join(' | ')} |`);
}

after(() => {
  if (!is_whole || chosen) return;
  const head = [
    `BullMQ 6.7 during ${Object.keys(ROWS).length} faults of ${FAULT_MS / 1000} s, by rules of TORIL FAULT and by their real causes on`,
    'Redis 7.4.1, as tests/long/faults last told it. An error counts in the queue and in its worker.',
    '',
    '| fault | where | add during | errors | the next job ran | a moment later |',
    '|---|---|---|---|---|---|',
  ];
  const text = [...head, ...lines.sort(), ''].join('\n');
  writeFileSync(new URL('../long/faults.txt', import.meta.url), text);
});

describe('faults', { concurrency: 6 }, () => {
  for (const [name, row] of Object.entries(ROWS).filter(([name]) => name.includes(chosen))) {
    const expect = { ...HARMLESS, ...row.told };
    if (is_whole && row.stalls) expect.runs_twice = true;
    const check = async (t, run, where) => {
      const result = await run(row);
      keep(name, where, result);
      t.diagnostic(lines.at(-1));
      const { told } = result;
      if (row.cuts) told.errors = told.errors.filter((error) => !CUTS.includes(error));
      assert.deepEqual(told, expect);
    };
    test(`${name}: toril's rule`, async (t) => {
      if (!has_faults) return t.skip('this server has no TORIL');
      await check(t, onToril, 'toril');
    });
    test(`${name}: the real cause`, async (t) => {
      if (!has_redis) return t.skip('redis-7.4 is missing: see tests/oracles.sh');
      await check(t, onRedis, 'Redis');
    });
  }
});

test('each script of BullMQ is known by its name', async (t) => {
  if (!has_faults) return t.skip('this server has no TORIL');
  const server = await Server.start(program);
  t.after(() => server.stop());
  const redis = new Redis({ port: server.port });
  t.after(() => redis.disconnect());
  // These begin as another does.
  const alike = { getStateV2: 'getState', removeUnprocessedChildren: 'removeJob' };
  for (const { name, content, keys } of scripts) {
    const rule = `script=${alike[name] ?? name} action=error text=ERR it is ${name}`;
    await server.control.call('TORIL', 'FAULT', 'ADD', rule);
    const names = Array.from({ length: keys }, (_, at) => `key:${at}`);
    await assert.rejects(redis.eval(content, keys, ...names), { message: `ERR it is ${name}` });
    await server.control.call('TORIL', 'FAULT', 'CLEAR');
  }
  assert.ok(scripts.length > 30);
});
