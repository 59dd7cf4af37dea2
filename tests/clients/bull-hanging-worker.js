// A worker process for the tests to kill: takes one job, says so to its parent, and never ends it.

import Queue from 'bull';
import { address } from './support.js';

const [name, settings] = process.argv.slice(2);

new Queue(name, { redis: address, settings: JSON.parse(settings) }).process(() => {
  process.send('holding');
  return new Promise(() => {});
});
