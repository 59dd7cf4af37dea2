// The parts of the comparison: what is done to a fresh server to get its figures, how large, how
// often. Sizes are given twice: in full, and for `--quick`.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { httpContenders } from './http.mjs';
import { addressOf } from './probe.mjs';
import { measureRequests } from './requests.mjs';
import { run, withServer } from './servers.mjs';
import { measureTypes } from './types.mjs';

const BUSY_PERCENT = 50;

/** Every part has contenders, which are measured in turns, each by `measure(sizes)`. */
export function makeParts({ servers, tools, probe, root }) {
  const onEach = (measure) =>
    servers.map((server) => ({
      name: server.name,
      measure: (sizes) => measure(server, sizes),
    }));
  const onFresh = (measure, options = []) =>
    onEach((server, sizes) =>
      withServer({ ...server, options }, (process) => measure(process, sizes, server)),
    );
  return [
    {
      name: 'jobs',
      rounds: 5,
      sizes: {
        warmUp: 1_000, add: 10_000, bulk: 10_000, process1: 4_000, process50: 10_000, flows: 400,
      },
      quick: {
        warmUp: 200, add: 1_000, bulk: 1_000, process1: 500, process50: 1_000, flows: 50,
      },
      contenders: onFresh((process, sizes) => bullmq('speed', process, sizes)),
    },
    {
      name: 'delayed',
      rounds: 5,
      sizes: { warmUp: 1_000, fixedWarmUp: 100, delayed: 400, spanMs: 4_000 },
      quick: { warmUp: 200, fixedWarmUp: 20, delayed: 100, spanMs: 1_000 },
      contenders: [
        ...onFresh(async (process, sizes) => {
          const load = ['load', addressOf(process), BUSY_PERCENT];
          return {
            idle: await bullmq('lateness', process, sizes),
            busy: await probe.beside(load, () => bullmq('lateness', process, sizes)),
          };
        }),
        {
          name: 'BullMQ alone',
          measure: (sizes) =>
            probe.beside(['fixed'], async (port) => ({
              idle: await bullmq('lateness', { port: Number(port) }, { ...sizes, isFixed: true }),
            })),
        },
      ],
    },
    {
      name: 'memory',
      rounds: 5,
      sizes: { delayed: 100_000, kept: 20_000, restMs: 30_000 },
      quick: { delayed: 10_000, kept: 2_000, restMs: 2_000 },
      contenders: onEach(async (server, { restMs, ...sizes }) => {
        const grow = (areKept) =>
          withServer(server, (process) =>
            bullmq('memory', process, { ...sizes, areKept, restMs: restFor(server, restMs) }),
          );
        return { delayed: await grow(false), kept: await grow(true) };
      }),
    },
    {
      name: 'depth',
      rounds: 5,
      sizes: { warmUp: 1_000, jobs: 5_000, depths: { '1k': 1e3, '100k': 1e5, '1M': 1e6 } },
      quick: { warmUp: 200, jobs: 500, depths: { '1k': 1e3, '100k': 1e4, '1M': 1e5 } },
      contenders: onFresh((process, sizes) => bullmq('depth', process, sizes)),
    },
    {
      name: 'requests',
      rounds: 5,
      sizes: { requests: 60_000, pipelined: 300_000 },
      quick: { requests: 10_000, pipelined: 50_000 },
      contenders: onFresh((process, sizes) =>
        measureRequests(process, tools.get('redis-benchmark'), sizes),
      ),
    },
    {
      name: 'types',
      rounds: 5,
      sizes: { share: 1 },
      quick: { share: 0.2 },
      contenders: onFresh((process, sizes) =>
        measureTypes(process, tools.get('redis-benchmark'), sizes),
      ),
    },
    {
      name: 'connections',
      rounds: 5,
      sizes: { connections: 10_000, workers: 4_000, pushes: 10_000 },
      quick: { connections: 1_000, workers: 400, pushes: 1_000 },
      contenders: onFresh(
        async (process, { connections, workers, pushes }) => {
          const figures = await probe.measure(
            'connections', addressOf(process), connections, workers, pushes,
          );
          return { ...figures, pushGrowth: figures.pushToManyUs / figures.pushTo1Us };
        },
        ['--maxclients', 12_000],
      ),
    },
    {
      name: 'stalls',
      rounds: 5,
      sizes: { keys: 5_000_000, elements: 1_000_000 },
      quick: { keys: 200_000, elements: 100_000 },
      contenders: onFresh(async (process, { keys, elements }) => {
        const { idleMs, ...stalls } = await probe.measure(
          'stalls', addressOf(process), keys, elements,
        );
        return { idleMs, above: mapped(stalls, (ms) => Math.max(0, ms - idleMs)) };
      }),
    },
    {
      name: 'start',
      rounds: 5,
      sizes: { starts: 20 },
      quick: { starts: 5 },
      contenders: onFresh(async (process, { starts }, { name, program }) => {
        const figures = await probe.measure('start', addressOf(process), program, starts);
        return {
          firstPongMs: figures.firstPongMs,
          residentMb: figures.residentBytes / 2 ** 20,
          programMb: strippedBytes(readlinkSync(`/proc/${process.pid}/exe`), name) / 2 ** 20,
        };
      }),
    },
    {
      name: 'script',
      rounds: 1,
      sizes: {},
      quick: {},
      contenders: [{ name: 'toril', measure: () => measureScript(root) }],
    },
    {
      name: 'timeouts',
      rounds: 1,
      sizes: { count: 1_000 },
      quick: { count: 200 },
      contenders: [
        ...onFresh((process, { count }) => probe.measure('timeouts', addressOf(process), count)),
        { name: 'a bare timer', measure: ({ count }) => probe.measure('floor', count) },
      ],
    },
    {
      name: 'http',
      rounds: 5,
      sizes: { seconds: 3 },
      quick: { seconds: 1 },
      contenders: httpContenders({ toril: servers[0], tools }),
    },
  ];
}

/** A client of BullMQ: a program of this folder. */
async function bullmq(program, { port, pid }, sizes) {
  const path = fileURLToPath(new URL(`bullmq/${program}.mjs`, import.meta.url));
  return JSON.parse(await run(process.execPath, [path, JSON.stringify({ port, pid, sizes })]));
}

/** Only toril does anything that a rest could show. */
function restFor({ name }, restMs) {
  return name === 'toril' ? restMs : 0;
}

/** The others come without symbols already. */
function strippedBytes(program, name) {
  if (name !== 'toril') return statSync(program).size;
  const folder = mkdtempSync(join(tmpdir(), 'toril-bench-'));
  try {
    const copy = join(folder, name);
    copyFileSync(program, copy);
    execFileSync('strip', [copy]);
    return statSync(copy).size;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What criterion prints of it: the estimate stands between the bounds. */
async function measureScript(root) {
  const words = ['bench', '--manifest-path', `${root}/Cargo.toml`, '--bench', 'engine', '--'];
  const printed = await run('cargo', [...words, '--noplot', 'script of 24 calls']);
  const [, value, unit] = /time:\s+\[\S+ \S+ (\S+) (\S+)/.exec(printed);
  return { us: Number(value) * { ns: 1e-3, µs: 1, ms: 1e3 }[unit] };
}

function mapped(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}
