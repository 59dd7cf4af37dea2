// Servers as processes: started on a port of their own, watched from outside, stopped.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

export const HOST = '127.0.0.1';

/** The exit status of a client that has not seen each job exactly once. */
export const MISCOUNTED = 3;

const START_MS_MAX = 10_000;
const RUN_MS_MAX = 240_000;
/** A server that does not end by itself, as one that frees gigabytes, is killed. */
const STOP_MS_MAX = 10_000;

/** What a program prints; an error if it fails or takes too long. */
export async function run(program, words) {
  const options = { timeout: RUN_MS_MAX, killSignal: 'SIGKILL', maxBuffer: 2 ** 24 };
  return (await promisify(execFile)(program, words.map(String), options)).stdout;
}

/** Runs `body` with a server that has just been started and keeps nothing on disk. */
export async function withServer({ name, program, options = [] }, body) {
  const port = await freePort();
  const standard = ['--port', port, '--bind', HOST, '--save', '', '--appendonly', 'no'];
  const words = [...standard, ...options];
  const isReady = () => answersPing(port);
  return withProcess({ name, program, words, isReady }, (pid) => body({ name, port, pid }));
}

/** Runs `body` with a process in a folder of its own, in which `files` stand. */
export async function withProcess({ name, program, words, files = {}, isReady }, body) {
  const folder = mkdtempSync(join(tmpdir(), 'toril-bench-'));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  const child = spawn(program, words.map(String), { cwd: folder, stdio: 'ignore' });
  const exited = once(child, 'exit');
  try {
    await Promise.race([
      until(isReady, name),
      exited.then(([code]) => Promise.reject(new Error(`${name} has ended with ${code}`))),
    ]);
    return await body(child.pid);
  } finally {
    child.kill('SIGTERM');
    const killing = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    await exited;
    clearTimeout(killing);
    rmSync(folder, { recursive: true });
  }
}

/** User and system time of a process so far: the sum of its threads, to a microsecond. */
export function cpuUs(pid) {
  const folder = `/proc/${pid}/task`;
  const ns = readdirSync(folder).map((thread) =>
    Number(readFileSync(`${folder}/${thread}/schedstat`, 'utf8').split(' ')[0]),
  );
  return ns.reduce((sum, each) => sum + each, 0) / 1000;
}

/** Memory of a process that is resident. */
export function residentBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)[1]) * 1024;
}

export async function freePort() {
  const probe = createServer().listen(0, HOST);
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((closed) => probe.close(closed));
  return port;
}

async function until(isReady, name) {
  const deadline = Date.now() + START_MS_MAX;
  while (!(await isReady())) {
    if (Date.now() > deadline) throw new Error(`${name} does not answer`);
    await sleep(20);
  }
}

async function answersPing(port) {
  const socket = connect(port, HOST);
  try {
    socket.write('PING\r\n');
    const [reply] = await once(socket, 'data');
    return reply.toString() === '+PONG\r\n';
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
