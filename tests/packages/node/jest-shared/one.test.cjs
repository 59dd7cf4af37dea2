const { default: Redis } = require('ioredis');

// The tests of the packages make two files of this one, which run at the same time.
test('both files find the same server', async () => {
  expect(process.env.REDIS_URL).toBe(process.env.TORIL_URL);
  const redis = new Redis(process.env.TORIL_URL);
  try {
    await redis.incr('files');
    const deadline = Date.now() + 4_000;
    while ((await redis.get('files')) !== '2') expect(Date.now()).toBeLessThan(deadline);
  } finally {
    redis.disconnect();
  }
});
