// A server that is killed again and again under BullMQ, with an append-only file. With `always` no
// job is missing whose add was answered, and none comes back whose completion was; with `everysec`
// at most the last second before a kill is missing.
//
// TORIL_KILLS says how often it is killed; tests/long/restart does so 500 times.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './support.js';

const { Queue, Worker } = createRequire(import.meta.url)('bullmq-6');
const program = process.env.TORIL_SERVER ?? 'redis-server';
const KILLS = Number(process.env.TORIL_KILLS ?? 5);

/** How long after the server is up it is killed, at most. */
const LIFE_MS = 250;

const freePort = () =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

/** Starts the server and waits until it has read its files. */
async function start(folder, port, policy) {
  const options = ['--port', port, '--dir', folder, '--save', '', '--appendonly', 'yes'];
  const args = [...options, '--appendfsync', policy].map(String);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let log = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (log += text));
  await until(() => {
    assert.equal(child.exitCode, null, log);
    return log.includes('Ready to accept connections');
  }, 'the server is up');
  return child;
}

for (const policy of ['always', 'everysec']) {
  test(`jobs outlive ${KILLS} kills with appendfsync ${policy}`, { timeout: 3_600_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'toril-restart-'));
    const port = await freePort();
    let server = await start(folder, port, policy);
    const connection = {
      host: '127.0.0.1',
      port,
      maxRetriesPerRequest: null,
      retryStrategy: () => 20,
    };
    const added = new Map();
    const completed = new Map();
    const back = [];
    const kills = [];
    const queue = new Queue('q', { connection });
    const work = async (job) => {
      if (completed.has(job.id)) back.push([job.id, completed.get(job.id)]);
      await sleep(Math.random() * 5);
    };
    const options = { connection, concurrency: 5, lockDuration: 1_500, stalledInterval: 500 };
    const worker = new Worker('q', work, { ...options, maxStalledCount: 1_000_000 });
    for (const thing of [queue, worker]) thing.on('error', () => {});
    worker.on('completed', (job) => completed.set(job.id, performance.now()));
    let is_over = false;
    const add = async (producer) => {
      for (let count = 0; !is_over; count += 1) {
        // Whose answer was lost is sent again: the same id is the same job.
        const jobId = `job-${producer}-${count}`;
        await queue.add('work', {}, { jobId });
        added.set(jobId, performance.now());
        await sleep(2);
      }
    };
    const producers = [0, 1, 2].map(add);
    try {
      for (let kill = 0; kill < KILLS; kill += 1) {
        await sleep(Math.random() * LIFE_MS);
        kills.push(performance.now());
        server.kill('SIGKILL');
        await new Promise((resolve) => server.once('exit', resolve));
        server = await start(folder, port, policy);
      }
      is_over = true;
      await Promise.all(producers);
      assert.ok(added.size > KILLS, `only ${added.size} jobs were added`);
      // A second before a kill may be missing, but with `always`.
      const is_fresh = (at) =>
        policy === 'everysec' && kills.some((kill) => kill > at && kill - at < 1_100);
      const missing = [];
      for (const [id, at] of added) {
        if (is_fresh(at) && !(await queue.getJob(id))) continue;
        await until(async () => {
          const state = await queue.getJobState(id);
          if (state === 'unknown') missing.push(id);
          return state === 'completed' || state === 'unknown';
        }, `${id} is completed`);
      }
      assert.deepEqual(missing, [], 'these were added');
      const lost = ([, at]) => !is_fresh(at);
      assert.deepEqual(back.filter(lost), [], 'these had been completed');
    } finally {
      is_over = true;
      await Promise.all([worker.close(true), queue.close()]);
      server.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
