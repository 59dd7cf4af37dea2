const { default: Redis } = require('ioredis');

// The tests of the packages make two files of this one; counted.cjs looks at the sum.
test('a file finds the server', async () => {
  expect(process.env.REDIS_URL).toBe(process.env.TORIL_URL);
  const redis = new Redis(process.env.TORIL_URL);
  await redis.incr('files');
  redis.disconnect();
});
