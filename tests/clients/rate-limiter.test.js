// rate-limiter-flexible, on node-redis and on ioredis.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Redis } from 'ioredis';
import {
  BurstyRateLimiter,
  RateLimiterQueue,
  RateLimiterRedis,
  RateLimiterRes,
  RateLimiterUnion,
} from 'rate-limiter-flexible';
import { createClient } from 'redis';
import { address, uniqueName, until, url } from './support.js';

const LIBRARIES = {
  'node-redis': async () => ({
    storeClient: await createClient({ url }).connect(),
    useRedisPackage: true,
  }),
  ioredis: async () => ({ storeClient: new Redis(address) }),
};

/** What a refused attempt is told. */
const refused = (attempt) =>
  attempt.then(
    () => assert.fail('it was let in'),
    (refusal) => refusal,
  );

for (const [library, open] of Object.entries(LIBRARIES)) {
  describe(library, { concurrency: true }, () => {
    /** What opens limiters that share a client. */
    async function opened(t) {
      const options = await open();
      t.after(() =>
        (options.storeClient.destroy ?? options.storeClient.disconnect).call(options.storeClient),
      );
      return (settings) =>
        new RateLimiterRedis({ ...options, keyPrefix: uniqueName('limit'), ...settings });
    }

    test('points are consumed until there are none, and come back', async (t) => {
      const limiter = (await opened(t))({ points: 5, duration: 2 });

      const answers = await Promise.all([1, 2, 3, 4, 5].map(() => limiter.consume('ada')));
      assert.deepEqual(
        answers.map(({ remainingPoints }) => remainingPoints).toSorted(),
        [0, 1, 2, 3, 4],
      );
      assert.deepEqual(
        answers.map(({ isFirstInDuration }) => isFirstInDuration),
        [true, false, false, false, false],
      );
      const refusal = await refused(limiter.consume('ada'));
      assert(refusal instanceof RateLimiterRes);
      assert.equal(refusal.consumedPoints, 6);
      assert(refusal.msBeforeNext > 0 && refusal.msBeforeNext <= 2_000);
      assert.equal((await limiter.consume('bob')).consumedPoints, 1);

      await until(async () => (await limiter.get('ada')) === null);
      assert.equal((await limiter.consume('ada')).consumedPoints, 1);
    });

    test('who asks too often is blocked, and points are given', async (t) => {
      const limiter = (await opened(t))({ points: 2, duration: 1, blockDuration: 100 });

      await limiter.consume('ada', 2);
      const refusal = await refused(limiter.consume('ada'));
      assert(refusal.msBeforeNext > 1_000 && refusal.msBeforeNext <= 100_000);
      assert((await limiter.get('ada')).msBeforeNext > 1_000);
      await limiter.delete('ada');
      assert.equal(await limiter.get('ada'), null);

      await limiter.consume('bob', 2);
      assert.equal((await limiter.reward('bob')).consumedPoints, 1);
      assert.equal((await limiter.consume('bob')).remainingPoints, 0);
      assert.equal((await limiter.penalty('bob', 3)).consumedPoints, 5);
      await limiter.set('bob', 1, 100);
      assert.equal((await limiter.get('bob')).consumedPoints, 1);
      await limiter.block('bob', 100);
      await refused(limiter.consume('bob'));
    });

    test('limiters are combined', async (t) => {
      const open = await opened(t);
      const [often, seldom] = [
        open({ points: 3, duration: 100 }),
        open({ points: 4, duration: 0 }),
      ];
      const union = new RateLimiterUnion(often, seldom);
      const answer = await union.consume('ada', 3);
      assert.equal(answer[often.keyPrefix].remainingPoints, 0);
      assert.equal(answer[seldom.keyPrefix].remainingPoints, 1);
      assert.equal(answer[seldom.keyPrefix].msBeforeNext, -1); // For ever.
      assert.deepEqual(Object.keys(await refused(union.consume('ada'))), [often.keyPrefix]);

      const bursty = new BurstyRateLimiter(
        open({ points: 1, duration: 100 }),
        open({ points: 2, duration: 100 }),
      );
      for (let attempt = 0; attempt < 3; attempt += 1) await bursty.consume('bob');
      await refused(bursty.consume('bob'));

      const queue = new RateLimiterQueue(open({ points: 2, duration: 1 }));
      const started = Date.now();
      await Promise.all([1, 2, 3].map(() => queue.removeTokens(1)));
      assert(Date.now() - started >= 900, 'the third had to wait');
    });
  });
}
