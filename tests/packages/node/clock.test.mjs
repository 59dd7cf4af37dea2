// Time that is moved: who follows, and that nobody follows twice.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
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

test('a job that is delayed by a day runs when the day has gone', () => {
  // A process of its own: this one keeps its time.
  const script = `
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
    console.log(JSON.stringify({ after: ran - begun, completed: queues.mail.completed }));`;
  const args = ['--input-type=module', '-e', script];
  const options = { encoding: 'utf8', cwd: import.meta.dirname, timeout: 20_000 };
  const { after, completed } = JSON.parse(execFileSync(process.execPath, args, options));
  assert.equal(completed, 1);
  assert.ok(after >= DAY_MS && after < DAY_MS + 5_000, `it ran after ${after} ms`);
});
