// TORIL CLOCK beside real queue libraries, whose processes follow through the clock file: what
// waits for a time runs as if it had passed, and no job runs twice. TORIL_SERVER names the program.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startServer } from './own-server.js';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const PRELOAD = new URL('../../packaging/npm/toril/clock/index.mjs', import.meta.url).href;

/** What is due at once takes some milliseconds, a journey of many steps not much more; these
 * machines have other things to do. */
const SOON_MS = 2_000;

const all = async (stream) => {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
};

/** Runs the scenarios of a file; each answers what came of it. */
async function scenarios(t, file, library) {
  const server = await startServer(t, '--clock', 'yes');
  if (!server) return t.skip('this server has no TORIL');
  const child = spawn(process.execPath, ['--import', PRELOAD, path(`clock/${file}.js`)], {
    env: { ...process.env, TORIL_PORT: server.port, TORIL_CLOCK: server.clock, LIBRARY: library },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output] = await Promise.all([all(child.stdout), once(child, 'exit')]);
  const results = JSON.parse(output.trim().split('\n').at(-1));
  for (const [name, { took }] of Object.entries(results)) t.diagnostic(`${name}: ${took} ms`);
  return results;
}

const soon = (ms) => typeof ms === 'number' && ms < SOON_MS;

/** Looks at the results by name; whatever a question does not name must be as usual. */
const checker = (t, results) => (name, question) => t.test(name, () => {
  const { took, threw, errors, ...result } = results[name];
  assert.equal(threw, undefined);
  assert.deepEqual(errors, []);
  assert(soon(took) || !name.startsWith('step by step'), `${took} ms`);
  question(result);
});

for (const library of ['bullmq-6', 'bullmq-5']) {
  test(`${library} follows the clock`, { timeout: 150_000 }, async (t) => {
    const results = await scenarios(t, 'bullmq', library);
    if (!results) return;
    const check = checker(t, results);
    await check('a delayed job', ({ early, ms }) => assert(early === 0 && soon(ms), `${ms}`));
    await check('a worker that is started later', ({ ms }) => assert(soon(ms), `${ms}`));
    await check('exponential backoff', ({ ages, ms, failed }) => {
      assert.deepEqual(ages, [0, 60, 180, 420]);
      assert(ms.every(soon), `${ms}`);
      assert.equal(failed, 1);
    });
    await check('a scheduler every hour', ({ minutes }) => {
      assert.deepEqual(minutes, [0, 60, 120, 180, 240]);
    });
    await check('a pattern of cron', ({ runs }) => assert.equal(runs, 4));
    await check('a limit of one an hour', ({ held, ms }) => assert(held === 1 && soon(ms), `${ms}`));
    await check('deduplication for an hour', (it) => assert.deepEqual(it, { isSame: true, isNew: true }));
    await check('removal after an hour', ({ left }) => assert.deepEqual(left, ['y']));
    await check('a job that is active across the jump', ({ runs, ms, counts }) => {
      assert(runs === 1 && soon(ms), `${runs} ${ms}`);
      assert.deepEqual(counts, { completed: 1, active: 0, failed: 0 });
    });
    await check('step by step, a scheduler every hour for a day', ({ runs, gaps }) => {
      assert.equal(runs, 24);
      assert.deepEqual(gaps, [3600]);
    });
    await check('step by step, a pattern of cron for a week', ({ at }) => {
      assert.deepEqual(at, Array(7).fill('09:00:00'));
    });
    await check('step by step, retries', (it) => {
      assert.deepEqual(it, { ages: [0, 60, 180, 420, 900], failed: 1 });
    });
    await check('step by step, a flow whose child is delayed', ({ ran }) => {
      assert.deepEqual(ran, ['child', 'parent']);
    });
    await check('step by step, a limit of one an hour', ({ minutes }) => {
      assert.deepEqual(minutes, [0, 60, 120, 180, 240]);
    });
    // The lock lasts for 30 s, and then another worker looks every 30 s, twice at least.
    await check('step by step, a job whose worker was killed', ({ seconds }) => {
      assert(seconds.length === 1 && seconds[0] >= 25 && seconds[0] <= 155, `${seconds}`);
    });
    await check('a job that does not end in time is named', ({ refusal }) => {
      const wanted =
        /^ERR not idle after 300 ms, at 20..-..-..T..:..:..(\.\d+)?Z, \d+ ms of 7 d gone: mail: job 1 \(welcome\) active for [\d.]+ m?s in worker 127\.0\.0\.1:\d+\. End the handler, or ADVANCE \.\.\. JUMP$/;
      assert.match(refusal, wanted);
    });
    await check('by itself', ({ ages, ms }) => {
      assert.deepEqual(ages, [72, 73, 75]);
      assert(soon(ms), `${ms}`);
    });
  });
}

test('Bull follows the clock', { timeout: 120_000 }, async (t) => {
  const results = await scenarios(t, 'bull');
  if (!results) return;
  const check = checker(t, results);
  await check('a delayed job', ({ early, ms }) => assert(early === 0 && soon(ms), `${ms}`));
  await check('exponential backoff', ({ ages }) => assert.deepEqual(ages, [0, 60, 120]));
  await check('every hour', ({ runs }) => assert.equal(runs, 4));
  await check('a limit of one an hour', ({ held, ms }) => assert(held === 1 && soon(ms), `${ms}`));
  await check('a job that is active across the jump', ({ runs, ms }) => {
    assert(runs === 1 && soon(ms), `${runs} ${ms}`);
  });
  await check('step by step, every hour for a day', ({ runs, gaps }) => {
    assert.equal(runs, 24);
    assert.deepEqual(gaps, [3600]);
  });
  await check('step by step, a pattern of cron for a week', ({ at }) => {
    assert.deepEqual(at, Array(7).fill('09:00:00'));
  });
  // Bull waits for 1, 3 and 7 times its delay.
  await check('step by step, retries', (it) => {
    assert.deepEqual(it, { ages: [0, 60, 240, 660], failed: 1 });
  });
  // Bull adds a tenth of the limit for each job that is held back.
  await check('step by step, a limit of one an hour', (it) => {
    assert.deepEqual(it.minutes, [0, 60, 126, 192, 258]);
  });
});

test('bee-queue follows the clock', { timeout: 120_000 }, async (t) => {
  const results = await scenarios(t, 'bee-queue');
  if (!results) return;
  const check = checker(t, results);
  await check('a delayed job', ({ early, ms }) => assert(early === 0 && soon(ms), `${ms}`));
  await check('backoff', ({ runs }) => assert.equal(runs, 3));
  await check('a job that is active across the jump', ({ runs, ms }) => {
    assert(runs === 1 && soon(ms), `${runs} ${ms}`);
  });
  await check('step by step, retries', (it) => {
    assert.deepEqual(it, { minutes: [0, 60, 180, 420, 900], failed: 1 });
  });
});
