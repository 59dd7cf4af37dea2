// `globalSetup: 'toril/jest/shared'`: one server for all test files.
//
// Jest hands the environment of this process to its workers: tests find the server in TORIL_URL and
// REDIS_URL. Nothing is flushed, since the files run at the same time: each test names its queues
// for itself. The server ends with the process.
'use strict';

const { start } = require('../index.cjs');

module.exports = async function setup() {
  const server = await start();
  Object.assign(process.env, server.env);
};
