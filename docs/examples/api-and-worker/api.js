// The API: as a serverless function would, it keeps no connection, and speaks HTTP to the data.
// Locally that is toril, deployed it is Upstash: the same two lines of .env say which.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Ratelimit } from '@upstash/ratelimit';
import { Redis } from '@upstash/redis';

const redis = Redis.fromEnv();

const ratelimit = new Ratelimit({
  redis,
  limiter: Ratelimit.slidingWindow(Number(process.env.SIGNUPS_PER_MINUTE ?? 10), '1 m'),
});

const SESSION_SECONDS = 3600;
const REPORT_SECONDS = 60;

const routes = {
  /** Rate limit, counter, and a job for the worker: onto the list that it waits on. */
  async 'POST /signups'({ caller, body }) {
    const { success, reset } = await ratelimit.limit(caller);
    if (!success) return [429, { retryAfterMs: reset - Date.now() }];
    const id = randomUUID();
    const [, count] = await redis
      .multi()
      .hset(`signup:${id}`, { email: body.email, state: 'waiting' })
      .incr('signups:count')
      .lpush('signups', { id, email: body.email })
      .exec();
    return [202, { id, count }];
  },

  /** What the worker has done of late. */
  async 'GET /signups'() {
    return [200, await redis.lrange('signups:done', 0, 9)];
  },

  async 'GET /signup'({ query }) {
    const signup = await redis.hgetall(`signup:${query.get('id')}`);
    return signup ? [200, signup] : [404, { error: 'no such signup' }];
  },

  /** A cache: worked out once a minute, whoever asks. */
  async 'GET /report'() {
    const cached = await redis.get('report');
    if (cached) return [200, { ...cached, isCached: true }];
    const report = { signups: (await redis.get('signups:count')) ?? 0, at: Date.now() };
    await redis.set('report', report, { ex: REPORT_SECONDS });
    return [200, { ...report, isCached: false }];
  },

  /** A session, which ends by itself. */
  async 'POST /login'({ body }) {
    const token = randomUUID();
    await redis.set(`session:${token}`, { name: body.name }, { ex: SESSION_SECONDS });
    return [200, { token }];
  },

  async 'GET /me'({ headers }) {
    const session = await redis.get(`session:${headers.authorization?.replace('Bearer ', '')}`);
    return session ? [200, session] : [401, { error: 'log in first' }];
  },
};

const server = createServer(async (request, response) => {
  const { pathname, searchParams: query } = new URL(request.url, 'http://localhost');
  const route = routes[`${request.method} ${pathname}`];
  let answer = [404, { error: 'no such route' }];
  try {
    const text = (await request.toArray()).join('');
    const { headers } = request;
    const caller = headers['x-caller'] ?? request.socket.remoteAddress;
    if (route) answer = await route({ caller, headers, query, body: text && JSON.parse(text) });
  } catch (error) {
    answer = [500, { error: error.message }];
  }
  response.writeHead(answer[0], { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer[1]));
});

server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`The API is at http://127.0.0.1:${server.address().port}`);
});
