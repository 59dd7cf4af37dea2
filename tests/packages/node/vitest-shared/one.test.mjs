import Redis from 'ioredis';
import { expect, inject, test } from 'vitest';

// The tests of the packages make two files of this one, which run at the same time.
test('both files find the same server', async () => {
  const redis = new Redis(inject('torilUrl'));
  try {
    await redis.incr('files');
    const deadline = Date.now() + 4_000;
    while ((await redis.get('files')) !== '2') expect(Date.now()).toBeLessThan(deadline);
  } finally {
    redis.disconnect();
  }
});
