// The figures as Markdown, and their place in docs/benchmarks.md.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';

const require = createRequire(new URL('../../tests/clients/package.json', import.meta.url));
const page = new URL('../../docs/benchmarks.md', import.meta.url);
const BEGIN = '<!-- benches/run writes from here -->';
const END = '<!-- to here -->';

const JOBS = [
  ['add', 'add, 64 in flight'],
  ['bulk', 'addBulk, 500 a call'],
  ['process1', 'process, concurrency 1'],
  ['process50', 'process, concurrency 50'],
];

const HTTP = [
  ['get', 'GET in the path'],
  ['set', 'SET in the path'],
  ['postGet', 'GET as JSON'],
  ['postSet', 'SET as JSON'],
  ['pipeline', 'pipeline of 100 GETs'],
];

/** Taken before the measurements: the load that they met, not their own. */
export function describeMachine(servers) {
  const version = ({ name, program }) => {
    const printed = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
    // toril names the Redis that it stands in for before itself.
    return `${name}: ${/v=\S+ \(toril (\S+)\)|v=(\S+)/.exec(printed).slice(1).find(Boolean)}`;
  };
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' });
  const load = () => os.loadavg().map((average) => average.toFixed(1)).join(' ');
  return {
    load,
    loadBefore: load(),
    lines: [
      `${os.cpus().length} × ${os.cpus()[0].model}, ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`,
      `${os.type()} ${os.release()}, Node ${process.versions.node}`,
      `BullMQ ${require('bullmq-6/package.json').version} on ioredis ` +
        require('ioredis/package.json').version,
      `${servers.map(version).join('; ')}; toril's commit ${commit.trim()}`,
    ],
  };
}

export function render({ machine, samples, http, lateness, sizes, runs }) {
  const names = Object.keys(samples);
  const { row, speeds } = rows(samples);
  const delayed = ['p50', 'p99', 'max'].flatMap((figure) => [
    row(`delayed job late by ms, ${figure}`, 'delayed', figure, 2, false),
    row(`... after BullMQ's own time-out, ${figure}`, 'delayed', `${figure}Asked`, 2, false),
  ]);
  const head = ['', ...names, 'toril / best other'];
  const tests = Object.keys(samples[names[0]][0]).filter((key) => key.includes('/'));
  const benchmark = (depth) =>
    tests
      .filter((key) => key.endsWith(`/${depth}`))
      .map((key) => [key, key.split('/')[0].toUpperCase()]);
  return [
    `Measured on ${new Date().toISOString().slice(0, 10)}; load average before ` +
      `${machine.loadBefore}, after ${machine.load()}.\n`,
    ...machine.lines.map((line) => `- ${line}`),
    `\n### BullMQ\n\nMedian of runs: ${runs}.\n`,
    table(head, [
      ...speeds(JOBS),
      ...delayed,
      row(`resident bytes a job, ${number(sizes.memory, 0)} delayed`, 'memory', 'bytes', 0, false),
    ]),
    `\n### Blocking time-outs\n\nBZPOPMIN, late by µs.\n`,
    table(
      ['', 'server', 'time-outs', 'p50', 'p99', 'max', 'server CPU %'],
      lateness.map(({ name, condition, count, p50, p99, max, busy }) => [
        condition, name, count, ...[p50, p99, max].map((us) => number(us, 0)), busy || '',
      ]),
    ),
    `\n### redis-benchmark\n\nMedian of runs: ${runs}. 50 connections.\n`,
    table(head, speeds(benchmark(1))),
    `\nWith \`-P 16\`:\n`,
    table(head, speeds(benchmark(16))),
    `\n### HTTP\n\nMedian of runs: ${runs}. wrk, 50 connections that stay open.\n`,
    http ? table(['', ...Object.keys(http), 'toril / other'], rows(http).speeds(HTTP)) : 'Not run.',
  ].join('\n');
}

/** Makes rows of a table from what each server has shown in each run. */
function rows(samples) {
  const median = (runs, key, figure) => middle(runs.map((run) => run[key]?.[figure]));
  const row = (title, key, figure, digits, isMoreBetter) => {
    const values = Object.values(samples).map((runs) => median(runs, key, figure));
    return [title, ...values.map((value) => number(value, digits)), ratio(values, isMoreBetter)];
  };
  const speeds = (keys) => [
    ...keys.map(([key, title]) => row(`${title}: per s`, key, 'rate', 0, true)),
    ...keys.map(([key, title]) => row(`${title}: server CPU µs each`, key, 'cpu', 2, false)),
  ];
  return { row, speeds };
}

/** Replaces what an earlier run has written into docs/benchmarks.md. */
export function write(report) {
  const text = readFileSync(page, 'utf8');
  const [before] = text.split(BEGIN);
  const [, after] = text.split(END);
  writeFileSync(page, `${before}${BEGIN}\n\n${report}\n\n${END}${after}`);
}

function middle(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function number(value, digits) {
  if (value === undefined) return '–';
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString('en', options);
}

function ratio([toril, ...others], isMoreBetter) {
  const known = others.filter((value) => value !== undefined);
  if (known.length === 0) return '–';
  const best = isMoreBetter ? Math.max(...known) : Math.min(...known);
  return `${(toril / best).toFixed(2)} ×`;
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, index) => (index === 0 ? '---' : '--:'));
  return [head, rule, ...rows].map(line).join('\n');
}
