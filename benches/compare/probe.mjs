// benches/probe, the program in Rust: what Node is too slow or too coarse to measure.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { HOST, run } from './servers.mjs';

export class Probe {
  /** Builds it where that is not done yet. */
  constructor(root) {
    const words = ['bench', '--no-run', '--bench', 'probe', '--message-format', 'json', '--quiet'];
    const options = { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 };
    const lines = execFileSync('cargo', words, options).trim().split('\n');
    const isProbe = ({ target, executable }) => target?.name === 'probe' && executable;
    this.program = lines.map((line) => JSON.parse(line)).find(isProbe).executable;
  }

  /** The figures that a part prints. */
  async measure(...words) {
    const lines = (await run(this.program, words)).trim().split('\n');
    return Object.fromEntries(
      lines.map((line) => line.split(' ')).map(([name, value]) => [name, Number(value)]),
    );
  }

  /** Runs `body` beside a part that goes on meanwhile, with the first line that it says. */
  async beside(words, body) {
    const child = spawn(this.program, words.map(String), { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    try {
      const lines = createInterface({ input: child.stdout });
      const [line] = await Promise.race([
        once(lines, 'line'),
        exited.then(() => Promise.reject(new Error(`the probe has ended: ${words}`))),
      ]);
      return await body(line);
    } finally {
      child.stdin.end();
      await exited;
    }
  }
}

/** How the probe is told of a server. */
export function addressOf({ port, pid }) {
  return `${HOST}:${port}@${pid}`;
}
