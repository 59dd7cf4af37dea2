// Programs of Sidekiq, as Debian has it: a console that is asked, and whatever else a test starts. Those that
// still run when a file of tests ends are killed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { uniqueName } from './support.js';

export const jobs = fileURLToPath(new URL('sidekiq-jobs.rb', import.meta.url));
const consoleProgram = fileURLToPath(new URL('sidekiq-console.rb', import.meta.url));
/** The list that the jobs of a file of tests write to. */
export const notes = uniqueName('sidekiq-notes');
const children = new Set();

after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all([...children].map((child) => child.exited));
});

export function ruby(args, stdio) {
  const child = spawn('sidekiq-ruby', args, { stdio, env: { ...process.env, SIDEKIQ_NOTES: notes } });
  children.add(child);
  child.exited = once(child, 'exit').finally(() => children.delete(child));
  return child;
}

/** Answers what asks Ruby. */
export function openConsole() {
  const child = ruby([consoleProgram], ['pipe', 'pipe', 'inherit']);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async (expression) => {
    child.stdin.write(`${expression}\n`);
    const { value, done } = await lines.next();
    assert(!done, `the console ended at ${expression}`);
    return JSON.parse(value);
  };
}
