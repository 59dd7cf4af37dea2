// What the scenarios of time travel need. Each file beside this one is a program: it follows the
// clock of its server (packaging/npm/toril/clock), runs its scenarios one after the other, and
// prints what came of them as a line of JSON.

import { Redis } from 'ioredis';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** How long something may take that is due at once. */
const PATIENCE_MS = 5_000;

export const connection = {
  host: '127.0.0.1',
  port: Number(process.env.TORIL_PORT),
  maxRetriesPerRequest: null,
};

export const redis = new Redis(connection);

/** Real time, which no test moves. */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Moves the server's clock ahead at once. */
export const jump = (ms) => redis.call('TORIL', 'CLOCK', 'ADVANCE', ms, 'JUMP');

/** Goes ahead from one due moment to the next. */
export const advance = (...words) => redis.call('TORIL', 'CLOCK', 'ADVANCE', ...words);

/** Real milliseconds until a question is answered by something true; null if it never is. */
export async function taken(question, patience = PATIENCE_MS) {
  const begun = performance.now();
  while (performance.now() - begun < patience) {
    if (await question()) return Math.round(performance.now() - begun);
    await sleep(2);
  }
  return null;
}

/**
 * A job is active while the clock jumps by an hour, and for as long after it as it takes to find
 * jobs stalled: how often it runs. `begin` has a processor work, adds one job for it, and answers
 * the question whether that is completed.
 */
export async function acrossTheJump(begin) {
  let release;
  const gate = new Promise((resolve) => (release = resolve));
  let runs = 0;
  const isCompleted = await begin(async () => {
    runs += 1;
    await gate;
  });
  await taken(() => runs === 1);
  await sleep(400);
  await jump(HOUR_MS);
  await sleep(900);
  release();
  return { runs, ms: await taken(isCompleted) };
}

export const minutes = (moments) => moments.map((it) => Math.round((it - moments[0]) / 60_000));

let count = 0;
export const uniqueName = () => `q${(count += 1)}`;

/** Runs scenarios, each with things that are closed at its end, and prints what they answer. */
export async function run(scenarios) {
  const results = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    const open = [];
    const errors = [];
    const opened = (thing) => {
      thing.on('error', (error) => errors.push(error.message));
      open.push(thing);
      return thing;
    };
    const begun = performance.now();
    try {
      results[name] = { ...(await scenario(opened)), errors: [...new Set(errors)] };
    } catch (error) {
      results[name] = { threw: error.message };
    }
    results[name].took = Math.round(performance.now() - begun);
    await Promise.all(open.map((thing) => thing.close(true)));
  }
  console.log(JSON.stringify(results));
  process.exit(0);
}
