// Writes the pictures of docs/images: `node tests/clients/http/pictures.js` with a server's program in
// TORIL_SERVER. They are looked at before they are kept.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { sleep, until } from '../support.js';
import { launch } from './chromium.js';

const { Queue, Worker } = createRequire(import.meta.url)('bullmq-6');
const IMAGES = fileURLToPath(new URL('../../../docs/images/', import.meta.url));
/** So long queues are busy before, for a minute of history. */
const BUSY_MS = Number(process.env.BUSY_MS ?? 62_000);

const args = ['--port', '7920', '--http-port', '8079', '--announce', 'json'];
const server = spawn(process.env.TORIL_SERVER ?? 'toril', args, { stdio: ['ignore', 'pipe', 'inherit'] });
let port;
for await (const line of createInterface({ input: server.stdout })) {
  if (!line.startsWith('{"toril":')) continue;
  ({ port } = JSON.parse(line));
  break;
}

const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const open = (name) => new Queue(name, { connection, defaultJobOptions: { removeOnComplete: 900, removeOnFail: 400 } });
const [mail, images, digest, reports] = ['mail', 'images', 'digest', 'reports'].map(open);
/** An error as an application's own would be, wherever this runs. */
function problem(text) {
  const own = new Error(text);
  own.stack = `Error: ${text}\n    at send (/app/src/mail/smtp.js:84:11)\n    at async deliver (/app/src/mail/deliver.js:27:5)\n    at async Worker.process (/app/src/worker.js:12:3)`;
  return own;
}
const locales = ['de-DE', 'en-GB', 'fr-FR', 'nb-NO'];
const workers = [
  new Worker('mail', async (job) => {
    await sleep(20 + (job.data.n % 7) * 9);
    if (job.data.n % 11 === 0) throw problem('SMTP 550 5.1.1 mailbox unavailable');
    if (job.data.n % 37 === 0) throw problem('connect ETIMEDOUT 192.0.2.7:25');
    return { accepted: [job.data.to], ms: 20 + (job.data.n % 7) * 9 };
  }, { connection, name: 'mailer-1', concurrency: 4 }),
  new Worker('images', async () => sleep(90), { connection, name: 'resizer-1' }),
];
await digest.pause();
for (let n = 0; n < 15; n += 1) await digest.add('weekly', { n });
await reports.upsertJobScheduler('monthly', { pattern: '0 3 1 * *' }, { name: 'month' });
await mail.upsertJobScheduler('reminders', { every: 600_000 }, { name: 'reminder' });
let n = 0;
const names = ['welcome', 'receipt', 'invoice', 'reminder'];
const timer = setInterval(() => {
  n += 1;
  const to = `ada${n}@example.com`;
  const data = { n, to, template: names[n % 4], locale: locales[n % 4], order: { id: 7000 + n, total: (n % 90) + 0.5 } };
  void mail.add(names[n % 4], data, { attempts: 2, backoff: 900, delay: n % 13 === 0 ? 2_000 : 0 });
  if (n % 4 === 0) void images.add('resize', { file: `cat-${n}.jpg`, width: 320 });
}, 45);

const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
await page.goto('http://127.0.0.1:8079/');
await page.locator('.queues tr:has-text("mail")').waitFor();
await sleep(BUSY_MS);
const take = async (name, before) => {
  await before();
  await sleep(1200);
  await page.screenshot({ path: `${IMAGES}${name}.png` });
};
await take('overview', async () => {});
await take('queue', async () => {
  await page.click('.queues a:has-text("mail")');
  await page.click('.tabs a:has-text("Failed")');
  await page.hover('table.jobs tbody tr:nth-child(4)');
});
clearInterval(timer);
await take('job', async () => {
  await page.click('table.jobs tbody tr:nth-child(4) td.c-name a');
  await page.locator('.steps').waitFor();
});
await take('search', async () => {
  await page.mouse.move(0, 0);
  await page.keyboard.press('/');
  await page.locator('#q:focus').waitFor();
  await page.keyboard.type('ETIMEDOUT');
  await page.locator('.hits tbody tr').first().waitFor();
});

await browser.close();
await Promise.all(workers.map((it) => it.close(true)));
await Promise.all([mail, images, digest, reports].map((it) => it.close()));
server.kill();
await once(server, 'exit');
