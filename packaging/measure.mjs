// Measures the packages beside what else tests use, and prints tables in Markdown:
//
//     node packaging/measure.mjs packaging/dist [REDIS_SERVER]
//
// From nothing to the first job: an installation by npm from a registry on loopback with an empty
// cache, then a process that starts a server and has one job of BullMQ done. redis-memory-server is
// given a Redis that is there (REDIS_SERVER), since it would fetch and compile one otherwise.
// It wants a quiet machine, Linux, and network for the packages that are not ours.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROUNDS = 5;
const SERVERS = 100;
const OTHERS = ['bullmq@6.7.0', 'ioredis@5.11.1', 'redis-memory-server@0.17.1'];

const [dist, redis] = process.argv.slice(2).map((path) => resolve(path));
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), 'toril-measure-'));

const JOB = (start) => `
import { Queue, Worker } from 'bullmq';
${start}
const queue = new Queue('mail', { connection });
const worker = new Worker('mail', async (job) => job.data.to, { connection });
const done = new Promise((resolve) => worker.on('completed', resolve));
await queue.add('welcome', { to: 'ada@example.com' });
await done;
process.stdout.write('done');
await stop();
process.exit();
`;

const STARTS = {
  toril: `import { start } from 'toril';
const server = await start();
const { connection } = server;
const stop = () => server.stop();`,
  'redis-memory-server': `import { RedisMemoryServer } from 'redis-memory-server';
const server = new RedisMemoryServer();
const connection = { host: '127.0.0.1', port: await server.getPort(), maxRetriesPerRequest: null };
const stop = () => server.stop();`,
};

const npm = (cwd, ...args) =>
  execFileSync('npm', [...args, '--no-audit', '--no-fund', '--ignore-scripts'], { cwd, stdio: 'pipe' });

function project(name) {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'package.json'), '{ "private": true }');
  return path;
}

/** Milliseconds, from the least to the most. */
async function times(body) {
  const taken = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const started = performance.now();
    await body(round);
    taken.push(performance.now() - started);
  }
  return taken.sort((a, b) => a - b);
}

const shown = (taken) => `${Math.round(taken[Math.floor(taken.length / 2)])} (${Math.round(taken[0])})`;

/** From the start of Node until a job is done. */
function firstJob(cwd, start) {
  writeFileSync(join(cwd, 'job.mjs'), JOB(start));
  const env = { ...process.env, ...(redis && { REDISMS_SYSTEM_BINARY: redis }) };
  const told = execFileSync(process.execPath, ['job.mjs'], { cwd, env, encoding: 'utf8', timeout: 60_000 });
  if (told !== 'done') throw new Error(`no job was done: ${told}`);
}

function sizeOf(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

function privateKb(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return [...text.matchAll(/^Private_\w+:\s+(\d+) kB$/gm)].reduce((sum, [, kb]) => sum + Number(kb), 0);
}

/** Starts a hundred servers at once; the milliseconds until all are ready, and their memory. */
async function hundred(program, args) {
  const started = performance.now();
  const children = Array.from({ length: SERVERS }, (_, index) =>
    spawn(program, args(index), { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  const isReady = (child) =>
    new Promise((done) => child.stdout.on('data', (text) => `${text}`.includes('Ready to accept') && done()));
  await Promise.all(children.map(isReady));
  const took_ms = Math.round(performance.now() - started);
  const sizes = children.map((child) => privateKb(child.pid)).sort((a, b) => a - b);
  const ended = children.map((child) => new Promise((done) => child.on('exit', done)));
  children.forEach((child) => child.kill('SIGTERM'));
  await Promise.all(ended);
  return { took_ms, median_kb: sizes[SERVERS / 2], most_kb: sizes.at(-1) };
}

async function main() {
  console.log(`Load average before: ${loadavg().map((load) => load.toFixed(1)).join(' ')}\n`);
  const base = project('base');
  npm(base, 'install', ...OTHERS);

  const registry = spawn(process.execPath, [join(root, 'tests/packages/registry.mjs'), dist]);
  const url = await new Promise((done) => registry.stdout.once('data', (text) => done(`${text}`.trim())));
  const install = await times((round) => {
    const cwd = project(`base/fresh-${round}`);
    npm(cwd, 'install', '--save-dev', 'toril', '--registry', url, '--cache', join(folder, `cache-${round}`));
  });
  registry.kill();
  const cwd = join(base, 'fresh-0');
  const torilJob = await times(() => firstJob(cwd, STARTS.toril));
  const { start } = await import(pathToFileURL(join(cwd, 'node_modules/toril/index.mjs')));
  const startOnly = await times(async () => (await start()).stop());

  console.log('| ms, median (least) | toril | redis-memory-server, with a Redis that is there |\n|---|---|---|');
  console.log(`| \`npm i -D\`, empty cache, registry on loopback | ${shown(install)} | |`);
  const otherJob = redis ? shown(await times(() => firstJob(base, STARTS['redis-memory-server']))) : '';
  console.log(`| Node starts, a server starts, one job of BullMQ is done | ${shown(torilJob)} | ${otherJob} |`);
  console.log(`| \`start()\` and \`stop()\` in a process that runs | ${shown(startOnly)} | |\n`);

  console.log('| bytes | toril |\n|---|---|');
  for (const file of readdirSync(dist).sort().filter((name) => /\.(tgz|whl|gz)$|^toril$/.test(name))) {
    console.log(`| ${file} | ${sizeOf(join(dist, file)).toLocaleString('en')} |`);
  }
  const installed = ['toril', '@toril'].map((name) => sizeOf(join(cwd, 'node_modules', name)));
  console.log(`| installed by npm | ${(installed[0] + installed[1]).toLocaleString('en')} |\n`);

  console.log(`| ${SERVERS} servers at once | all ready after | private memory, median | most |\n|---|---|---|---|`);
  const tell = (name, it) => console.log(`| ${name} | ${it.took_ms} ms | ${it.median_kb} kB | ${it.most_kb} kB |`);
  tell('toril', await hundred(join(dist, 'toril'), () => ['--port', '0']));
  if (redis) {
    const args = (index) => ['--port', String(20_000 + index), '--bind', '127.0.0.1', '--save', ''];
    tell('Redis', await hundred(redis, args));
  }
  console.log(`\nLoad average after: ${loadavg().map((load) => load.toFixed(1)).join(' ')}`);
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true });
}
