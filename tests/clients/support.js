// What every client test needs: where the server is, names nobody else uses, waiting for a fact.
//
// The tests know nothing of toril: TORIL_HOST and TORIL_PORT may name any server that speaks
// Redis's protocol. Tests of several files share one server at the same time, so each works on
// names of its own, and none flushes or counts what belongs to others.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

export const address = {
  host: process.env.TORIL_HOST ?? '127.0.0.1',
  port: Number(process.env.TORIL_PORT ?? 6379),
};

export const url = `redis://${address.host}:${address.port}`;

// Long enough for a busy two-core machine; a test that needs it has failed.
const PATIENCE_MS = 20_000;

export function uniqueName(label) {
  return `${label}-${randomUUID()}`;
}

/** Polls until `question` answers something true, and answers that. */
export async function until(question, what = question.toString()) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`never came true: ${what}`);
    await sleep(5);
  }
}

/** Printed, never asserted: machines that run tests are noisy, and Redis polls at 10 Hz. */
export function printLateness(t, what, lateness_ms) {
  const sorted = lateness_ms.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  t.diagnostic(`${what}: late by p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${sorted.at(-1)} ms`);
}
