// A server of one test's own, of the program that the suites run against: TORIL_SERVER.

import { spawn } from 'node:child_process';

const program = process.env.TORIL_SERVER ?? 'redis-server';

/**
 * Starts a server with these options, or answers undefined if the program is another one, without
 * TORIL. What it announces has `lines` beside it, which grows by what it logs.
 */
export async function startServer(t, ...options) {
  const args = ['--port', '0', '--announce', 'json', ...options];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  const lines = [];
  let rest = '';
  return new Promise((resolve) => {
    child.once('close', () => resolve(undefined));
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop();
      lines.push(...parts);
      const told = parts.find((line) => line.startsWith('{"toril":'));
      if (told) resolve({ ...JSON.parse(told), lines });
    });
  });
}
