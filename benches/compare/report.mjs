// The figures as Markdown, and their place in docs/benchmarks.md.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { PICTURED, TABLES } from './measures.mjs';
import { drawBars } from './picture.mjs';

const require = createRequire(new URL('../../tests/clients/package.json', import.meta.url));
const page = new URL('../../docs/benchmarks.md', import.meta.url);
const picture = new URL('../../docs/benchmarks.svg', import.meta.url);
const BEGIN = '<!-- benches/run writes from here -->';
const END = '<!-- to here -->';

/** What toril is not compared with: it says what the machine or the client allows. */
const FLOORS = ['BullMQ alone', 'a bare timer'];

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
    commit: commit.trim(),
    lines: [
      `${os.cpus().length} × ${os.cpus()[0].model}, ${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`,
      `${os.type()} ${os.release()}, Node ${process.versions.node}`,
      `BullMQ ${require('bullmq-6/package.json').version} on ioredis ` +
        require('ioredis/package.json').version,
      `${servers.map(version).join('; ')}; toril's commit ${commit.trim()}`,
    ],
  };
}

export function renderPage({ machine, results }) {
  return [
    `Measured on ${new Date().toISOString().slice(0, 10)}; load average before ` +
      `${machine.loadBefore}, after ${machine.load()}.\n`,
    ...machine.lines.map((line) => `- ${line}`),
    ...TABLES.map((table) => `\n${renderTable(table, results)}`),
  ].join('\n');
}

/** A heading and a row for each figure; a gap where a server has none. */
export function renderTable({ part, title, rows }, results) {
  const { samples, rounds } = results[part];
  const names = Object.keys(samples);
  if (names.length === 0) return `### ${title}\n\nNot run.`;
  const others = names.slice(1).filter((name) => !FLOORS.includes(name));
  const hasTargets = rows.some(({ target }) => target);
  const ratioHead = others.length > 1 ? 'toril / best other' : 'toril / other';
  const head = [
    '', ...names, ...(others.length > 0 ? [ratioHead] : []), ...(hasTargets ? ['target'] : []),
  ];
  const body = rows.map(({ key, title, digits, isMoreBetter, target }) => {
    const value = Object.fromEntries(names.map((name) => [name, median(samples[name], key)]));
    const ratio = ratioToBest(value[names[0]], others.map((name) => value[name]), isMoreBetter);
    return [
      title,
      ...names.map((name) => number(value[name], digits)),
      ...(others.length > 0 ? [ratio === undefined ? '–' : `${ratio.toFixed(2)} ×`] : []),
      ...(hasTargets ? [verdict(target, value[names[0]], ratio)] : []),
    ];
  });
  const medians = rounds > 1 ? `Medians of ${rounds} runs.\n\n` : '';
  return `### ${title}\n\n${medians}${table(head, body)}`;
}

/** Replaces what an earlier run has written, the picture included. */
export function write(report, results) {
  const text = readFileSync(page, 'utf8');
  const [before] = text.split(BEGIN);
  const [, after] = text.split(END);
  writeFileSync(page, `${before}${BEGIN}\n\n${report}\n\n${END}${after}`);
  const groups = PICTURED.map(({ part, key, ...about }) => {
    const samples = Object.entries(results[part].samples);
    const bars = samples
      .filter(([name]) => !FLOORS.includes(name))
      .map(([name, runs]) => ({ name, value: median(runs, key) }));
    return { ...about, bars: bars.filter(({ value }) => value !== undefined) };
  });
  writeFileSync(picture, drawBars(groups));
}

/** Replaces one table, and says that it was measured apart from the others. */
export function writeTable(table, results, { commit }) {
  const text = readFileSync(page, 'utf8');
  const heading = `### ${table.title}\n`;
  const when = `Measured by itself on ${new Date().toISOString().slice(0, 10)}, commit ${commit}.`;
  const rendered = renderTable(table, results).replace(heading, `${heading}\n${when}\n`);
  const from = text.indexOf(heading);
  // A new one comes last.
  const at = from < 0 ? text.indexOf(END) : from;
  const ends = ['\n### ', `\n${END}`].map((mark) => text.indexOf(mark, at)).filter((it) => it >= 0);
  const end = from < 0 ? at : Math.min(...ends);
  writeFileSync(page, `${text.slice(0, at)}${rendered}\n${text.slice(end)}`);
}

function median(runs, key) {
  const values = runs.map((run) => run[key]).filter((value) => value !== undefined);
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function ratioToBest(toril, others, isMoreBetter) {
  const known = others.filter((value) => value !== undefined);
  const best = isMoreBetter ? Math.max(...known) : Math.min(...known);
  return toril === undefined || !(best > 0) || known.length === 0 ? undefined : toril / best;
}

function verdict(target, value, ratio) {
  if (!target) return '';
  if (value === undefined) return target.text;
  return `${target.text}: ${target.isMet({ value, ratio }) ? 'met' : '**missed**'}`;
}

function number(value, digits) {
  if (value === undefined || value === null) return '–';
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString('en', options);
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, index) => (index === 0 ? '---' : '--:'));
  return [head, rule, ...rows].map(line).join('\n');
}
