// Who looks on while a worker is killed, and many who look at once.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { startServer } from '../own-server.js';
import { sleep, until } from '../support.js';
import { launch, skip } from './chromium.js';

const { Queue, Worker } = createRequire(import.meta.url)('bullmq-6');
const HANGING = fileURLToPath(new URL('../bullmq/hanging-worker.js', import.meta.url));
const idOf = (name) => Buffer.from(`0\0bull:${name}`).toString('base64url');
/** What the server may hold more once all pages are closed: it keeps what allocators keep. */
const MORE_BYTES = 512 << 10;
/** What is forgotten with the last page is forgotten after this. */
const FORGOTTEN_MS = 6000;

describe('whoever looks on', { skip }, () => {
  let browser;
  const complaints = [];
  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  async function open(server, view, context = browser) {
    const page = await context.newPage();
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(`${view}: ${message.text()}`);
    });
    page.on('pageerror', (error) => complaints.push(`${view}: ${error.message}`));
    await page.goto(`${server.http.url}/#/${view}`);
    await page.waitForSelector('#main h1');
    return page;
  }

  test('a worker is killed: its job is seen to stand without a lock, and to be done by another', async (t) => {
    const server = await startServer(t, '--http-port', '0');
    const connection = { host: '127.0.0.1', port: server.port, maxRetriesPerRequest: null };
    const queue = new Queue('mail', { connection });
    await queue.add('welcome', {}, { jobId: 'held' });
    // Long enough that a busy machine renews it, as long as its worker lives.
    const stall = { lockDuration: 6000, stalledInterval: 1000 };
    const victim = fork(HANGING, ['mail', JSON.stringify({ ...stall, name: 'victim' })], {
      env: { ...process.env, BULLMQ: '6-ioredis', TORIL_HOST: '127.0.0.1', TORIL_PORT: String(server.port) },
    });
    t.after(() => victim.kill('SIGKILL'));
    await once(victim, 'message');
    const [workers, active, job] = await Promise.all(
      ['workers', `queue/${idOf('mail')}/active`, `job/${idOf('mail')}/held`].map((view) => open(server, view)));
    await workers.waitForSelector('#main tr:has-text("victim"):has-text("held")');
    await active.waitForSelector('table.jobs tr:has-text("held")');
    victim.kill('SIGKILL');
    await workers.waitForSelector('#main tr:has-text("victim")', { state: 'detached' });
    await workers.waitForSelector('#main :text("without a lock")');
    const heir = new Worker('mail', async () => 'done by another', { connection, ...stall, name: 'heir' });
    await job.waitForSelector('.steps li:has-text("stalled")');
    await job.waitForSelector('#main :text("done by another")');
    await active.waitForSelector('table.jobs tr:has-text("held")', { state: 'detached' });
    await workers.waitForSelector('#main tr:has-text("heir")');
    await workers.waitForSelector('#main :text("without a lock")', { state: 'detached' });
    await Promise.all([workers, active, job].map((page) => page.close()));
    // While the server is there: they would try again for ever.
    await heir.close();
    await queue.close();
  });

  test('ten pages at once stay current, and leave nothing behind', async (t) => {
    const server = await startServer(t, '--http-port', '0');
    const connection = { host: '127.0.0.1', port: server.port, maxRetriesPerRequest: null };
    const kept = { removeOnComplete: 50, removeOnFail: 50 };
    const queue = new Queue('mail', { connection, defaultJobOptions: kept, streams: { events: { maxLen: 200 } } });
    const worker = new Worker('mail', async (job) => {
      if (job.data.n % 5 === 0) throw new Error('no such mailbox');
    }, { connection, name: 'mailer' });
    let n = 0;
    const add = () => queue.add('welcome', { n: n += 1 });
    for (let at = 0; at < 300; at += 1) await add();
    // The one that is looked at: of those that end only the latest are kept.
    await queue.add('welcome', {}, { jobId: 'stays', delay: 3_600_000 });
    await until(async () => (await queue.getWaitingCount()) === 0);
    const redis = new Redis(server.port);
    t.after(() => redis.disconnect());
    const held = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))[1]);
    const before = await held();
    const timer = setInterval(() => void add(), 20);
    const id = idOf('mail');
    const views = ['overview', 'overview', `queue/${id}/completed`, `queue/${id}/failed`, `queue/${id}/active`,
      `job/${id}/stays`, 'workers', 'clients', 'commands', 'search?q=welcome'];
    // Of one browser's connections only six go to a server: each page has a context of its own, as readers do.
    const contexts = await Promise.all(views.map(() => browser.newContext()));
    const pages = await Promise.all(views.map((view, at) => open(server, view, contexts[at])));
    for (const at of [0, 1, 2, 3, 8]) {
      const [page, text] = [pages[at], () => pages[at].textContent('#main')];
      for (let times = 0; times < 3; times += 1) {
        const now = await text();
        await until(async () => (await text()) !== now, `${views[at]} is current`);
      }
      assert.equal(await page.locator('#banner:not([hidden])').count(), 0);
    }
    clearInterval(timer);
    await until(async () => (await queue.getWaitingCount()) + (await queue.getActiveCount()) === 0);
    const failed = await queue.getFailed(0, 0);
    await pages[3].waitForSelector(`[data-id="${failed[0].id}"]`, { timeout: 2000 });
    await Promise.all(contexts.map((context) => context.close()));
    await until(async () => !/name=toril-page/.test(String(await redis.client('LIST'))), 'no stream is open');
    await sleep(FORGOTTEN_MS);
    const later = await held();
    t.diagnostic(`ten pages: took ${before} bytes before, ${later} after`);
    assert.ok(later <= before + MORE_BYTES, `${before} bytes before, ${later} after`);
    await worker.close();
    await queue.close();
  });

  test('the browsers had nothing to complain of', () => assert.deepEqual(complaints, []));
});
