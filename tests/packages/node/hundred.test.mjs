// A hundred servers at once: each answers, and each is small.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { start } from 'toril';

const COUNT = 100;

/** What an idle server may take for itself alone. */
const PRIVATE_KB_MAX = 1_024;

/** The sizes of a process that nobody shares, in kB. */
function privateKb(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const sizes = [...text.matchAll(/^Private_\w+:\s+(\d+) kB$/gm)].map(([, size]) => Number(size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

test('a hundred servers', { skip: process.platform !== 'linux' }, async (t) => {
  const started = performance.now();
  const servers = await Promise.all(Array.from({ length: COUNT }, () => start()));
  t.diagnostic(`started in ${Math.round(performance.now() - started)} ms`);
  try {
    const ports = new Set(servers.map((server) => server.port));
    assert.equal(ports.size, COUNT);
    await Promise.all(servers.map((server) => server.command('SET', 'key', server.port)));
    const kept = await Promise.all(servers.map((server) => server.command('GET', 'key')));
    assert.deepEqual(kept, servers.map((server) => String(server.port)));
    const sizes = servers.map((server) => privateKb(server.pid)).sort((a, b) => a - b);
    t.diagnostic(`private memory: ${sizes[COUNT / 2]} kB at the median, ${sizes.at(-1)} at most`);
    assert.ok(sizes.at(-1) <= PRIVATE_KB_MAX, `${sizes.at(-1)} kB`);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
});
