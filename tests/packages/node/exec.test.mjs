// `toril exec --clock`: a command, its worker and its children, none of which knows toril's package.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const DAY_MS = 86_400_000;

test('a job that is delayed by a day runs when the command moves the time', async () => {
  const script = `
    import { Queue, Worker } from 'bullmq';
    import { Redis } from 'ioredis';
    const connection = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
    // What waits for workers must not stand in their way.
    const control = connection.duplicate();
    const queue = new Queue('mail', { connection });
    const begun = Date.now();
    let ran = 0;
    const worker = new Worker('mail', async () => { ran = Date.now(); }, { connection });
    await queue.add('late', {}, { delay: ${DAY_MS} });
    await control.call('TORIL', 'CLOCK', 'ADVANCE', '2d');
    console.log(JSON.stringify({ after: ran - begun, now: Date.now() - begun }));
    await worker.close();
    await queue.close();
    await connection.quit();
    await control.quit();`;
  const command = [process.execPath, '--input-type=module', '-e', script];
  const { stdout, stderr } = await promisify(execFile)(
    'npx',
    ['toril', 'exec', '--clock', '--', ...command],
    { cwd: import.meta.dirname, timeout: 30_000 },
  );
  assert.equal(stderr, '');
  const { after, now } = JSON.parse(stdout);
  assert.ok(after >= DAY_MS && after < DAY_MS + 5_000, `it ran after ${after} ms`);
  assert.ok(now >= 2 * DAY_MS && now < 2 * DAY_MS + 5_000, `it is ${now} ms later`);
});
