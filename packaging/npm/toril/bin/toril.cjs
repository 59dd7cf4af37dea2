#!/usr/bin/env node
// The command `toril` of npm: the binary with these arguments, its signals and its status.
'use strict';

const { spawn } = require('node:child_process');
const { constants } = require('node:os');
const { findBinary } = require('../lib/binary.cjs');

const args = process.argv.slice(2);

// What is no server: a word of its own, or an option that prints and ends.
const ENDS_BY_ITSELF = ['exec', 'hand-over', 'ping', '--version', '-v', '--help', '-h'];

// A server outlives nobody: were this process killed by SIGKILL, nothing could be passed on.
function withParent() {
  const said = (name) => args.some((arg) => arg.toLowerCase() === name);
  if (ENDS_BY_ITSELF.includes(args[0]) || said('--exit-with-parent') || said('--daemonize')) {
    return args;
  }
  return [...args, '--exit-with-parent', String(process.pid)];
}

function run() {
  const child = spawn(findBinary(), withParent(), { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('error', fail);
  child.on('exit', (status, signal) => {
    if (signal === null) process.exit(status);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // A signal that Node itself ignores still shows in the status.
    process.exitCode = 128 + constants.signals[signal];
  });
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}

try {
  run();
} catch (error) {
  fail(error);
}
