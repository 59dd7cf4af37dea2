// What a real BullMQ sends for one job, as MONITOR shows it:
//
//     node benches/cases/bullmq/record.mjs PORT >benches/cases/bullmq/job.txt
//
// A server without data runs at that port. A worker waits, and a job is added and done. Each line
// is a connection's name and a request. A script goes by its name, so that neither BullMQ's sources
// nor the hashes of them stand in the recording.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { bullmq, scripts } from './scripts.mjs';

const connection = { host: '127.0.0.1', port: Number(process.argv[2]) };
const NAME = 'mail';
/** The bench counts on from here. All its jobs have seven digits, so that requests are as long. */
const ID_BEFORE = 5_000_000;
/** Done jobs that stay: the bench must have as many before it counts. */
const KEPT = 50;
const SETTLED_MS = 300;
const data = { to: 'user1@example.com', subject: 'Welcome', template: 'welcome-en' };

const seen = [];
const monitor = connect(connection);
await once(monitor, 'connect');
monitor.write(`SET bull:${NAME}:id ${ID_BEFORE}\r\nMONITOR\r\n`);
createInterface(monitor).on('line', (line) => {
  const [, from, words] = /^\+[\d.]+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? [];
  if (words && from !== 'lua') seen.push([from, words]);
});

const queue = new bullmq.Queue(NAME, {
  connection,
  defaultJobOptions: { removeOnComplete: KEPT },
});
const worker = new bullmq.Worker(NAME, async () => 'sent', { connection });
await worker.waitUntilReady();
// The first job brings the scripts to the server.
for (let round = 0; round < 2; round++) {
  await sleep(SETTLED_MS);
  seen.length = 0;
  await Promise.all([once(worker, 'completed'), queue.add('welcome', data)]);
}
await sleep(SETTLED_MS);
print(seen);
await worker.close();
await queue.close();
monitor.end();

function print(requests) {
  const connections = [...new Set(requests.map(([from]) => from))];
  const hash = (source) => createHash('sha1').update(source).digest('hex');
  const names = new Map(scripts().map(([name, source]) => [hash(source), name]));
  for (const [from, words] of requests) {
    const named = words.replace(/[0-9a-f]{40}/, (sha) => names.get(sha) ?? sha);
    console.log(`${connections.indexOf(from)} ${named}`);
  }
}
