// A worker to be killed: it takes one job of the queue that it is told, says so, and never ends it.

import { createRequire } from 'node:module';
import { connection } from './lab.js';

const { Worker } = createRequire(import.meta.url)(process.env.LIBRARY);

function hold() {
  process.send('holding');
  return new Promise(() => {});
}

new Worker(process.argv[2], hold, { connection });
