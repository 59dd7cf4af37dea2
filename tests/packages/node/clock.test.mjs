// Time that is moved: who follows, and that nobody follows twice.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { start } from 'toril';

const DAY_MS = 86_400_000;

/** What a program says its time is, in milliseconds, as a child with this environment. */
function timeOf(program, args, env) {
  const options = { env: { ...process.env, ...env }, encoding: 'utf8', cwd: import.meta.dirname };
  return Number(execFileSync(program, args, options));
}

const NODE = [process.execPath, ['-p', 'Date.now()']];
const PYTHON = ['python3', ['-c', 'import time; print(time.time() * 1000)']];

function assertAhead(time_ms, days) {
  const ahead_ms = time_ms - Date.now();
  assert.ok(Math.abs(ahead_ms - days * DAY_MS) < 60_000, `ahead by ${ahead_ms} ms`);
}

test('children follow a clock that is moved, once', async () => {
  const server = await start({ clock: true });
  try {
    let told;
    const now = await server.clock.advance('2d', { jump: true, set: (ms) => (told = ms) });
    assert.equal(told, Date.parse(now));
    assertAhead(told, 2);
    assertAhead(timeOf(...NODE, server.env), 2);
    assertAhead(timeOf(...NODE, { ...server.env, LD_PRELOAD: '' }), 2);
    assertAhead(timeOf(...NODE, {}), 0);
    if (process.platform === 'linux') assertAhead(timeOf(...PYTHON, server.env), 2);
    await server.clock.freeze();
    assert.equal((await server.clock.read()).mode, 'frozen');
  } finally {
    await server.stop();
  }
});

/** Runs a script in a process of its own, since this one keeps its time; what it prints is JSON. */
function run(script) {
  const args = ['--input-type=module', '-e', script];
  const options = { encoding: 'utf8', cwd: import.meta.dirname, timeout: 20_000 };
  return JSON.parse(execFileSync(process.execPath, args, options));
}

test('the clock goes by itself from due moment to due moment', () => {
  const hours = run(`
    import { Queue, Worker } from 'bullmq';
    import { start } from 'toril';
    const server = await start({ clock: true });
    process.env.TORIL_CLOCK = server.env.TORIL_CLOCK;
    await import('toril/clock');
    const { connection } = server;
    const queue = new Queue('mail', { connection });
    const begun = Date.now();
    const ran = [];
    const worker = new Worker('mail', async () => {
      ran.push(Math.round((Date.now() - begun) / 3_600_000));
      throw new Error('as asked');
    }, { connection });
    const ended = new Promise((resolve) => worker.on('failed', (job) => ran.length === 3 && resolve()));
    await server.clock.auto();
    const backoff = { type: 'fixed', delay: 3_600_000 };
    await queue.add('late', {}, { delay: ${DAY_MS}, attempts: 3, backoff });
    await ended;
    await server.clock.resume();
    await worker.close();
    await queue.close();
    await server.stop();
    console.log(JSON.stringify(ran));`);
  assert.deepEqual(hours, [24, 25, 26]);
});

test('timers of all follow if that is asked for', async () => {
  const server = await start({ clock: true });
  const script = `
    const rung = await Promise.race([
      new Promise((resolve) => setTimeout(() => resolve(true), ${DAY_MS / 2})),
      new Promise((resolve) => process.stdin.once('end', () => resolve(false)).resume()),
    ]);
    console.log(JSON.stringify({ rung }));
    process.exit(0);`;
  try {
    for (const [preload, rung] of [['toril/clock?timers=all', true], ['toril/clock', false]]) {
      const args = ['--import', preload, '--input-type=module', '-e', script];
      const env = { ...process.env, TORIL_CLOCK: server.env.TORIL_CLOCK };
      const stdio = ['pipe', 'pipe', 'inherit'];
      const child = spawn(process.execPath, args, { env, stdio, cwd: import.meta.dirname });
      let told = '';
      child.stdout.setEncoding('utf8').on('data', (text) => (told += text));
      const ended = once(child, 'close');
      await sleep(500);
      await server.clock.advance('1d', { jump: true });
      await sleep(200);
      child.stdin.end();
      await ended;
      assert.deepEqual(JSON.parse(told), { rung }, preload);
    }
  } finally {
    await server.stop();
  }
});

test('a job that is delayed by a day runs when the day has gone', () => {
  const { after, completed } = run(`
    import { Queue, Worker } from 'bullmq';
    import { start } from 'toril';
    const server = await start({ clock: true });
    process.env.TORIL_CLOCK = server.env.TORIL_CLOCK;
    await import('toril/clock');
    const { connection } = server;
    const queue = new Queue('mail', { connection });
    const begun = Date.now();
    let ran;
    const worker = new Worker('mail', async () => { ran = Date.now(); }, { connection });
    await queue.add('late', {}, { delay: ${DAY_MS} });
    await server.clock.advance('2d');
    const { queues } = await server.idle('mail');
    await worker.close();
    await queue.close();
    await server.stop();
    console.log(JSON.stringify({ after: ran - begun, completed: queues.mail.completed }));`);
  assert.equal(completed, 1);
  assert.ok(after >= DAY_MS && after < DAY_MS + 5_000, `it ran after ${after} ms`);
});
