// Pings a server again and again, on a thread of its own, so that it feels nothing of what the test
// itself does. Told 'stop', it tells how long the pings took, in milliseconds.

import { parentPort, workerData } from 'node:worker_threads';
import { Redis } from 'ioredis';
import { address, sleep } from '../support.js';

const client = new Redis(address);
const took = [];
let isOver = false;
parentPort.on('message', () => { isOver = true; });
await client.ping();
parentPort.postMessage('ready');
while (!isOver) {
  const began = performance.now();
  await client.ping();
  took.push(performance.now() - began);
  await sleep(workerData.pause_ms);
}
client.disconnect();
took.sort((a, b) => a - b);
const at = (share) => took[Math.min(took.length - 1, Math.floor(took.length * share))];
parentPort.postMessage({ count: took.length, p50: at(0.5), p99: at(0.99), max: at(1) });
parentPort.close();
