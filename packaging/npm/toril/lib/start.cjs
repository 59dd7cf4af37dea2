// Starts the binary and waits until it says where it listens.
'use strict';

const { spawn } = require('node:child_process');
const { findBinary } = require('./binary.cjs');
const { load } = require('./seed.cjs');
const { Server } = require('./server.cjs');

/** What each option of `start` adds to the command line. */
const OPTIONS = {
  args: (words) => words.map(String),
  clock: (wanted) => (wanted ? ['--clock', 'yes'] : []),
  http: (wanted) => (wanted ? ['--http-port', '0'] : []),
  provider: (name) => ['--provider', name],
  // Loaded once it listens.
  snapshot: () => [],
  strict: (checks) => (checks ? ['--strict', checks === true ? 'yes' : checks] : []),
};

/** Starts a server of its own on a free port of 127.0.0.1. It ends with this process. */
async function start(options = {}) {
  const child = spawn(findBinary(), argumentsFor(options), {
    stdio: ['ignore', 'pipe', 'pipe'],
    // A Ctrl-C in the terminal is for the tests, which stop the server when they are done.
    detached: true,
  });
  const server = new Server(child, await announced(child));
  if (options.snapshot !== undefined) await begin(server, options.snapshot);
  return server;
}

/** Fills a server from a file, and has `restore()` come back to that. */
async function begin(server, path) {
  try {
    await load((...words) => server.command(...words), path);
    await server.snapshot();
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** What every server of a test is told: to lose no first event, and to keep what is looked back on. */
const BASE = ['--port', '0', '--announce', 'json', '--keep-dollar', 'yes', '--fixture', 'yes', '--load', 'no'];

function argumentsFor(options) {
  const args = [...BASE, '--exit-with-parent', String(process.pid)];
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(OPTIONS, name)) {
      const names = Object.keys(OPTIONS).join(', ');
      throw new TypeError(`toril: start() has no option '${name}'. It has ${names}`);
    }
    if (value !== undefined) args.push(...OPTIONS[name](value));
  }
  return args;
}

/** What the server says of itself once it listens; an early end rejects with what it said. */
function announced(child) {
  return new Promise((resolve, reject) => {
    let printed = '';
    let complaints = '';
    let isReady = false;
    child.stdout.setEncoding('utf8').on('data', (text) => {
      // What comes after the line is the log, which is read so that the pipe never fills.
      if (isReady) return;
      printed += text;
      const line = printed.split('\n').slice(0, -1).find((it) => it.startsWith('{"toril":'));
      if (line === undefined) return;
      isReady = true;
      // Forgotten servers keep no test run open.
      for (const it of [child, child.stdout, child.stderr]) it.unref();
      resolve(JSON.parse(line));
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      if (isReady) process.stderr.write(text);
      else complaints += text;
    });
    child.once('error', (error) => {
      reject(new Error(`toril: ${child.spawnfile} cannot be started: ${error.message}`));
    });
    // 'close' and not 'exit': by then all that it said has been read.
    child.once('close', (status, signal) => {
      const how = signal === null ? `with status ${status}` : `by ${signal}`;
      const said = (printed + complaints).trimEnd();
      reject(new Error(`toril ended ${how} before it was ready: ${said}`));
    });
  });
}

module.exports = { start };
