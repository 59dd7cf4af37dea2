// A worker process for the tests to kill: takes one job, says so to its parent, and never ends it.

import { bullmq, connection } from './variant.js';

const [queueName, options] = process.argv.slice(2);

function holdForEver() {
  process.send('holding');
  return new Promise(() => {});
}

new bullmq.Worker(queueName, holdForEver, { connection, ...JSON.parse(options) });
