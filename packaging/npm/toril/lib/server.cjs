// A running server: where it is, how it ends, and what a test says to it.
'use strict';

const { existsSync } = require('node:fs');
const { dirname, join } = require('node:path');
const { findBinary } = require('./binary.cjs');
const { Connection } = require('./connection.cjs');
const { clockOf } = require('./clock-commands.cjs');
const { expectationsOf } = require('./expect.cjs');
const { faultWords } = require('./fault.cjs');
const { save } = require('./seed.cjs');

// Kept, since a test may replace them by timers that stand still.
const { setTimeout, clearTimeout } = globalThis;
const now = performance.now.bind(performance);

/** How long a server may take to end after SIGTERM before it gets SIGKILL. */
const STOP_MS_MAX = 2_000;

/** How long `flush` waits for jobs that are active. */
const ACTIVE_MS_MAX = 1_000;
const LOOK_EVERY_MS = 10;

/** Keys that hold the jobs that workers are at: the pattern, the type, and how to see the first one. */
const ACTIVE = [
  ['*:active', 'list', ['LRANGE', '-1', '-1']], // BullMQ, Bull, bee-queue
  ['rq:wip:*', 'zset', ['ZRANGE', '0', '0']], // RQ
];

class Server {
  #child;
  #announced;
  #connection;
  #stopped = null;

  constructor(child, announced) {
    this.#child = child;
    this.#announced = announced;
    this.#connection = new Connection(announced.host, announced.port);
    const run = (...words) => this.command(...words);
    this.clock = clockOf(run);
    this.expect = expectationsOf(run);
  }

  get url() {
    return this.#announced.url;
  }

  get host() {
    return this.#announced.host;
  }

  get port() {
    return this.#announced.port;
  }

  get pid() {
    return this.#child.pid;
  }

  /** URL and token of the REST API, or undefined if the server was started without `http`. */
  get http() {
    return this.#announced.http ? { ...this.#announced.http } : undefined;
  }

  /** For ioredis, BullMQ and Bull: an object of its own each time, since some of them write into it. */
  get connection() {
    return { host: this.host, port: this.port, maxRetriesPerRequest: null };
  }

  /** The variables that `toril exec` sets, to be spread into the environment of a child. */
  get env() {
    const { url, host, port, http, clock } = this.#announced;
    const env = { REDIS_URL: url, REDIS_HOST: host, REDIS_PORT: String(port), TORIL_URL: url };
    if (http) {
      env.UPSTASH_REDIS_REST_URL = http.url;
      env.UPSTASH_REDIS_REST_TOKEN = http.token;
    }
    return clock ? { ...env, ...followers(clock) } : env;
  }

  /** Runs any command and resolves to its reply. */
  command(...words) {
    return this.#connection.run(words.flat());
  }

  /** Waits until these queues, or all, have nothing to do; rejects if they have, or if jobs failed. */
  async idle(queues = [], { timeout, horizon, allowFailed = false } = {}) {
    const words = ['TORIL', 'WAIT', 'IDLE', ...[queues].flat()];
    if (timeout !== undefined) words.push('TIMEOUT', timeout);
    if (horizon !== undefined) words.push('HORIZON', horizon);
    const answer = await this.command(words);
    if (answer.idle !== 1) throw new Error(answer.why);
    const failed = Object.values(answer.queues).reduce((sum, { failed }) => sum + failed, 0);
    if (failed > 0 && !allowFailed) {
      throw new Error([`jobs have failed: ${failed}`, ...(answer.failures ?? [])].join('\n'));
    }
    return answer;
  }

  /** Adds a fault, told as a text or as an object of its words; resolves to its name. */
  fault(rule) {
    return this.command('TORIL', 'FAULT', 'ADD', ...faultWords(rule));
  }

  /** Ends all faults, and empties all databases once no job is active any more. */
  async flush() {
    await this.command('TORIL', 'FAULT', 'CLEAR');
    const deadline = now() + ACTIVE_MS_MAX;
    for (;;) {
      const active = await this.#activeJob();
      if (active === null) break;
      if (now() > deadline) {
        const seconds = (ACTIVE_MS_MAX / 1000).toFixed(1);
        throw new Error(
          `job ${active.id} of ${active.queue} is active for ${seconds} s: ` +
            'close the worker, or await it, before flush()',
        );
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    await this.command('FLUSHALL');
  }

  /** Keeps the data as it is now, under a name. */
  snapshot(name) {
    return this.command('TORIL', 'SNAPSHOT', ...(name === undefined ? [] : [name]));
  }

  /** Sets the data to what it was at a snapshot. */
  restore(name) {
    return this.command('TORIL', 'RESTORE', ...(name === undefined ? [] : [name]));
  }

  /** Writes all data into a file, which `start({ snapshot: path })` begins with. */
  save(path) {
    return save((...words) => this.command(...words), path);
  }

  /** Ends the server. It may be called again. */
  stop() {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  async #end() {
    const child = this.#child;
    this.#connection.close();
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.ref();
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    await ended;
    clearTimeout(timer);
  }

  /** Some job that a worker is at, or null. */
  async #activeJob() {
    for (const [pattern, type, look] of ACTIVE) {
      let cursor = '0';
      do {
        const words = ['SCAN', cursor, 'MATCH', pattern, 'COUNT', '1000', 'TYPE', type];
        const [next, keys] = await this.command(words);
        for (const key of keys) {
          const [id] = await this.command(look[0], key, ...look.slice(1));
          const parts = key.split(':');
          if (id !== undefined) return { id, queue: parts.at(parts.at(-1) === 'active' ? -2 : -1) };
        }
        cursor = next;
      } while (cursor !== '0');
    }
    return null;
  }
}

/** What has a child follow the clock: Node by an import, others on Linux by a library. */
function followers(clock) {
  const behind = (name, between, value) => [process.env[name], value].filter(Boolean).join(between);
  const env = {
    TORIL_CLOCK: clock,
    NODE_OPTIONS: behind('NODE_OPTIONS', ' ', '--import=toril/clock'),
  };
  const library = process.env.TORIL_PRELOAD ?? join(dirname(findBinary()), 'libtoril_clock.so');
  if (existsSync(library)) env.LD_PRELOAD = behind('LD_PRELOAD', ':', library);
  return env;
}

// Older Nodes have no such symbol, and TypeScript's `await using` brings one along.
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');
Server.prototype[asyncDispose] = Server.prototype.stop;

module.exports = { Server };
