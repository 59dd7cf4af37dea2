// After all files: both have found the same server.
const assert = require('node:assert/strict');
const { default: Redis } = require('ioredis');

module.exports = async function teardown() {
  const redis = new Redis(process.env.TORIL_URL);
  assert.equal(await redis.get('files'), '2');
  redis.disconnect();
};
