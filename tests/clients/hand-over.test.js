// BullMQ moves to another server while its producer and workers work, as its documentation has it: a
// retry strategy, and maxRetriesPerRequest null for workers. Every job is done once.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import Redis from 'ioredis';
import { startServer } from './own-server.js';
import { sleep, until } from './support.js';

const { Queue, Worker } = createRequire(import.meta.url)('bullmq-6');

const program = process.env.TORIL_SERVER;
const oracles =
  process.env.TORIL_ORACLES ?? fileURLToPath(new URL('../.oracles', import.meta.url));

// As in https://docs.bullmq.io/guide/going-to-production
const retryStrategy = (times) => Math.max(Math.min(Math.exp(times), 20_000), 1_000);

/** A real server of this test's own, or undefined if tests/oracles.sh has not installed it. */
async function startReal(t, name, ...options) {
  const launcher = path.join(oracles, 'bin', name);
  if (!existsSync(launcher)) return undefined;
  for (let attempt = 0; attempt < 10; attempt += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', ...options].map(String);
    const child = spawn(launcher, args, { stdio: 'ignore' });
    let hasEnded = false;
    child.once('exit', () => (hasEnded = true));
    t.after(() => child.kill());
    const client = new Redis(port, { retryStrategy: () => 20, maxRetriesPerRequest: null });
    client.on('error', () => {});
    t.after(() => client.disconnect());
    await Promise.race([client.ping(), until(() => hasEnded)]);
    if (!hasEnded) return { port, client };
  }
  throw new Error(`${name} does not come up`);
}

/** Runs toril hand-over, and answers what it said. */
function handOver(from, to, ...options) {
  const urls = ['--from', `redis://127.0.0.1:${from}`, `redis://127.0.0.1:${to}`];
  const child = spawn(program, ['hand-over', ...options, ...urls], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
  return new Promise((resolve, reject) => {
    child.once('close', (status) => (status === 0 ? resolve(said) : reject(new Error(said))));
  });
}

for (const name of ['redis-7.4', 'valkey']) {
  test(`BullMQ goes on at ${name}, and every job is done once`, { timeout: 90_000 }, async (t) => {
    const source = await startServer(t);
    if (!source) return t.skip('this server has no TORIL');
    const target = await startReal(t, name);
    if (!target) return t.skip(`${name} is not installed`);

    const connection = { host: '127.0.0.1', port: source.port, retryStrategy };
    const queue = new Queue('moving', { connection });
    const done = new Map();
    const work = async (job) => {
      done.set(job.id, (done.get(job.id) ?? 0) + 1);
      await sleep(2);
      return job.data.n;
    };
    const options = {
      connection: { ...connection, maxRetriesPerRequest: null },
      concurrency: 10,
    };
    const workers = [new Worker('moving', work, options), new Worker('moving', work, options)];
    for (const it of [queue, ...workers]) it.on('error', () => {});

    // Jobs of all kinds, one after the other, through the move and behind it.
    const added = [];
    const gaps = [];
    let goesOn = true;
    const producer = (async () => {
      let last = Date.now();
      for (let n = 0; goesOn; n += 1) {
        const delay = n % 7 === 0 ? 300 : undefined;
        const priority = n % 5 === 0 ? 1 + (n % 3) : undefined;
        added.push((await queue.add('job', { n }, { delay, priority })).id);
        gaps.push(Date.now() - last);
        last = Date.now();
        await sleep(1);
      }
    })();
    await until(() => added.length > 500, 'jobs are added');
    const said = await handOver(source.port, target.port, '--forward', '1m');
    const atSwitch = added.length;
    await until(() => added.length > atSwitch + 500, 'jobs are added behind the move');
    goesOn = false;
    await producer;
    await until(() => added.every((id) => done.has(id)), 'all jobs are done');
    const finished = await until(async () => {
      const counts = await queue.getJobCounts('completed', 'active', 'wait', 'delayed', 'failed');
      return counts.active + counts.wait + counts.delayed === 0 ? counts : undefined;
    }, 'nothing is left');
    t.diagnostic(said.split('\n').find((line) => line.includes('paused')));
    t.diagnostic(`${added.length} jobs; the longest time without an answer: ${Math.max(...gaps)} ms`);

    assert.deepEqual({ ...finished, completed: 0 }, { ...finished, completed: 0, failed: 0 });
    assert.equal(finished.completed, added.length);
    assert.equal(new Set(added).size, added.length, 'no id is given twice');
    // BullMQ promises at least once; nothing here makes a job stall.
    assert.deepEqual([...done.values()].filter((times) => times !== 1), []);
    assert.equal(await target.client.zcard('bull:moving:completed'), added.length);
    const old = new Redis(source.port, { lazyConnect: true });
    t.after(() => old.disconnect());
    assert.match(await old.info('server'), /redis_version/);
    await Promise.all([queue, ...workers].map((it) => it.close()));
  });
}

test('BullMQ goes on at a cluster of Valkey', { timeout: 90_000 }, async (t) => {
  const source = await startServer(t);
  if (!source) return t.skip('this server has no TORIL');
  const nodes = [];
  for (let at = 0; at < 3; at += 1) {
    const file = path.join(process.env.TMPDIR ?? '/tmp', `toril-nodes-${process.pid}-${at}.conf`);
    const node = await startReal(t, 'valkey', '--cluster-enabled', 'yes', '--cluster-config-file', file);
    if (!node) return t.skip('valkey is not installed');
    const [first, last] = [at, at + 1].map((it) => Math.floor((16_384 * it) / 3));
    await node.client.call('CLUSTER', 'ADDSLOTSRANGE', first, last - 1);
    nodes.push(node);
  }
  for (const { port } of nodes.slice(1)) await nodes[0].client.call('CLUSTER', 'MEET', '127.0.0.1', port);
  for (const { client } of nodes) {
    await until(async () => (await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'), 'up');
  }

  const prefix = '{bull}';
  const done = new Map();
  const work = async (job) => {
    done.set(job.id, (done.get(job.id) ?? 0) + 1);
  };
  const connection = { host: '127.0.0.1', port: source.port, retryStrategy };
  const queue = new Queue('moving', { connection, prefix });
  const worker = new Worker('moving', work, {
    connection: { ...connection, maxRetriesPerRequest: null },
    prefix,
  });
  const errors = [];
  for (const it of [queue, worker]) it.on('error', (error) => errors.push(error.message));
  const added = [];
  let refusal;
  const producer = (async () => {
    for (let n = 0; !refusal; n += 1) {
      try {
        added.push((await queue.add('job', { n }, { delay: n % 3 ? 0 : 5_000 })).id);
      } catch (error) {
        refusal = error.message;
      }
      await sleep(1);
    }
  })();
  await until(() => added.length > 200, 'jobs are added');
  const said = await handOver(source.port, nodes[2].port);
  t.diagnostic(said.split('\n').find((line) => line.includes('paused')));
  await producer;
  assert.match(refusal, new RegExp(`READONLY this server has handed over to 127.0.0.1:${nodes[2].port}`));
  // Its programs are started anew, with a client for clusters.
  await Promise.all([queue.close(), worker.close(true)]);
  const cluster = () =>
    new Redis.Cluster([{ host: '127.0.0.1', port: nodes[0].port }], {
      redisOptions: { maxRetriesPerRequest: null },
    });
  const clients = [cluster(), cluster()];
  const later = new Queue('moving', { connection: clients[0], prefix });
  const successor = new Worker('moving', work, { connection: clients[1], prefix });
  added.push((await later.add('job', {})).id);
  await until(() => added.every((id) => done.has(id)), 'all jobs are done');
  // The one that was in hand may be done again: its end was not taken any more.
  const again = [...done.values()].filter((times) => times !== 1);
  assert.ok(again.length <= 1 && again.every((times) => times === 2), String(again));
  await Promise.all([later.close(), successor.close()]);
  for (const client of clients) client.disconnect();
});

// tests/long/hand_over asks for 100,000 jobs and several runs.
const JOBS = Number(process.env.TORIL_HAND_OVER_JOBS ?? 2_000);
const RUNS = Number(process.env.TORIL_HAND_OVER_RUNS ?? 1);

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

test(`the time without service at ${JOBS} jobs`, { timeout: 60_000 + RUNS * 100_000 }, async (t) => {
  const [pauses, gaps] = [[], []];
  for (let run = 0; run < RUNS; run += 1) {
    const source = await startServer(t);
    if (!source) return t.skip('this server has no TORIL');
    const target = await startReal(t, 'valkey');
    if (!target) return t.skip('valkey is not installed');
    const connection = { host: '127.0.0.1', port: source.port, retryStrategy };
    const queue = new Queue('filled', { connection });
    queue.on('error', () => {});
    for (let n = 0; n < JOBS; n += 1_000) {
      const bulk = Array.from({ length: 1_000 }, (_, at) => ({
        name: 'job',
        data: { order: n + at, to: `user${n + at}@example.com`, text: 'x'.repeat(100) },
        opts: { delay: 3_600_000 },
      }));
      await queue.addBulk(bulk);
    }
    let [goesOn, longest] = [true, 0];
    const producer = (async () => {
      while (goesOn) {
        const began = performance.now();
        await queue.add('job', {});
        longest = Math.max(longest, performance.now() - began);
        await sleep(1);
      }
    })();
    await sleep(200);
    const said = await handOver(source.port, target.port, '--forward', '1m');
    await sleep(1_500);
    goesOn = false;
    await producer;
    assert.ok((await target.client.zcard('bull:filled:delayed')) >= JOBS);
    pauses.push(Number(/paused for (\d+) ms/.exec(said)[1]));
    gaps.push(Math.round(longest));
    t.diagnostic(`${said.split('\n').find((line) => line.includes('are copied'))}`);
    await queue.close();
  }
  t.diagnostic(`writes were paused for ${pauses} ms, p50 ${median(pauses)} ms`);
  t.diagnostic(`the longest add took ${gaps} ms, p50 ${median(gaps)} ms`);
});
