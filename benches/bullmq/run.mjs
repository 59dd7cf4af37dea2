// Runs every measurement on every server and writes the medians. Called by benches/run.
//
// One server is up at a time, fresh for each run, and servers take turns, so that a slow minute of
// the machine meets them all; only the probe of lateness, on which idle servers have no bearing,
// has them side by side.

import { execFile, execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { compareHttp } from './http.mjs';
import { describeMachine, render, write } from './report.mjs';
import { cpuUs, HOST, withServer } from './servers.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const jobsProgram = fileURLToPath(new URL('jobs.mjs', import.meta.url));
const run = promisify(execFile);

const isQuick = process.argv.includes('--quick');
const RUNS = isQuick ? 1 : 3;
const SIZES = isQuick
  ? {
      warmUp: 200, add: 1_000, bulk: 1_000, process1: 500, process50: 1_000,
      delayed: 100, delayedSpanMs: 2_000, memory: 10_000,
      requests: 20_000, pipelined: 100_000, timeouts: 200, httpSeconds: 1,
    }
  : {
      warmUp: 1_000, add: 10_000, bulk: 20_000, process1: 4_000, process50: 10_000,
      delayed: 500, delayedSpanMs: 8_000, memory: 100_000,
      requests: 60_000, pipelined: 400_000, timeouts: 2_000, httpSeconds: 6,
    };

const RUN_MS_MAX = 180_000;
const PIPELINE = 16;
const CONNECTIONS = 50;
/** Different keys, members and fields that redis-benchmark chooses among. */
const KEYSPACE = 100_000;
const BENCHMARK_TESTS = ['set', 'get', 'incr', 'lpush', 'rpop', 'sadd', 'hset', 'zadd'];

const tools = installOracles();
const servers = [
  { name: 'toril', program: `${process.env.CARGO_TARGET_DIR ?? `${root}/target`}/release/toril` },
  ...['redis-7.4', 'valkey', 'redis-7.0']
    .filter((name) => tools.has(name))
    .map((name) => ({ name, program: tools.get(name) })),
];

const machine = describeMachine(servers);
const samples = Object.fromEntries(servers.map(({ name }) => [name, []]));
for (let round = 0; round < RUNS; round++) {
  for (const server of rotated(servers, round)) {
    console.error(`run ${round + 1} of ${RUNS}: ${server.name}`);
    samples[server.name].push({
      ...(await withServer(server, (process) => runJobs('speed', process))),
      ...(await withServer(server, (process) => runJobs('memory', process))),
      ...(await withServer(server, runBenchmark)),
    });
  }
}
const http = await compareHttp({
  toril: servers[0], tools, runs: RUNS, seconds: SIZES.httpSeconds,
});
console.error('lateness of time-outs');
const lateness = await probeLateness();
const report = render({ machine, samples, http, lateness, sizes: SIZES, runs: RUNS });
console.log(report);
if (!isQuick) write(report);

function installOracles() {
  const printed = execFileSync(`${root}/tests/oracles.sh`, { encoding: 'utf8' });
  return new Map(printed.trim().split('\n').map((line) => line.split(' ')));
}

function rotated(list, by) {
  const from = by % list.length;
  return [...list.slice(from), ...list.slice(0, from)];
}

async function runJobs(mode, { port, pid }) {
  const parameters = JSON.stringify({ port, pid, sizes: SIZES });
  const { stdout } = await run(process.execPath, [jobsProgram, mode, parameters], {
    timeout: RUN_MS_MAX,
  });
  return JSON.parse(stdout);
}

/** Requests a second, and what each cost the server, with and without pipelines. */
async function runBenchmark({ port, pid }) {
  const figures = {};
  if (!tools.has('redis-benchmark')) return figures;
  for (const [depth, count] of [[1, SIZES.requests], [PIPELINE, SIZES.pipelined]]) {
    for (const test of BENCHMARK_TESTS) {
      const options = {
        '-h': HOST, '-p': port, '-t': test, '-n': count, '-c': CONNECTIONS, '-P': depth,
        '-r': KEYSPACE,
      };
      const before = cpuUs(pid);
      const words = [...Object.entries(options).flat().map(String), '--csv'];
      const { stdout } = await run(tools.get('redis-benchmark'), words, { timeout: RUN_MS_MAX });
      const rate = Number(/^"[^"]*","([\d.]+)"/m.exec(stdout.split('\n')[1])[1]);
      figures[`${test}/${depth}`] = { rate, cpu: (cpuUs(pid) - before) / count };
    }
  }
  return figures;
}

/** The lines that benches/lateness.rs prints, with every server up. */
async function probeLateness() {
  const words = [];
  const nest = async ([server, ...others]) => {
    if (server) {
      return withServer(server, ({ name, port, pid }) => {
        words.push(`${name}=${HOST}:${port}@${pid}`);
        return nest(others);
      });
    }
    const probe = ['bench', '--quiet', '--bench', 'lateness', '--', SIZES.timeouts, ...words];
    return run('cargo', probe.map(String), { cwd: root, timeout: 4 * RUN_MS_MAX });
  };
  const { stdout } = await nest(servers);
  return stdout.trim().split('\n').map((line) => {
    const [name, condition, ...figures] = line.split(' ');
    const [count, p50, p99, max, busy] = figures.map(Number);
    return { name, condition, count, p50, p99, max, busy };
  });
}
