import Redis from 'ioredis';
import { inject, test } from 'vitest';

// The tests of the packages make two files of this one; counted.mjs looks at the sum.
test('a file finds the server', async () => {
  const redis = new Redis(inject('torilUrl'));
  await redis.incr('files');
  redis.disconnect();
});
