// What the page shows before there is a queue is done as it says there: each program is read from the page and
// run on a server of its own, and the first job is seen at once, without a reload.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { startServer } from '../own-server.js';
import { until } from '../support.js';
import { launch, skip } from './chromium.js';

const CLIENTS = fileURLToPath(new URL('..', import.meta.url));
const PYTHON = `${CLIENTS}.venv/bin/python`;
/** What a reader may wait for, from when the job is there. */
const SEEN_MS = 1000;

/** How each program is called and run, and what the first row of the overview says. */
const PROGRAMS = [
  { name: 'BullMQ', file: 'first.mjs', runner: process.execPath, row: /mail.*BullMQ/s, prints: "{ to: 'ada@example.com' }" },
  { name: 'RQ', file: 'first.py', runner: PYTHON, row: /mail.*RQ/s },
  { name: 'Celery', file: 'tasks.py', runner: PYTHON, row: /celery.*Celery/s },
  { name: 'bee-queue', file: 'first.cjs', runner: process.execPath, row: /mail.*bee-queue/s, prints: "{ to: 'ada@example.com' }" },
];

describe('before there is a queue', { skip }, () => {
  let browser, folder;
  before(async () => {
    browser = await launch();
    folder = mkdtempSync(`${tmpdir()}/toril-first-`);
    mkdirSync(`${folder}/node_modules`);
    for (const [name, from] of [['bullmq', 'bullmq-6'], ['bee-queue', 'bee-queue']]) {
      symlinkSync(realpathSync(`${CLIENTS}node_modules/${from}`), `${folder}/node_modules/${name}`);
    }
  });
  after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs it as its reader would: what it has printed, as it grows. */
  function run(t, program, ...args) {
    const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    t.after(() => child.kill('SIGKILL'));
    const told = { text: '', ended: once(child, 'exit') };
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { told.text += chunk; });
    return told;
  }

  test('no program is left out here', async (t) => {
    const { page } = await open(t);
    assert.deepEqual(await page.locator('details.snip summary').allTextContents(), PROGRAMS.map(({ name }) => name));
  });

  async function open(t) {
    const server = await startServer(t, '--http-port', '0');
    const page = await browser.newPage();
    t.after(() => page.close());
    await page.goto(server.http.url);
    await page.waitForSelector('h1:has-text("No queue yet")');
    return { server, page };
  }

  for (const { name, file, runner, row, prints } of PROGRAMS) {
    test(`${name}: the program that is shown makes the first job`, { skip: !existsSync(runner) }, async (t) => {
      const { server, page } = await open(t);
      let loads = 0;
      page.on('load', () => { loads += 1; });
      const shown = page.locator('details.snip').filter({ has: page.locator('summary', { hasText: name }) });
      const text = String(await shown.locator('pre').textContent());
      writeFileSync(`${folder}/${file}`, text);
      const redis = new Redis(server.port);
      t.after(() => redis.disconnect());
      const told = run(t, runner, file);
      await until(() => redis.dbsize());
      await page.waitForSelector('.queues tbody tr', { timeout: SEEN_MS });
      assert.match(String(await page.textContent('.queues tbody tr')), row);
      assert.equal(loads, 0, 'the page was not loaded anew');
      if (prints) await until(() => told.text.includes(prints), `${name} prints ${prints}`);
      const [worker] = /(?<=^# )rq worker .*$/m.exec(text) ?? [];
      if (!worker) return;
      await told.ended;
      const [program, ...args] = worker.split(' ');
      run(t, `${CLIENTS}.venv/bin/${program}`, ...args);
      await until(async () => (await redis.zcard('rq:finished:mail')) === 1, 'the worker that is shown does it');
    });
  }
});
