// A worker process for the tests to kill: takes one job, says so to its parent, and never ends it.

import Queue from 'bee-queue';
import { address } from './support.js';

const [name, stallInterval] = process.argv.slice(2);

new Queue(name, { redis: address, stallInterval: Number(stallInterval) }).process(() => {
  process.send('holding');
  return new Promise(() => {});
});
