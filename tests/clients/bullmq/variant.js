// Which BullMQ, on which Redis client. The test files beside this one are the same for all:
// BULLMQ names the variant, and a feature that a version lacks is skipped.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRequire } from 'node:module';
import { createClient } from 'redis';
import { address, uniqueName, until } from '../support.js';

const [version, client] = (process.env.BULLMQ ?? '6-ioredis').split(/-(.*)/);
const require = createRequire(import.meta.url);

export const variant = `BullMQ ${version} on ${client}`;
export const packageName = `bullmq-${version}`;
export const bullmq = require(packageName);
export const connection = { ...address };

if (client === 'node-redis') {
  // Its own limit of 5 s reports an error on a machine that has much else to do.
  const connectTimeout = 20_000;
  bullmq.RedisConnection.clientFactory = ({ host, port, connectionName: name }) =>
    bullmq.createNodeRedisClient(createClient({ socket: { host, port, connectTimeout }, name }));
}

/**
 * One test with a queue of its own. The conditions may be left out: `since` and `last` name the
 * versions that have the feature; unless it `causesErrors`, no Queue, Worker or QueueEvents may
 * report one.
 */
export function feature(name, conditions, body = conditions) {
  const { since = 0, last = Infinity, causesErrors = false } = conditions;
  const skip = (version < since || version > last) && `not in BullMQ ${version}`;
  test(name, { skip, timeout: 60_000 }, async (t) => {
    const lab = new Lab();
    try {
      await body(lab, t);
    } finally {
      await lab.close();
    }
    if (!causesErrors) assert.deepEqual(lab.errors, []);
  });
}

/** One queue with everything that a test opens around it, closed when the test ends. */
class Lab {
  name = uniqueName('queue');
  errors = [];
  #open = [];
  #closing = false;

  queue(options = {}, name = this.name) {
    return this.#opened(new bullmq.Queue(name, { connection, ...options }));
  }

  /** `drainDelay` is longer than any test, so that only the server can wake an idle worker. */
  worker(processor, options = {}, name = this.name) {
    return this.#opened(
      new bullmq.Worker(name, processor, { connection, drainDelay: 60, ...options }),
    );
  }

  /** Reads the stream from its start: an event that came before the listener is not missed. */
  events(options = {}, name = this.name) {
    return this.#opened(
      new bullmq.QueueEvents(name, { connection, lastEventId: '0-0', ...options }),
    );
  }

  flow() {
    return this.#opened(new bullmq.FlowProducer({ connection }));
  }

  /** Waits for a job to reach a state on the server. */
  async reaches(job, state) {
    await until(async () => (await job.getState()) === state, `job ${job.id} is ${state}`);
  }

  #opened(thing) {
    // While all is torn down, calls under way may find their connection closed.
    thing.on('error', (error) => this.#closing || this.errors.push(error.message));
    this.#open.push(thing);
    return thing;
  }

  /** By force: a test that failed may have left a job that never ends. */
  async close() {
    this.#closing = true;
    await Promise.all(this.#open.map((thing) => thing.close(true)));
  }
}
