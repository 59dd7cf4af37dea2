// The page over the queues, in Chromium, beside a real BullMQ.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { Redis } from 'ioredis';
import { startServer } from '../own-server.js';
import { address, sleep, until } from '../support.js';
import { launch, skip } from './chromium.js';
import { readonlyToken, rest } from './rest.js';

const require = createRequire(import.meta.url);
const { FlowProducer, Queue, QueueEvents, Worker } = require('bullmq-6');
const axe = require.resolve('axe-core/axe.min.js');

const redis = new Redis(address);
after(() => redis.disconnect());
const HOSTILE = '<img src=x onerror="document.title=\'taken\'">';
const connection = { ...address, maxRetriesPerRequest: null };
const idOf = (name) => Buffer.from(`0\0bull:${name}`).toString('base64url');

describe('the page', { skip }, () => {
  let browser, page, queue, worker;
  const complaints = [];

  before(async () => {
    browser = await launch();
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

  test('what is pressed is clicked, though it comes anew before it is released', async () => {
    const slow = new Queue('slow', { connection });
    for (const id of ['a', 'b']) await slow.add('x', {}, { jobId: id });
    await page.goto(`${rest.url}/#/queue/${idOf('slow')}/waiting`);
    await page.waitForSelector('table.jobs tbody tr:nth-child(2)');
    /** Presses, has the view drawn anew, and releases there or elsewhere. */
    async function press(selector, { away = false } = {}) {
      await page.hover(selector);
      await page.mouse.down();
      await page.$eval(selector, (control) => {
        /** @type {any} */ (window).pressed = control;
        document.dispatchEvent(new Event('stale'));
      });
      await page.waitForFunction(() => !(/** @type {any} */ (window).pressed.isConnected));
      if (away) await page.mouse.move(600, 790);
      await page.mouse.up();
    }
    await press('#main .actions >> text=Add a job', { away: true });
    await sleep(100);
    assert.equal(await page.locator('#ask[open]').count(), 0, 'what is let go elsewhere is not clicked');
    await press('#main .actions >> text=Add a job');
    await page.waitForSelector('#ask[open] [name=data]');
    await page.keyboard.press('Escape');
    await press('#main .actions details.menu summary');
    await page.waitForSelector('#main details.menu[open] >> text=Drain');
    await press('#main details.menu >> text=Drain');
    await page.waitForSelector('#ask[open]:has-text("Drain slow?")');
    await page.keyboard.press('Escape');
    await press('[data-id="b"]');
    await page.waitForSelector('#chosen:has-text("1 chosen")');
    assert.deepEqual(await page.locator('[data-id]:checked').evaluateAll((all) => all.map((it) => it.getAttribute('data-id'))), ['b']);
    await press('.tabs a:has-text("Delayed")');
    await page.waitForSelector('.tabs [aria-selected=true]:has-text("Delayed")');
    await slow.obliterate();
    await slow.close();
  });

  // Each test clicks one action on jobs in one state of a queue of its own, and a worker or somebody who listens
  // to the library's events must see it.
  describe('the buttons', () => {
    const heard = [];
    let busy, events, idle;

    before(async () => {
      busy = new Queue('busy', { connection });
      events = new QueueEvents('busy', { connection });
      await Promise.all([busy.waitUntilReady(), events.waitUntilReady()]);
      for (const event of ['waiting', 'active', 'completed', 'failed', 'removed', 'paused', 'resumed', 'delayed']) {
        events.on(event, (told) => heard.push(`${event} ${told.jobId ?? ''}`.trim()));
      }
      idle = new Worker('busy', async (job) => {
        if (job.name === 'bad') throw new Error('not today');
        return 'fine';
      }, { connection, name: 'clicker' });
      await idle.waitUntilReady();
    });
    after(async () => {
      await idle.close();
      await events.close();
      await busy.close();
    });

    /** @param {string} state */
    async function look(state) {
      await page.goto(`${rest.url}/#/queue/${idOf('busy')}/${state}`);
      // The view of before stays until this one has come.
      await page.waitForSelector(`.tabs [aria-selected=true][href$="/${state}"]`);
      heard.length = 0;
    }
    const toast = (text) => page.waitForSelector(`.toast:has-text("${text}")`);
    const hears = (text) => until(() => heard.includes(text), `${text} is heard`);
    const choose = (id) => page.check(`[data-id="${id}"]`);
    const confirm = () => page.click('#ask footer .btn:last-child');

    test('add a job that the worker takes, and one like it', async () => {
      await look('waiting');
      await page.click('text=Add a job');
      await page.fill('#ask [name=name]', 'clicked');
      await page.fill('#ask [name=data]', '{ "n": 1 ');
      await confirm();
      await toast('the data is no JSON');
      await page.fill('#ask [name=data]', '{ "n": 1 }');
      await confirm();
      await toast('Added job 1 to busy');
      await hears('completed 1');
      assert.deepEqual((await busy.getJob('1')).data, { n: 1 });
      await page.click('.toast:has-text("Added job 1") button');
      await page.click('text=Edit and replay');
      await page.fill('#ask [name=data]', '{"n":2}');
      await confirm();
      await hears('completed 2');
      assert.deepEqual((await busy.getJob('2')).data, { n: 2 });
    });

    test('run a completed job again, and all of them', async () => {
      await look('completed');
      await choose('1');
      await page.click('#chosen >> text=Run again');
      await hears('completed 1');
      await page.click('text=Run all again');
      await page.waitForSelector('#ask:has-text("Run 2 completed jobs of busy again?")');
      await confirm();
      await toast('Retried 2 jobs of busy');
      await hears('completed 2');
    });

    test('a failed job is retried by the keyboard alone', async () => {
      await busy.add('bad', {}, { jobId: 'other' });
      await busy.add('bad', {}, { jobId: 'key' });
      await until(async () => (await busy.getFailedCount()) === 2);
      await look('failed');
      await page.waitForSelector('table.jobs tbody tr:nth-child(2)');
      await page.mouse.move(0, 0);
      await page.keyboard.press('j');
      await page.keyboard.press('r');
      await until(() => heard.some((text) => text.startsWith('failed ')));
      await toast('Retried 1 job of busy');
      await page.waitForFunction(() => document.activeElement?.closest('table.jobs'), undefined, { timeout: 3000 });
      await page.keyboard.press('Enter');
      await page.waitForSelector('.steps');
      heard.length = 0;
      await page.keyboard.press('r');
      await until(() => heard.some((text) => text.startsWith('failed ')));
    });

    test('all failed jobs are retried from the queue and from the overview', async () => {
      await look('failed');
      await page.click('text=Retry all 2');
      await hears('failed key');
      await page.goto(`${rest.url}/#/overview`);
      heard.length = 0;
      await page.click('.notes li:has-text("busy") >> text=Retry 2');
      await hears('failed key');
    });

    test('a delayed job gets other data, another priority, another moment, and is run now', async () => {
      await busy.add('later', { old: 1 }, { jobId: 'later', delay: 3_600_000 });
      await look('delayed');
      await page.click('table.jobs a:has-text("later")');
      for (const [label, field, value, said] of [
        ['Edit data', 'data', '{"new":1}', 'Changed the data'],
        ['Change priority', 'priority', '5', 'Changed the priority of 1 job'],
        ['Change delay', 'delay', '2h', 'Changed when 1 job'],
      ]) {
        await page.click('#main details.menu summary');
        await page.click(`#main details.menu >> text=${label}`);
        await page.fill(`#ask [name=${field}]`, value);
        await confirm();
        await toast(said);
      }
      await hears('delayed later');
      const changed = await busy.getJob('later');
      assert.deepEqual([changed.data, changed.priority, Math.round(changed.delay / 60_000)], [{ new: 1 }, 5, 120]);
      await page.click('#main >> text=Run now');
      await hears('completed later');
    });

    test('delayed jobs are chosen and run now, or all at once, or removed', async () => {
      for (const id of ['d1', 'd2', 'd3', 'd4']) await busy.add('x', {}, { jobId: id, delay: 3_600_000 });
      await look('delayed');
      await choose('d1');
      await page.click('#chosen >> text=Run now');
      await hears('completed d1');
      await choose('d2');
      await page.click('#chosen >> text=Change delay');
      await page.fill('#ask [name=delay]', '200ms');
      await confirm();
      await hears('completed d2');
      await choose('d3');
      await page.click('#chosen >> text=Remove');
      await page.waitForSelector('#ask:has-text("Remove job d3?"):has-text("1 key. Nothing brings them back")');
      await confirm();
      await hears('removed d3');
      await page.click('text=Run all 1 now');
      await hears('completed d4');
    });

    test('the queue is paused and resumed, by a click and by a key', async () => {
      await look('waiting');
      await page.click('text=Pause');
      await hears('paused');
      await page.waitForSelector('h1 .tag.paused');
      await busy.add('x', {}, { jobId: 'w1' });
      await busy.add('x', {}, { jobId: 'w2' });
      await busy.add('x', {}, { jobId: 'w3', priority: 4 });
      await page.waitForSelector('[data-id=w1]');
      await choose('w1');
      await page.click('#chosen >> text=Change priority');
      await page.fill('#ask [name=priority]', '3');
      await confirm();
      await toast('Changed the priority of 1 job of busy');
      assert.equal((await busy.getJob('w1')).priority, 3);
      await choose('w2');
      await page.click('#chosen >> text=Remove');
      await confirm();
      await hears('removed w2');
      await look('prioritized');
      await choose('w3');
      await page.click('#chosen >> text=Remove');
      await confirm();
      await hears('removed w3');
      await page.click('h1');
      await page.keyboard.press('p');
      await hears('resumed');
      await hears('completed w1');
    });

    test('all that waits is removed, and the queue is drained', async () => {
      await busy.pause();
      await busy.add('x', {}, { jobId: 'w4' });
      await busy.add('x', {}, { jobId: 'w5', priority: 2 });
      await busy.add('x', {}, { jobId: 'w6', delay: 60_000 });
      await look('waiting');
      await page.click('.tools >> text=Remove all');
      await page.click('#ask >> text=Keep');
      assert.notEqual(await busy.getJob('w4'), undefined);
      await page.click('.tools >> text=Remove all');
      await confirm();
      await until(async () => (await busy.getJob('w4')) === undefined);
      await page.click('#main .head details.menu summary');
      await page.click('#main .head >> text=Drain');
      await page.check('#ask [name=delayed]');
      await confirm();
      await toast('Removed 2 jobs of busy');
      assert.equal(await busy.getJobCountByTypes('waiting', 'prioritized', 'delayed', 'paused'), 0);
      await busy.resume();
    });

    test('limits are set, and hold', async () => {
      await look('completed');
      await page.click('#main .head details.menu summary');
      await page.click('#main .head >> text=Limits');
      await page.fill('#ask [name=max]', '1');
      await page.fill('#ask [name=duration]', '10m');
      await confirm();
      await toast('Changed the limits of busy');
      await busy.add('x', {}, { jobId: 'l1' });
      await busy.add('x', {}, { jobId: 'l2' });
      await hears('completed l1');
      await page.waitForSelector('.sub:has-text("held back by its limit")');
      assert.ok(!heard.includes('completed l2'));
      await page.click('#main .head details.menu summary');
      await page.click('#main .head >> text=Count the rate anew');
      await toast('is counted anew');
      await page.waitForSelector('.sub:has-text("held back by its limit")', { state: 'detached' });
    });

    test('an active job is not removed while its worker holds it', async () => {
      const held = new Queue('held', { connection });
      await held.add('x', {}, { jobId: 'a1' });
      const hand = new Worker('held', null, { connection, name: 'hand' });
      await hand.getNextJob('token');
      await page.goto(`${rest.url}/#/queue/${idOf('held')}/active`);
      await page.check('[data-id="a1"]');
      await page.click('#chosen >> text=Remove');
      await confirm();
      await toast('Job a1 is not removed: hand holds its lock');
      assert.notEqual(await held.getJob('a1'), undefined);
      await hand.close();
      await held.close();
    });

    test('the lock of a dead worker is dropped, and another runs its job', async () => {
      const left = new Queue('left', { connection });
      await left.add('x', {}, { jobId: 'd1' });
      const hand = new Worker('left', null, { connection, name: 'hand' });
      await hand.getNextJob('token');
      await page.goto(`${rest.url}/#/job/${idOf('left')}/d1`);
      await page.click('#main details.menu summary');
      await page.click('#main details.menu >> text=Drop its lock');
      await page.waitForSelector('#ask:has-text("if hand still works on it, it runs twice")');
      await confirm();
      await toast('Dropped the lock of a job of left');
      await hand.close();
      const other = new Worker('left', async () => 'done', { connection, name: 'other', stalledInterval: 200, maxStalledCount: 3 });
      await until(async () => (await left.getJobState('d1')) === 'completed');
      await other.close();
      await left.obliterate({ force: true });
      await left.close();
    });

    test('a parent is removed with its children', async () => {
      const flows = new FlowProducer({ connection });
      await flows.add({ name: 'p', queueName: 'family', opts: { jobId: 'p' }, children: [{ name: 'c', queueName: 'family', opts: { jobId: 'c' } }] });
      await flows.close();
      const family = new Queue('family', { connection });
      await page.goto(`${rest.url}/#/queue/${idOf('family')}/waiting-children`);
      await page.click('table.jobs a:has-text("p")');
      await page.click('#main .actions >> text=Remove');
      await page.waitForSelector('#ask:has-text("Their children go as well")');
      await confirm();
      await until(async () => (await family.getJob('c')) === undefined);
      // Until the page has said what was done, it is drawn anew.
      await toast('of family');
      await family.close();
    });

    test('completed jobs are removed by their age, and a queue by its name', async () => {
      await look('completed');
      const count = await busy.getCompletedCount();
      await page.click('.tools >> text=Remove all');
      await page.fill('#ask [name=older]', '1h');
      await confirm();
      await toast('Nothing was there to be done');
      assert.equal(await busy.getCompletedCount(), count);
      await page.click('.tools >> text=Remove all');
      await confirm();
      await toast(`Removed ${count} jobs of busy`);
      await idle.close();
      await page.click('#main .head details.menu summary');
      await page.click('#main .head >> text=Remove the queue');
      await page.fill('#ask [name=confirm]', 'bus');
      await confirm();
      await toast("type the queue's name, busy, to remove all of it");
      await page.fill('#ask [name=confirm]', 'busy');
      await confirm();
      await toast('Removed busy');
      assert.deepEqual(await redis.keys('bull:busy:*'), []);
    });

    test('schedulers are seen, run now and removed', async () => {
      const ticks = new Queue('ticks', { connection });
      await ticks.upsertJobScheduler('hourly', { every: 3_600_000, offset: 1 }, { name: 'tick' });
      await ticks.upsertJobScheduler('nightly', { pattern: '0 3 * * *', tz: 'Europe/Berlin' }, { name: 'night' });
      const ran = [];
      const ticker = new Worker('ticks', async (job) => ran.push(job.name), { connection, name: 'ticker' });
      await page.goto(`${rest.url}/#/schedulers`);
      const row = page.locator('.sched tr:has-text("nightly")');
      await page.waitForSelector('.sched tr:has-text("nightly")');
      assert.match(await row.textContent(), /0 3 \* \* \* Europe\/Berlin.*none is kept.*in \d/s);
      assert.match(await page.textContent('.sched tr:has-text("hourly")'), /every 1\.0 h/);
      await row.locator('text=Run now').click();
      await until(() => ran.includes('night'));
      // A row that holds the focus is left as it is until that has gone.
      await page.click('h1');
      await page.waitForSelector('.sched tr:has-text("nightly") td:has(.dot.done)');
      await row.locator('text=Remove').click();
      await page.waitForSelector('#ask:has-text("Remove the scheduler nightly?")');
      await confirm();
      await until(async () => (await ticks.getJobSchedulersCount()) === 1);
      await page.waitForSelector('.sched tr:has-text("nightly")', { state: 'detached' });
      await ticker.close();
      await ticks.obliterate({ force: true });
      await ticks.close();
    });

    test('workers are seen in the order in which they get jobs, with what they run', async () => {
      const work = new Queue('work', { connection });
      await work.add('lonely', {}, { jobId: 'lonely' });
      await page.goto(`${rest.url}/#/workers`);
      await page.waitForSelector('.sched tr:has-text("no worker"):has-text("work"):has-text("1 job wait")');
      let end;
      const held = new Promise((resolve) => { end = resolve; });
      const run = () => held;
      const first = new Worker('work', run, { connection, name: 'first' });
      await page.waitForSelector('.sched tr:has-text("first"):has-text("runs lonely")');
      const second = new Worker('work', run, { connection, name: 'second' });
      await page.waitForSelector('.sched tr:has-text("second"):has-text("gets the next job")');
      const third = new Worker('work', run, { connection, name: 'third' });
      await page.waitForSelector('.sched tr:has-text("third"):has-text("waits, 1 before it")');
      // A lock that is gone means that the worker is, too.
      await redis.del('bull:work:lonely:lock');
      await page.waitForSelector('.sched tr:has-text("without a lock")');
      end();
      await Promise.all([first, second, third].map((worker) => worker.close(true)));
      await work.obliterate({ force: true });
      await work.close();
    });

    test('a flow is seen as a tree, across queues', async () => {
      const flows = new FlowProducer({ connection });
      const child = { name: 'zip', queueName: 'tree-b', opts: { jobId: 'zip' } };
      await flows.add({
        name: 'month', queueName: 'tree-a', opts: { jobId: 'month' },
        children: [{ name: 'archive', queueName: 'tree-b', opts: { jobId: 'archive' }, children: [child] }, { name: 'send', queueName: 'tree-a', opts: { jobId: 'send', delay: 600_000 } }],
      });
      await page.goto(`${rest.url}/#/flows`);
      await page.click('.sched a:has-text("month")');
      await page.waitForSelector('.tree');
      const lines = await page.locator('.tree .line').allTextContents();
      assert.equal(lines.length, 4);
      assert.match(lines[0], /month.*tree-a.*waits for 2/);
      assert.match(await page.textContent('.tree ul ul .line:has-text("zip")'), /tree-b.*waits for a worker/);
      assert.match(await page.textContent('.tree .line:has-text("send")'), /due in (9|10) min/);
      // From a child the whole family is reached.
      await page.click('.tree a:has-text("zip")');
      await page.click('.facts a:has-text("parent and siblings")');
      await page.waitForSelector('.tree .line:has-text("month")');
      const worker = new Worker('tree-b', async () => 'ok', { connection });
      await page.waitForSelector('.tree .line:has-text("archive"):has(.dot.done)');
      await worker.close();
      await flows.close();
    });

    test('who may only look sees no buttons', async () => {
      const context = await browser.newContext();
      const looked = await context.newPage();
      await looked.goto(`${rest.url}/#token=${readonlyToken}`);
      await looked.goto(`${rest.url}/#/queue/${idOf('mail')}/failed`);
      await looked.waitForSelector('table.jobs tbody tr');
      assert.equal(await looked.locator('[data-act]:visible, [data-ask]:visible, .menu:visible, .c-check:visible').count(), 0);
      await context.close();
    });
  });

  test('failed jobs are shown and retried by what they have in common, and one is copied', async () => {
    const alike = new Queue('alike', { connection });
    const fails = new Worker('alike', async (job) => { throw new Error(job.name === 'a' ? 'no such mailbox' : `timed out ${HOSTILE}`); }, { connection });
    for (let at = 0; at < 6; at += 1) await alike.add(at % 3 ? 'a' : 'b', { at });
    await until(async () => (await alike.getFailedCount()) === 6);
    await fails.close();
    await page.goto(`${rest.url}/#/queue/${idOf('alike')}/failed`);
    await page.click('.chip:has-text("timed out")');
    await page.waitForSelector('.foot-line:has-text("2 like this among 6 of 6")');
    assert.equal(await page.locator('table.jobs tbody tr').count(), 2);
    await page.click('text=Retry all like this');
    await page.waitForSelector('.toast:has-text("Retried 2 jobs of alike")');
    assert.equal(await alike.getFailedCount(), 4);
    assert.equal(await page.locator('#main img').count(), 0, 'what is in an error stays text');
    await page.click('.chip:has-text("All jobs")');
    await page.click('table.jobs tbody a');
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.click('text=Copy as JSON');
    await page.waitForSelector('.toast:has-text("Copied as JSON")');
    const copied = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
    assert.deepEqual([copied.queue, copied.name, copied.error], ['alike', 'a', 'no such mailbox']);
    await page.click('.facts a:has-text("who asks for it")');
    await page.waitForSelector('#main h1:has-text("Monitor")');
    assert.equal(await page.inputValue('[aria-label="Words"]'), copied.id);
    await alike.obliterate({ force: true });
    await alike.close();
  });

  test('what all ask for is seen from a click on, filtered', async () => {
    const looked = await browser.newPage();
    await looked.goto(`${rest.url}/#token=${rest.token}`);
    await looked.click('#nav a:has-text("Monitor")');
    await looked.click('#main a:has-text("Start")');
    await looked.waitForSelector('#main .sub:has-text("stops in")');
    const heard = new Redis({ ...address, connectionName: 'heard' });
    await heard.set('heard', HOSTILE);
    await looked.waitForSelector('#main tr:has-text("SET"):has-text("<img src=x")');
    await looked.fill('[aria-label="Client"]', 'heard');
    await looked.fill('[aria-label="Words"]', 'mark');
    await looked.keyboard.press('Enter');
    await looked.waitForSelector('#main .sub:has-text("of which")');
    await heard.get('no other');
    await heard.get('the mark');
    await looked.waitForSelector('#main tr:has-text("the mark")');
    assert.equal(await looked.locator('#main tbody tr').count(), 1);
    await looked.click('#main a:has-text("Stop")');
    await looked.waitForSelector('#main .sub:has-text("has stopped")');
    assert.equal(await looked.inputValue('[aria-label="Client"]'), 'heard');
    await heard.get('the mark, later');
    await looked.click('#main a:has-text("Start anew")');
    await looked.waitForSelector('#main .sub:has-text("stops in")');
    await heard.get('the mark again');
    await looked.waitForSelector('#main tr:has-text("again")');
    assert.equal(await looked.locator('#main tbody tr').count(), 1);
    heard.disconnect();
    await looked.close();
  });

  test('what clients do is seen as they do it, and what took long', async () => {
    const looked = await browser.newPage();
    await looked.goto(`${rest.url}/#token=${rest.token}`);
    await looked.waitForSelector('#nav a:has-text("Clients")');
    await looked.keyboard.press('g');
    await looked.keyboard.press('c');
    await looked.waitForSelector('#main h1:has-text("Clients")');
    const waits = new Redis({ ...address, connectionName: 'waits' });
    const row = looked.locator('#main tr:has-text("waits")').filter({ hasText: 'BLPOP' });
    const popped = waits.blpop(HOSTILE, 0);
    await row.waitFor({ timeout: 3000 });
    assert.match(String(await row.textContent()), /waits: BLPOP <img src=x/);
    await redis.rpush(HOSTILE, 'item');
    await popped;
    await row.filter({ hasText: 'waits:' }).waitFor({ state: 'detached', timeout: 3000 });
    waits.disconnect();
    const before = (await redis.config('GET', 'slowlog-log-slower-than'))[1];
    await redis.config('SET', 'slowlog-log-slower-than', '0');
    await redis.eval(`-- says ${HOSTILE}\nreturn 1`, 0);
    await redis.config('SET', 'slowlog-log-slower-than', before);
    await redis.hset(`${HOSTILE} of mine`, 'field', HOSTILE);
    await looked.click('#nav a:has-text("Keys")');
    await looked.fill('form.seek [name=match]', `${HOSTILE} of`);
    await looked.keyboard.press('Enter');
    await looked.waitForSelector('.foot-line:has-text("1 found")');
    await looked.click('#main td a:has-text("of mine")');
    await looked.waitForSelector('#main td:has-text("<img src=x")');
    await redis.hset(`${HOSTILE} of mine`, 'second', 'come later');
    await looked.waitForSelector('#main td:has-text("come later")', { timeout: 2000 });
    assert.equal(await looked.locator('#main img').count(), 0, 'what is in a key stays text');
    await redis.del(`${HOSTILE} of mine`);
    await looked.waitForSelector('text=What was shown here is gone');
    await looked.click('#nav a:has-text("Slow log")');
    await looked.waitForSelector('#main tr b:has-text("says <img")');
    await looked.click('#nav a:has-text("Commands")');
    await looked.waitForSelector('#main td:has-text("BLPOP")');
    assert.equal(await looked.locator('#main img').count(), 0, 'what a client says stays text');
    await looked.close();
  });

  test('keys are counted by how they begin, changed and deleted, and a client is closed', async () => {
    const looked = await browser.newPage();
    await looked.goto(`${rest.url}/#token=${rest.token}`);
    const confirm = () => looked.click('#ask footer .btn:last-child');
    for (let at = 0; at < 30; at += 1) await redis.set(`shop:cart:${at}`, 'x'.repeat(100));
    await redis.hset('shop:user:1', 'name', HOSTILE, 'pickled', Buffer.from('80048c057461736b738c026f6b934b0585522e', 'hex'));
    await redis.hpexpire('shop:user:1', 600_000, 'FIELDS', 1, 'name');
    await looked.click('#nav a:has-text("Keys")');
    await looked.click('.tree a:has-text("shop:")');
    await looked.waitForSelector('.tree .line:has-text("cart:"):has-text("30")');
    await looked.click('.tree a:has-text("user:")');
    await looked.click('#main td a:has-text("shop:user:1")');
    const row = (text) => looked.locator('#main tbody tr', { hasText: text });
    await row('name').waitFor();
    assert.match(String(await row('name').textContent()), /<img src=x.*(9|10) min/s);
    assert.match(String(await row('pickled').textContent()), /pickle.*tasks\.ok\(5\)/);
    await row('name').locator('text=Edit').click();
    assert.equal(await looked.inputValue('#ask [name=text]'), HOSTILE);
    await looked.fill('#ask [name=text]', `new ${HOSTILE}`);
    await confirm();
    await looked.waitForSelector('.toast:has-text("Changed shop:user:1")');
    assert.equal(await redis.hget('shop:user:1', 'name'), `new ${HOSTILE}`);
    assert.notDeepEqual(await redis.hpttl('shop:user:1', 'FIELDS', 1, 'name'), [-1]);
    await row('pickled').locator('text=Show').click();
    await looked.waitForSelector('#ask pre:has-text("tasks.ok(5)")');
    await looked.click('#ask >> text=Close');
    await row('pickled').locator('text=Remove').click();
    await confirm();
    await row('pickled').waitFor({ state: 'detached' });
    await looked.click('#main .actions >> text=Add');
    await looked.fill('#ask [name=name]', 'city');
    await looked.fill('#ask [name=text]', 'Oslo');
    await confirm();
    await row('Oslo').waitFor();
    await looked.click('#main .actions >> text=Delete');
    await looked.waitForSelector('#ask:has-text("2 elements go")');
    await confirm();
    await looked.waitForSelector('.toast:has-text("Deleted shop:user:1")');
    assert.equal(await redis.exists('shop:user:1'), 0);
    assert.equal(await looked.locator('#main img, #ask img').count(), 0, 'what is in a key stays text');
    const closed = new Redis({ ...address, connectionName: 'closed', retryStrategy: null });
    await closed.ping();
    const ended = new Promise((resolve) => { closed.once('end', resolve); });
    await looked.goto(`${rest.url}/#/clients`);
    await looked.locator('#main tr', { hasText: 'closed' }).locator('button').click();
    await looked.waitForSelector('#ask:has-text("Close the connection of closed?")');
    await confirm();
    await ended;
    for (let at = 0; at < 30; at += 1) await redis.del(`shop:cart:${at}`);
    await looked.close();
  });

  test('who may only read keys has no button for them', async () => {
    const looked = await browser.newContext();
    const page = await looked.newPage();
    await redis.set('only-read', 'x');
    await page.goto(`${rest.url}/#token=${readonlyToken}`);
    await page.waitForSelector('#nav a:has-text("All queues")');
    await page.goto(`${rest.url}/#/key/0/only-read`);
    await page.waitForSelector('#main :is(h1:has-text("only-read"), .problem)');
    assert.equal(await page.locator('#main [data-ask], #main [data-act]').count(), 0);
    const body = JSON.stringify({ db: 0, key: 'only-read' });
    const answer = await fetch(`${rest.url}/_toril/keys/delete`, { method: 'POST', body, headers: { authorization: `Bearer ${readonlyToken}` } });
    assert.equal(answer.status, 400);
    assert.match((await answer.json()).error, /^NOPERM/);
    assert.equal(await redis.get('only-read'), 'x');
    await redis.del('only-read');
    await looked.close();
  });

  test('a job is searched with the keyboard alone, by id and by text, and opened', async () => {
    const looked = await browser.newPage();
    await looked.goto(`${rest.url}/#token=${rest.token}`);
    await looked.waitForSelector('#nav a.search');
    const found = new Queue('found', { connection });
    const broken = Buffer.concat([Buffer.from('{"to":"broken-'), Buffer.from([0xff, 0xc3]), Buffer.from('-utf8"}')]);
    await found.add(HOSTILE, { html: HOSTILE, to: 'needle@example.com' }, { jobId: 'custom-id' });
    await found.add('large', { text: `${'x'.repeat(1 << 20)} needle at the end` }, { jobId: 'large' });
    await found.add('broken', {}, { jobId: 'broken' });
    await redis.hset('bull:found:broken', 'data', broken);
    await found.add('failing', { to: 'needle' }, { jobId: 'failing' });
    // What is typed before the field has come is held for it, and no key of the page's own.
    await looked.route('**/_toril/view/search*', async (route) => { await sleep(300); await route.continue(); });
    await looked.keyboard.press('/');
    await looked.keyboard.type('need');
    assert.equal(await looked.locator('#main form[data-search]').count(), 0, 'the view has not come yet');
    await looked.keyboard.type('le', { delay: 60 });
    await looked.waitForSelector('#main form[data-search] #q:focus');
    await looked.unrouteAll({ behavior: 'wait' });
    await looked.waitForSelector('.hits tr:nth-child(3)');
    assert.equal(await looked.inputValue('#q'), 'needle', 'what is typed stays while the view comes');
    assert.ok(await looked.evaluate(() => document.activeElement?.id === 'q'));
    await looked.waitForSelector('[role=status]:has-text("3 found in")');
    assert.equal(await looked.locator('.hits mark').first().textContent(), 'needle');
    assert.equal(await looked.locator('#main img').count(), 0, 'what is found stays text');
    assert.match(String(await looked.textContent('.hits tr:has-text("custom-id")')), /waiting.*<img src=x/s);
    // A worker takes them while they are shown.
    const taker = new Worker('found', async (job) => { if (job.name === 'failing') throw new Error('no'); }, { connection });
    await looked.waitForSelector('.hits tr:has-text("custom-id"):has-text("completed")', { timeout: 3000 });
    await looked.waitForSelector('.hits tr:has-text("failing"):has-text("failed")', { timeout: 3000 });
    await taker.close();
    await looked.keyboard.press('Control+A');
    await looked.keyboard.type('broken-');
    await looked.waitForSelector('.hits tr:has-text("broken-\ufffd")');
    assert.equal(await looked.locator('.hits tbody tr').count(), 1);
    await looked.keyboard.press('Control+A');
    await looked.keyboard.type('custom-id state:completed');
    await looked.waitForSelector('.hits tr:has-text("custom-id")');
    await looked.waitForFunction(() => location.hash.includes('completed'));
    await looked.keyboard.press('Enter');
    await looked.waitForFunction(() => document.activeElement?.closest('.hits'));
    await looked.keyboard.press('Enter');
    await looked.waitForSelector('.steps');
    assert.match(looked.url(), /#\/job\/.*\/custom%2Did$/);
    await looked.goBack();
    await looked.waitForSelector('.hits tr:has-text("custom-id")');
    assert.equal(await looked.inputValue('#q'), 'custom-id state:completed');
    await looked.fill('#q', 'foun');
    await looked.click('.hits a:has-text("found")');
    await looked.waitForSelector('.tabs [aria-selected=true]');
    await found.obliterate({ force: true });
    await found.close();
    await looked.close();
  });

  test('a server that is started anew is found again, and what is gone is said to be', async (t) => {
    const first = await startServer(t, '--http-port', '0');
    const looked = await browser.newPage();
    const own = first.http.url;
    const connection = { host: '127.0.0.1', port: first.port };
    const before = new Queue('before', { connection });
    await before.add('welcome', {});
    await looked.goto(`${own}/#/queue/${idOf('before')}`);
    await looked.waitForSelector('table.jobs tr:has-text("welcome")');
    await before.obliterate();
    await looked.waitForSelector('text=gone');
    await before.close();
    await looked.goto(`${own}/#/overview`);
    await looked.waitForSelector('h1:has-text("No queue yet")');
    process.kill(first.pid, 'SIGKILL');
    await looked.waitForSelector('#banner:has-text("Lost toril at")');
    const second = await startServer(t, '--port', String(first.port), '--http-port', new URL(own).port);
    const after = new Queue('after', { connection });
    await after.add('welcome', {});
    await looked.waitForSelector('#main tr:has-text("after")');
    await looked.waitForSelector('#banner', { state: 'hidden' });
    await after.close();
    process.kill(second.pid);
    await looked.close();
  });

  test('nothing overflows, and axe finds nothing, in both themes and on a phone', async () => {
    await page.close();
    const [newest] = await queue.getFailed(0, 0);
    await queue.upsertJobScheduler('yearly', { pattern: '0 3 1 1 *' }, { name: 'scheduled' });
    const id = idOf('mail');
    for (const colorScheme of ['light', 'dark']) {
      for (const width of [1280, 390]) {
        // Of playwright's own, axe's script would be refused by the page's policy.
        const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, bypassCSP: true });
        const looked = await context.newPage();
        await looked.goto(`${rest.url}/#token=${rest.token}`);
        for (const [view, button] of [['overview'], ['schedulers'], ['workers'], ['flows'], ['keys'], ['keys?db=0&match=bull%3A'], ['keys?db=0&match=bull&type=hash'], ['key/0/bull%3Amail%3Afailed'], ['key/0/bull%3Amail%3Ameta', 'td.acts >> text=Edit'], ['key/0/bull%3Amail%3Ameta', '.actions >> text=Delete'], ['clients', 'td.acts button'], ['key/0/bull%3Amail%3Ameta'], ['key/0/bull%3Amail%3Aevents'], ['clients'], ['slowlog'], ['commands'], ['monitor'], ['monitor?on=1&keep=yes&scripts=no'], ['search'], ['search?q=welcome'], ['search?q=img%20mailbox'], ['search?q=absent'], [`flow/${idOf('tree-a')}/month`], [`queue/${id}/failed`], [`queue/${id}/failed`, 'text=Add a job'],
          [`queue/${id}/failed?error=no%20such%20mailbox`], [`queue/${id}/failed`, '.tools .danger'], [`job/${id}/${newest.id}`]]) {
          await looked.goto(`${rest.url}/#/${view}`);
          await looked.waitForSelector('#main h1');
          if (button) await looked.click(button);
          await sleep(300);
          const wide = await looked.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 0, `${view} at ${width}: ${wide} px too wide`);
          const narrow = await looked.evaluate(() => [...document.querySelectorAll('#main td.c-name')]
            .filter((cell) => cell.checkVisibility() && cell.getBoundingClientRect().width < 24).length);
          assert.equal(narrow, 0, `${view} at ${width}: names that nobody can read`);
          await looked.addScriptTag({ path: axe });
          const found = await looked.evaluate(() => /** @type {any} */ (window).axe.run());
          const told = found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(' | ')}`);
          assert.deepEqual(told, [], `${view} at ${width}, ${colorScheme}`);
          await looked.keyboard.press('Escape');
        }
        await context.close();
      }
    }
  });

  test('the browser had nothing to complain of', () => {
    // What is refused, or gone, is told of by the browser as well.
    const own = complaints.filter((text) => !/status of 40[04]/.test(text));
    assert.deepEqual(own, []);
  });
});
