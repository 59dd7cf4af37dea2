// How much the server grows by a job that waits for its time, or that is done and kept; as it
// comes, and after a rest, with the CPU that the server has used meanwhile.

import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuUs, residentBytes } from '../servers.mjs';
import { addBulk, expectCounts, pid, processAll, sizes, withQueue } from './client.mjs';

const HOUR_MS = 3_600_000;
/** Orders of some 250 bytes. */
const ORDERS_IN_2_KB = 8;

const figures = await withQueue('memory', async (queue) => {
  const { make, count } = sizes.areKept
    ? { make: () => addAndProcess(queue, sizes.kept), count: sizes.kept }
    : { make: () => addDelayed(queue, sizes.delayed), count: sizes.delayed };
  await addDelayed(queue, 1);
  const before = residentBytes(pid);
  await make();
  const bytes = (residentBytes(pid) - before) / count;
  // Who does not tidy up while idle stays as it came.
  if (!sizes.restMs) return { bytes, restedBytes: bytes };
  const startedUs = cpuUs(pid);
  await sleep(sizes.restMs);
  return {
    bytes,
    restedBytes: (residentBytes(pid) - before) / count,
    restCpu: (cpuUs(pid) - startedUs) / count,
  };
});
console.log(JSON.stringify(figures));

async function addDelayed(queue, count) {
  const before = await queue.getDelayedCount();
  await addBulk(queue, count, { data: order, opts: () => ({ delay: HOUR_MS }) });
  await expectCounts(queue, { delayed: before + count });
}

async function addAndProcess(queue, count) {
  const data = () => ({ orders: Array.from({ length: ORDERS_IN_2_KB }, order) });
  await addBulk(queue, count, { data });
  await processAll(queue, count, 50, { remain: { delayed: 1 } });
}

/** Its shape repeats, its values do not. */
function order() {
  const item = () => ({ sku: letters(8), count: 1 + Math.floor(Math.random() * 9) });
  return {
    orderId: randomUUID(),
    customer: letters(14),
    email: `${letters(12)}@${letters(6)}.com`,
    address: letters(24),
    total: Math.round(Math.random() * 100_000) / 100,
    items: [item(), item()],
    note: letters(24),
  };
}

function letters(count) {
  return randomBytes(count).toString('base64url').slice(0, count).toLowerCase();
}
