// What `appendfsync everysec` costs a job of BullMQ, beside the same server without a file: pairs of
// fresh servers in turn, and the medians of their ratios.
//
//     node everysec.mjs NAME=PROGRAM... [--rounds 7]

import { fileURLToPath } from 'node:url';
import { run, withServer } from './servers.mjs';

const SPEED = fileURLToPath(new URL('bullmq/speed.mjs', import.meta.url));
const SIZES = { warmUp: 1_000, add: 20_000, bulk: 20_000, process1: 2_000, process50: 20_000, flows: 1_000 };
const POLICIES = { off: [], everysec: ['--appendonly', 'yes', '--appendfsync', 'everysec'] };
const FIGURES = ['add', 'bulk', 'process50', 'flow'];

const words = process.argv.slice(2);
const at = words.indexOf('--rounds');
const [, rounds = '7'] = at < 0 ? [] : words.splice(at, 2);
for (const word of words) {
  const [name, program] = word.split('=');
  const ratios = Object.fromEntries(FIGURES.map((figure) => [figure, { rate: [], cpu: [] }]));
  for (let round = 0; round < Number(rounds); round++) {
    const order = Object.keys(POLICIES);
    if (round % 2) order.reverse();
    const told = {};
    for (const policy of order) told[policy] = await measure(name, program, POLICIES[policy]);
    for (const figure of FIGURES) {
      for (const what of ['rate', 'cpu']) {
        ratios[figure][what].push(told.everysec[figure][what] / told.off[figure][what]);
      }
    }
  }
  for (const figure of FIGURES) {
    const { rate, cpu } = ratios[figure];
    console.log(`${name} | ${figure} | jobs/s x ${median(rate)} | CPU a job x ${median(cpu)}`);
  }
}

async function measure(name, program, options) {
  return withServer({ name, program, options }, async ({ port, pid }) =>
    JSON.parse(await run('node', [SPEED, JSON.stringify({ port, pid, sizes: SIZES })])),
  );
}

/** With the least and the most. */
function median(values) {
  const sorted = values.toSorted((a, b) => a - b).map((it) => it.toFixed(3));
  return `${sorted[sorted.length >> 1]} (${sorted[0]} to ${sorted.at(-1)})`;
}
