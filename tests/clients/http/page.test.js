// The page over the queues, in Chromium, beside a real BullMQ. Without a Chromium it says so and is
// skipped: CHROMIUM names one that is not where Debian puts it.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { address, sleep } from '../support.js';
import { rest } from './rest.js';

const require = createRequire(import.meta.url);
const { Queue, Worker } = require('bullmq-6');
const axe = require.resolve('axe-core/axe.min.js');

const PLACES = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = PLACES.find((place) => place && existsSync(place));
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const HOSTILE = '<img src=x onerror="document.title=\'taken\'">';
const connection = { ...address, maxRetriesPerRequest: null };

if (!executablePath) console.log('*** NOT RUN: the page over the queues: there is no Chromium, and CHROMIUM names none ***');

describe('the page', { skip: !executablePath }, () => {
  let browser, page, queue, worker;
  const complaints = [];

  before(async () => {
    browser = await chromium.launch({ executablePath, args: FLAGS });
    page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
  });

  after(async () => {
    await worker?.close();
    await queue?.close();
    await browser?.close();
  });

  test('a stranger is shown what to do, and then the first job, without a reload', async () => {
    await page.goto(`${rest.url}/#token=${rest.token}`);
    await page.waitForSelector('text=No queue yet');
    assert.equal(page.url(), `${rest.url}/#/overview`, 'the token is out of the address');
    queue = new Queue('mail', { connection });
    await queue.add('welcome', { to: 'ada@example.com' });
    await page.waitForSelector('.queues tbody tr:has-text("mail")', { timeout: 1000 });
  });

  test('a failed job is seen from the overview to its stack trace', async () => {
    worker = new Worker('mail', async () => { throw new Error(`no such mailbox ${HOSTILE}`); }, { connection });
    await queue.add(HOSTILE, { html: HOSTILE, deep: { list: [1, HOSTILE] } });
    await page.waitForSelector('.notes li:has-text("2 failed")');
    await page.click('.notes a');
    await page.waitForSelector('table.jobs tbody tr:nth-child(2)');
    assert.match(await page.textContent('.tabs [aria-selected=true]'), /Failed\s*2/);
    await page.click(`table.jobs a:has-text("<img")`);
    await page.waitForSelector('.steps li:has-text("failed")');
    assert.match(await page.textContent('.error-line'), /no such mailbox <img src=x/);
    assert.match(await page.textContent('.trace'), /page\.test\.js/);
    assert.equal(await page.locator('#main img').count(), 0, 'what is in a job stays text');
    assert.doesNotMatch(await page.title(), /^taken/);
  });

  test('a job that is delayed is seen to become active, and to be gone', async () => {
    await worker.close();
    await page.goto(`${rest.url}/#/overview`);
    await page.click('.queues a:has-text("mail")');
    const job = await queue.add('later', {}, { delay: 3_600_000 });
    await page.click('.tabs a:has-text("Delayed")');
    await page.waitForSelector('table.jobs tr:has-text("later")');
    assert.match(await page.textContent('table.jobs td.c-when'), /59 min|1 h/);
    await page.mouse.move(0, 0);
    await job.remove();
    await page.waitForSelector('table.jobs tr:has-text("later")', { state: 'detached', timeout: 2000 });
  });

  test('nothing overflows, and axe finds nothing, in both themes and on a phone', async () => {
    await page.close();
    const [newest] = await queue.getFailed(0, 0);
    const id = Buffer.from(`0\0bull:mail`).toString('base64url');
    for (const colorScheme of ['light', 'dark']) {
      for (const width of [1280, 390]) {
        // Of playwright's own, axe's script would be refused by the page's policy.
        const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, bypassCSP: true });
        const looked = await context.newPage();
        await looked.goto(`${rest.url}/#token=${rest.token}`);
        for (const view of ['overview', `queue/${id}/failed`, `job/${id}/${newest.id}`]) {
          await looked.goto(`${rest.url}/#/${view}`);
          await looked.waitForSelector('#main h1');
          await sleep(300);
          const wide = await looked.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 0, `${view} at ${width}: ${wide} px too wide`);
          await looked.addScriptTag({ path: axe });
          const found = await looked.evaluate(() => /** @type {any} */ (window).axe.run());
          const told = found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(' | ')}`);
          assert.deepEqual(told, [], `${view} at ${width}, ${colorScheme}`);
        }
        await context.close();
      }
    }
  });

  test('the browser had nothing to complain of', () => {
    assert.deepEqual(complaints, []);
  });
});
