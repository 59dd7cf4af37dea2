// A server ends with the process that started it, however that ends, and not before.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runs, until } from './support.mjs';

const library = dirname(createRequire(import.meta.url).resolve('toril/package.json'));

/** How long a server is watched that has to stay. */
const STAYS_MS = 300;

/** How soon a server has to end after its parent. */
const ENDS_MS_MAX = 1_000;

/** Starts Node on a text that prints one line, and resolves to the process and the line. */
async function startNode(args) {
  const child = spawn(process.execPath, args, {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (printed += text));
  await until(() => printed.includes('\n'), `Node prints a line: ${args}`);
  return { child, printed: () => printed };
}

async function ends(pid) {
  const started = Date.now();
  await until(() => !runs(pid), `server ${pid} ends`);
  const took_ms = Date.now() - started;
  assert.ok(took_ms < ENDS_MS_MAX, `it took ${took_ms} ms`);
}

async function stays(pid) {
  await sleep(STAYS_MS);
  assert.ok(runs(pid), `server ${pid} has ended`);
}

test('its parent is killed', async () => {
  const { child, printed } = await startNode([
    '-e',
    "require('toril').start().then((server) => { console.log(server.pid); setInterval(() => {}, 1e6); })",
  ]);
  const pid = Number(printed());
  await stays(pid);
  child.kill('SIGKILL');
  await ends(pid);
});

// The two ways in which a thread ends. The server belongs to the process, not to the thread.
for (const [how, end] of [['ends', ''], ['is terminated', 'worker.terminate();']]) {
  test(`the thread that started it ${how}`, async () => {
    const { child, printed } = await startNode([
      '-e',
      `const { Worker } = require('node:worker_threads');
      const worker = new Worker(
        "require('toril').start().then((server) => require('node:worker_threads').parentPort.postMessage(server.pid))",
        { eval: true });
      worker.on('message', (pid) => { ${end} setTimeout(() => console.log(pid), 100); });
      setInterval(() => {}, 1e6);`,
    ]);
    const pid = Number(printed());
    await stays(pid);
    child.kill('SIGKILL');
    await ends(pid);
  });
}

test('its parent is killed and leaves another child', async () => {
  const { child, printed } = await startNode([
    '-e',
    `require('toril').start().then((server) => {
      const sibling = require('node:child_process').spawn(
        process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'inherit' });
      console.log(server.pid + ' ' + sibling.pid);
    })`,
  ]);
  const [pid, sibling] = printed().split(' ').map(Number);
  try {
    child.kill('SIGKILL');
    await ends(pid);
    assert.ok(runs(sibling));
  } finally {
    process.kill(sibling, 'SIGKILL');
  }
});

for (const signal of ['SIGKILL', 'SIGTERM']) {
  test(`the command of npm gets ${signal}`, async () => {
    const { child, printed } = await startNode([
      join(library, 'bin/toril.cjs'),
      '--port',
      '0',
      '--announce',
      'json',
    ]);
    const line = await until(() => printed().split('\n').find((it) => it.startsWith('{')));
    const { pid } = JSON.parse(line);
    await stays(pid);
    const ended = new Promise((resolve) => child.on('exit', (...how) => resolve(how)));
    child.kill(signal);
    await ends(pid);
    assert.deepEqual(await ended, signal === 'SIGTERM' ? [0, null] : [null, signal]);
  });
}
