// `setupFilesAfterEnv: ['toril/jest']`: a server for each test file, emptied before each test.
//
// Tests get it by `const { server } = require('toril/jest')`, for use inside of tests and hooks.
// Jest runs these hooks before those of the file, even when something ends: to stop the server in
// `afterAll` would take it away from workers that the file's own `afterAll` is about to close. So
// it stops when the next file begins in this process, or with the process.
'use strict';

const { start } = require('../index.cjs');

// Each test file has modules and globals of its own; Node's own modules are the same for all.
const kept = require('node:events');
const KEY = Symbol.for('toril/jest');

let current;

beforeAll(async () => {
  await kept[KEY]?.stop();
  current = await start();
  kept[KEY] = current;
});

beforeEach(() => current.flush());

function running() {
  if (current !== undefined) return current;
  throw new Error(
    'toril: the server of this file starts in beforeAll: use it inside of tests and hooks, ' +
      'not where the file begins',
  );
}

/** Stands for the server, which is not there yet when the file is read. */
const server = new Proxy(Object.create(null), {
  get(_, name) {
    const value = running()[name];
    return typeof value === 'function' ? value.bind(current) : value;
  },
});

module.exports = { server };
