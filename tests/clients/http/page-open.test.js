// A page that is left open under load: neither it nor the server may grow, and it must survive that the
// server is started anew. TORIL_PAGE_MINUTES says for how long; tests/long/page has an hour.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { startServer } from '../own-server.js';
import { sleep, until } from '../support.js';
import { launch, skip } from './chromium.js';

const { Queue, Worker } = createRequire(import.meta.url)('bullmq-6');

const MINUTES = Number(process.env.TORIL_PAGE_MINUTES ?? 0.1);
/** Half of the time before the server is started anew, and half behind that. */
const SAMPLES = 8;
const PAUSE_MS = (MINUTES * 60_000) / (2 * SAMPLES);
/** Until what is made once is there. */
const WARM_MS = Math.min(PAUSE_MS, 20_000);
const JOBS_A_SECOND = 50;

/** What may come on top of what was there at first: within a view's moments nodes swing by two hundred. */
const NODES_MORE = 400;
/** ... and after the start, of a view that was fetched anew: the one before had 1,300 more. */
const NODES_MORE_ANEW = 600;
const HEAP_MORE = 3 << 20;
const SERVER_MORE = 2 << 20;

/** Jobs come and are done, a tenth of them fails; only the last of each are kept, so data does not grow. */
function work(port) {
  const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
  const kept = { removeOnComplete: 100, removeOnFail: 100 };
  const streams = { events: { maxLen: 500 } };
  const queues = ['mail', 'video', 'reports'].map((name) => new Queue(name, { connection, streams, defaultJobOptions: kept }));
  const workers = queues.map((queue) => new Worker(queue.name, async (job) => {
    if (job.data.n % 10 === 0) throw new Error(`no such mailbox: ${job.data.n % 30}`);
  }, { connection }));
  for (const it of [...queues, ...workers]) it.on('error', () => {});
  const job = (n) => ({ name: `name-${n % 7}`, data: { n, to: 'ada@example.com' } });
  // So many at once that each list is as long as it gets.
  let n = 3_000;
  queues.forEach((queue, at) => void queue.addBulk(Array.from({ length: n / 3 }, (_, of) => job(3 * of + at))).catch(() => {}));
  const timer = setInterval(() => {
    n += 1;
    void queues[n % 3].addBulk([job(n)]).catch(() => {});
  }, 1000 / JOBS_A_SECOND);
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(workers.map((it) => it.close(true)));
      await Promise.all(queues.map((it) => it.close()));
    },
  };
}

test(`pages that are left open for ${MINUTES} minutes`, { skip }, async (t) => {
  let server = await startServer(t, '--http-port', '0');
  const { port, http: { url } } = server;
  let load = work(port);
  const browser = await launch();
  t.after(() => browser.close());
  const views = ['overview', 'queue/MABidWxsOm1haWw/failed', 'queue/MABidWxsOm1haWw/completed', 'clients'];
  const context = await browser.newContext();
  const pages = await Promise.all(views.map(async (view) => {
    const page = await context.newPage();
    await page.goto(`${url}/#/${view}`);
    const tools = await context.newCDPSession(page);
    await tools.send('Performance.enable');
    return { view, page, tools };
  }));

  /** What pages and server hold, once what is garbage has gone. */
  async function sample() {
    const redis = new Redis(port);
    const memory = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))[1]);
    redis.disconnect();
    const all = [];
    for (const { tools } of pages) {
      await tools.send('HeapProfiler.collectGarbage');
      const { metrics } = await tools.send('Performance.getMetrics');
      const of = (name) => metrics.find((it) => it.name === name).value;
      all.push({ nodes: of('Nodes'), heap: of('JSHeapUsedSize') });
    }
    return { memory, all };
  }
  async function hold(name) {
    for (const { view, page } of pages) {
      if (view.startsWith('queue')) await page.locator('table.jobs tbody tr:nth-child(50)').waitFor();
    }
    await sleep(WARM_MS);
    const samples = [];
    for (let at = 0; at < SAMPLES; at += 1) {
      await sleep(PAUSE_MS);
      samples.push(await sample());
    }
    // What a browser has not collected yet comes and goes: the least of the last half is compared with the
    // most of the first.
    const [early, late] = [samples.slice(0, SAMPLES / 2), samples.slice(SAMPLES / 2)];
    function compare(what, of, more) {
      const [first, last] = [Math.max(...early.map(of)), Math.min(...late.map(of))];
      t.diagnostic(`${name}, ${what}: took ${first} at first, ${last} at last`);
      assert.ok(last <= first + more, `${what}: ${first} at first, ${last} at last`);
      return last;
    }
    compare('bytes of the server', (it) => it.memory, SERVER_MORE);
    return pages.map(({ view }, at) => {
      compare(`bytes of ${view}`, (it) => it.all[at].heap, HEAP_MORE);
      return compare(`nodes of ${view}`, (it) => it.all[at].nodes, NODES_MORE);
    });
  }
  // A handle on an element would keep it alive: locators have none.
  await pages[0].page.locator('.queues tr:has-text("mail")').waitFor();
  const before = await hold('before');
  await load.stop();
  process.kill(server.pid, 'SIGKILL');
  await pages[0].page.locator('#banner:has-text("Lost toril")').waitFor();
  server = await startServer(t, '--port', String(port), '--http-port', new URL(url).port);
  load = work(port);
  await pages[0].page.locator('.queues tr:has-text("mail")').waitFor();
  const after = await hold('started anew');
  pages.forEach(({ view }, at) => {
    assert.ok(after[at] <= before[at] + NODES_MORE_ANEW, `${view}: ${before[at]} nodes before the start, ${after[at]} behind it`);
  });
  // What is shown still follows.
  const told = () => pages[0].page.textContent('.queues tr:has-text("mail")');
  const now = await told();
  await until(async () => (await told()) !== now);
  await load.stop();
  process.kill(server.pid);
});
