// TORIL STRICT and the setting `provider` beside real libraries: what of them would fail on a
// cluster, and how they do where a provider lacks commands. Each test has a server of its own.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import Bee from 'bee-queue';
import Bull from 'bull';
import { Redis } from 'ioredis';
import { startServer } from './own-server.js';
import { until } from './support.js';

const require = createRequire(import.meta.url);
const { FlowProducer, Queue, Worker } = require('bullmq-6');

/** RESP2 has no maps: pairs become an object. */
const object = (pairs) =>
  Object.fromEntries(pairs.flatMap((it, at) => (at % 2 ? [] : [[it, pairs[at + 1]]])));

/** What a test has opened on a server is closed before that ends. */
class Lab {
  errors = [];
  #closers = [];

  constructor(server) {
    const { host, port } = server;
    this.server = server;
    this.connection = { host, port, maxRetriesPerRequest: null };
    this.redis = new Redis({ ...this.connection, connectionName: 'toril' });
    this.closed(() => this.redis.disconnect());
  }

  closed(closer) {
    this.#closers.push(closer);
  }

  /** Of BullMQ. */
  opened(thing) {
    thing.on('error', (error) => this.errors.push(error.message));
    this.closed(() => thing.close(true));
    return thing;
  }

  async close() {
    for (const closer of this.#closers.reverse()) await closer();
  }

  /** What was seen, and what was found: all, the sum of a check, and of scripts alone. */
  async report() {
    const report = object(await this.redis.call('TORIL', 'STRICT', 'REPORT'));
    const found = report.found.map(object);
    const sum = (findings) => findings.reduce((sum, it) => sum + it.count, 0);
    const count = (check) => sum(found.filter((it) => it.check === check));
    const isScript = (it) => it.check === 'crossslot' && it.script !== it.script.toUpperCase();
    return { seen: object(report.seen), found, count, scripts: sum(found.filter(isScript)) };
  }
}

function on(name, options, body) {
  test(name, { timeout: 60_000 }, async (t) => {
    const server = await startServer(t, ...options);
    if (!server) return t.skip('this server has no TORIL');
    const lab = new Lab(server);
    try {
      await body(lab, t);
    } finally {
      await lab.close();
    }
  });
}

/** A bit of everything: jobs that end well and badly, delayed and scheduled ones, and a flow. */
async function workOnBullmq(lab, prefix) {
  const { connection } = lab;
  const queue = lab.opened(new Queue('q', { connection, prefix }));
  const flows = lab.opened(new FlowProducer({ connection, prefix }));
  const done = [];
  const process = async (job) => {
    if (job.name === 'bad') throw new Error('as it should');
  };
  const worker = lab.opened(new Worker('q', process, { connection, prefix }));
  worker.on('completed', (job) => done.push(job.name));
  worker.on('failed', (job) => done.push(job.name));
  await queue.add('good', {});
  await queue.add('bad', {}, { attempts: 2, backoff: 10 });
  await queue.add('later', {}, { delay: 50 });
  await queue.upsertJobScheduler('often', { every: 100 });
  const child = { name: 'child', queueName: 'q' };
  await flows.add({ name: 'parent', queueName: 'q', children: [child] });
  const isDone = (name) => done.filter((it) => it === name).length;
  await until(() => isDone('bad') === 2 && ['later', 'parent', 'often'].every(isDone));
  await queue.removeJobScheduler('often');
  assert.deepEqual(lab.errors, []);
}

const CHECKS = ['--strict', 'crossslot,foreign,undeclared,policy'];

on('BullMQ passes keys of several slots to each of its scripts', CHECKS, async (lab, t) => {
  await workOnBullmq(lab, 'bull');
  const { seen, found, count, scripts } = await lab.report();
  const share = count('undeclared') / seen.touches;
  t.diagnostic(`${scripts} of ${seen.scripts} scripts across slots; of ${seen.touches} ` +
    `keys that they touched ${count('undeclared')} (${Math.round(share * 100)} %) undeclared`);
  assert(seen.scripts >= 12);
  assert.equal(scripts, seen.scripts);
  assert(share > 0.1 && share < 0.5);
  assert.equal(count('policy'), 0);
  const names = found.map((it) => it.script);
  for (const script of ['addStandardJob', 'addDelayedJob', 'moveToActive', 'moveToFinished']) {
    assert(names.includes(script), `${script} is not among ${names}`);
  }
  assert(names.every((name) => /^(EXEC|[a-z][A-Za-z]+)$/.test(name)), `${names}`);
});

on('BullMQ with a prefix in braces stays in one slot', CHECKS, async (lab, t) => {
  await workOnBullmq(lab, '{bull}');
  const { seen, count } = await lab.report();
  t.diagnostic(`${count('undeclared')} of ${seen.touches} touched keys are undeclared`);
  assert(seen.scripts >= 12 && count('undeclared') > 0);
  assert.deepEqual([count('crossslot'), count('foreign')], [0, 0]);
});

// As bullmq#2660 and #2589: a script reaches keys of a parent that it was not given.
on('foreign finds what reaches out of its slot', CHECKS, async (lab) => {
  const { connection } = lab;
  const flows = lab.opened(new FlowProducer({ connection }));
  lab.opened(new Worker('p', async () => {}, { connection, prefix: '{parents}' }));
  lab.opened(new Worker('c', async () => {}, { connection, prefix: '{children}' }));
  const parents = lab.opened(new Queue('p', { connection, prefix: '{parents}' }));
  const child = { name: 'c', queueName: 'c', prefix: '{children}' };
  await flows.add({ name: 'p', queueName: 'p', prefix: '{parents}', children: [child] });
  await until(async () => (await parents.getCompletedCount()) === 1);
  const { found } = await lab.report();
  const foreign = found.find((it) => it.check === 'foreign' && it.script === 'moveToFinished');
  assert(foreign.key.startsWith('{parents}:p:') && foreign.other_key.startsWith('{children}:c:'));
  assert.notEqual(foreign.slot, foreign.other_slot);
  const line = lab.server.lines.filter((it) => it.includes('strict foreign: moveToFinished'));
  assert.equal(line.length, 1, 'it is told in the log, once');
});

on('Bull 4 and bee-queue pass keys of several slots', CHECKS, async (lab, t) => {
  const { host, port } = lab.server;
  const bull = new Bull('b', { redis: { host, port } });
  lab.closed(() => bull.close());
  let done = 0;
  bull.process(async () => (done += 1));
  await bull.add({});
  await bull.add({}, { delay: 30 });
  await until(() => done === 2);
  const ofBull = await lab.report();
  const share = `${ofBull.count('undeclared')} of ${ofBull.seen.touches}`;
  t.diagnostic(`Bull: ${ofBull.scripts} of ${ofBull.seen.scripts}, undeclared ${share}`);
  assert(ofBull.seen.scripts > 3 && ofBull.count('undeclared') > 0);
  assert.equal(ofBull.scripts, ofBull.seen.scripts);
  await lab.redis.call('TORIL', 'STRICT', 'REPORT', 'RESET');

  const bee = new Bee('z', { redis: { host, port }, activateDelayedJobs: true });
  lab.closed(() => bee.close(100).catch(() => {}));
  bee.process(async () => (done += 1));
  await bee.createJob({}).save();
  await bee.createJob({}).delayUntil(Date.now() + 50).save();
  await until(() => done === 4);
  const ofBee = await lab.report();
  const beeScripts = ofBee.found.filter((it) => it.other_key?.startsWith('bq:'));
  t.diagnostic(`bee-queue: ${JSON.stringify(beeScripts.map((it) => [it.check, it.count]))}`);
  assert(beeScripts.some((it) => it.check === 'crossslot'));
  assert(!beeScripts.some((it) => it.check === 'undeclared'));
});

on('crossslot=error refuses as a cluster does', ['--strict', 'crossslot=error'], async (lab) => {
  const queue = lab.opened(new Queue('q', { connection: lab.connection }));
  await assert.rejects(queue.add('a', {}), /CROSSSLOT Keys in request don't hash to the same slot/);
  const other = lab.opened(new Queue('q', { connection: lab.connection, prefix: '{bull}' }));
  await other.add('a', {});
});

// Their comments tell (queues/scripts.rs). What is refused does not run.
const REFUSES = ['--strict', 'policy=error', '--maxmemory-policy', 'allkeys-lru'];
const ALIKE = { getStateV2: 'getState', removeUnprocessedChildren: 'removeJob' };
const PACKAGES = [3, 4, 5, 6].map((version) => `bullmq-${version}/dist/cjs/scripts`);

on('scripts go by the names that their libraries give them', REFUSES, async (lab, t) => {
  for (const folder of [...PACKAGES, 'bull/lib/scripts']) {
    const path = new URL(`node_modules/${folder}/`, import.meta.url);
    const files = readdirSync(path).filter((it) => /^\w+-\d+\.js$/.test(it));
    assert(files.length > 20, `${folder} has ${files.length} scripts`);
    t.diagnostic(`${folder}: ${files.length} scripts`);
    const redis = new Redis({ ...lab.connection, connectionName: folder });
    lab.closed(() => redis.disconnect());
    const expected = [];
    for (const file of files) {
      const [name, count] = file.replace('.js', '').split('-');
      const script = require(fileURLToPath(new URL(file, path)));
      const { content } = script[name] ?? script;
      // BullMQ 4's is taken for Bull's, which it took the place of.
      const isOldest = folder.startsWith('bullmq-4') && name === 'addStandardJob';
      expected.push(isOldest ? 'addJob' : (ALIKE[name] ?? name));
      const sha = await redis.script('LOAD', content);
      const keys = Array.from({ length: count }, (_, index) => `key-${index}`);
      await assert.rejects(redis.evalsha(sha, count, ...keys), /maxmemory-policy/, file);
    }
    const { found } = await lab.report();
    const names = found.filter((it) => it.client === folder).map((it) => it.script);
    assert.deepEqual(names.toSorted(), [...new Set(expected)].toSorted());
  }
});

const EVICTS = ['--strict', 'yes', '--maxmemory-policy', 'allkeys-lru'];

on('policy warns of a queue that may lose jobs', EVICTS, async (lab, t) => {
  const warned = t.mock.method(console, 'warn', () => {});
  await workOnBullmq(lab, '{bull}');
  assert(warned.mock.callCount() > 0, 'BullMQ says so as well');
  const { found } = await lab.report();
  const policy = found.filter((it) => it.check === 'policy');
  assert.equal(policy.length, 1);
  assert.equal(policy[0].count, 1);
});

on('prefixless finds two libraries', ['--strict', 'prefixless'], async (lab) => {
  await workOnBullmq(lab, 'bull');
  assert.equal((await lab.report()).count('prefixless'), 0);
  const { host, port } = lab.server;
  const bull = new Bull('b', { redis: { host, port } });
  lab.closed(() => bull.close());
  await bull.add({});
  await until(async () => (await lab.report()).count('prefixless') === 1);
});

on('BullMQ on ElastiCache reads INFO', ['--provider', 'elasticache'], async (lab, t) => {
  const warned = t.mock.method(console, 'warn', () => {});
  const other = new Redis(lab.connection);
  lab.closed(() => other.disconnect());
  await assert.rejects(other.config('GET', '*'), /unknown command/);
  await workOnBullmq(lab, 'bull');
  const told = warned.mock.calls.map((call) => call.arguments.join(' ')).join('\n');
  assert.match(told, /volatile-lru/);
});

for (const provider of ['upstash', 'memorystore', 'redis-6.2', 'valkey-8', 'oci']) {
  on(`BullMQ works on ${provider}`, ['--provider', provider], async (lab) => {
    await workOnBullmq(lab, 'bull');
  });
}

for (const provider of ['elasticache-serverless', 'memorydb', 'azure', 'dragonfly']) {
  const name = `BullMQ works on ${provider} with a prefix in braces alone`;
  on(name, ['--provider', provider], async (lab, t) => {
    t.mock.method(console, 'warn', () => {});
    await workOnBullmq(lab, '{bull}');
      const queue = lab.opened(new Queue('other', { connection: lab.connection }));
    const why = provider === 'dragonfly' ? /undeclared key/ : /CROSSSLOT/;
    await assert.rejects(queue.add('a', {}), why);
  });
}

on('BullMQ is told that oci-sharded has no scripts', ['--provider', 'oci-sharded'], async (lab) => {
  const queue = lab.opened(new Queue('q', { connection: lab.connection, prefix: '{bull}' }));
  await assert.rejects(queue.add('a', {}), /ERR unknown command 'eval/i);
  const { found } = await lab.report();
  assert(found.some((it) => it.check === 'commands' && it.script.startsWith('EVAL')));
});
