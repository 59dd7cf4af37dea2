// Servers as processes: started on a port of their own, watched from outside, stopped.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const HOST = '127.0.0.1';

const START_MS_MAX = 10_000;
/** What `getconf CLK_TCK` says on every Linux. */
const TICKS_PER_SECOND = 100;

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
    await exited;
    rmSync(folder, { recursive: true });
  }
}

/** User and system time of a process so far, all its threads together. */
export function cpuUs(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field, the program's name in parentheses, may have spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user, system] = fields.slice(11, 13).map(Number);
  return ((user + system) * 1e6) / TICKS_PER_SECOND;
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
