// What these tests share: waiting for a fact, and whether a process is there.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE_MS = 10_000;

/** Polls until `question` answers something true, and answers that. */
export async function until(question, what = question.toString()) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`never came true: ${what}`);
    await sleep(5);
  }
}

/** Whether a process runs. One that has ended may stay as a zombie if nobody asks for its status. */
export function runs(pid) {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1][0] !== 'Z';
  } catch {
    return process.platform !== 'linux';
  }
}
