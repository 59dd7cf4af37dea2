// Runs the parts of the comparison and writes their medians. Called by benches/run, which says how.
//
// One server is up at a time, fresh for each run, and servers take turns, so that a slow minute of
// the machine meets them all. What fails on a server leaves a gap in the tables and is told at the
// end; only a job that was lost or ran twice ends the run.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { TABLES } from './measures.mjs';
import { makeParts } from './parts.mjs';
import { Probe } from './probe.mjs';
import { describeMachine, renderPage, renderTable, write, writeTable } from './report.mjs';
import { MISCOUNTED } from './servers.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const isQuick = process.argv.includes('--quick');
const only = wordsAfter('--only');
const roundsMax = isQuick ? 1 : Number(wordsAfter('--rounds')?.[0] ?? Infinity);

const tools = installOracles();
const servers = [
  { name: 'toril', program: `${process.env.CARGO_TARGET_DIR ?? `${root}/target`}/release/toril` },
  ...['redis-7.4', 'valkey', 'redis-7.0']
    .filter((name) => tools.has(name))
    .map((name) => ({ name, program: tools.get(name) })),
];
const parts = makeParts({ servers, tools, probe: new Probe(root), root });
const unknown = only?.filter((name) => parts.every((part) => part.name !== name)) ?? [];
if (unknown.length > 0) {
  console.error(`${unknown} is no part: ${parts.map(({ name }) => name).join(',')}`);
  process.exit(1);
}

const machine = describeMachine(servers);
const failures = [];
const results = {};
for (const part of parts.filter(({ name }) => !only || only.includes(name))) {
  results[part.name] = await measurePart(part);
  const tables = TABLES.filter((table) => table.part === part.name);
  console.log(`\n${tables.map((table) => renderTable(table, results)).join('\n')}`);
}
for (const failure of failures) console.error(failure);
if (!isQuick && !only) write(renderPage({ machine, results }), results);
if (!isQuick && process.argv.includes('--write')) {
  TABLES.filter((table) => results[table.part]).forEach((table) => writeTable(table, results, machine));
}
process.exitCode = failures.length > 0 ? 1 : 0;

/** The figures of each contender in each round, as `{key.key: number}`. */
async function measurePart({ name, rounds, sizes, quick, contenders }) {
  const samples = Object.fromEntries(contenders.map((contender) => [contender.name, []]));
  const count = Math.min(rounds, roundsMax);
  for (let round = 0; round < count; round++) {
    for (const contender of rotated(contenders, round)) {
      const title = `${name}, round ${round + 1}: ${contender.name}`;
      console.error(title);
      try {
        samples[contender.name].push(flat(await contender.measure(isQuick ? quick : sizes)));
      } catch (error) {
        if (error.code === MISCOUNTED) throw error;
        const why = error.killed ? 'it took too long' : error.stderr || error.message;
        failures.push(`${title}: ${why}`);
      }
    }
  }
  return { samples, rounds: count };
}

function wordsAfter(option) {
  const at = process.argv.indexOf(option);
  return at < 0 ? undefined : process.argv[at + 1]?.split(',');
}

function installOracles() {
  const printed = execFileSync(`${root}/tests/oracles.sh`, { encoding: 'utf8' });
  return new Map(printed.trim().split('\n').map((line) => line.split(' ')));
}

function rotated(list, by) {
  const from = list.length > 0 ? by % list.length : 0;
  return [...list.slice(from), ...list.slice(0, from)];
}

function flat(figures, prefix = '') {
  const entries = Object.entries(figures).flatMap(([key, value]) =>
    typeof value === 'object'
      ? Object.entries(flat(value, `${prefix}${key}.`))
      : [[`${prefix}${key}`, value]],
  );
  return Object.fromEntries(entries);
}
