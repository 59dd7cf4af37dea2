// What the tests over HTTP need beside ../support.js: where the HTTP side is, and a bare request.
//
// UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN are the lines that a server prints to be
// pasted into .env, TORIL_READONLY_TOKEN is the token that may only read. The same data is at
// TORIL_HOST and TORIL_PORT over TCP.

import assert from 'node:assert/strict';
import { Redis as TcpRedis } from 'ioredis';
import { address } from '../support.js';

export const rest = {
  url: process.env.UPSTASH_REDIS_REST_URL ?? 'http://127.0.0.1:8079',
  token: process.env.UPSTASH_REDIS_REST_TOKEN ?? 'token-of-the-tests',
};

export const readonlyToken = process.env.TORIL_READONLY_TOKEN ?? 'token-that-only-reads';

/** A request as it is, by no library: its status, headers, text, and JSON if it is that. */
export async function send(path, { method = 'POST', token = rest.token, headers, body } = {}) {
  const authorization = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`${rest.url}${path}`, {
    method,
    headers: { ...authorization, ...headers },
    body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(20_000),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const text = bytes.toString();
  const isJson = response.headers.get('content-type')?.startsWith('application/json');
  const json = isJson && text ? JSON.parse(text) : undefined;
  return { status: response.status, headers: response.headers, bytes, text, json };
}

/** One command, in the body; what a library would make of the answer is left undone. */
export async function run(command, options = {}) {
  const { json } = await send('/', { ...options, body: command });
  return json;
}

/** The same data over TCP. */
export function connectTcp(t, options = {}) {
  const redis = new TcpRedis({ ...address, ...options });
  t.after(() => redis.disconnect());
  return redis;
}

/** An event stream as lines, opened and left by the test. */
export async function listen(t, path, headers = {}) {
  const leaving = new AbortController();
  const response = await fetch(`${rest.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${rest.token}`, accept: 'text/event-stream', ...headers },
    signal: leaving.signal,
  });
  assert.equal(response.status, 200);
  const stream = { response, lines: [], hasEnded: false, leave: () => leaving.abort() };
  t.after(stream.leave);
  void (async () => {
    let unfinished = '';
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = (unfinished + text).split('\n');
      unfinished = lines.pop();
      stream.lines.push(...lines.filter(Boolean));
    }
  })()
    .catch(() => {})
    .finally(() => (stream.hasEnded = true));
  return stream;
}
