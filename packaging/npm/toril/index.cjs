// The CommonJS form; the ES module shares it, so that there is one of everything.
'use strict';

const { start } = require('./lib/start.cjs');
const { version } = require('./package.json');

module.exports = { start, toril: { start, version }, version };
