// What a server says of its ports: at start, and to those who knock at the wrong one.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { test } from 'node:test';
import { Redis } from '@upstash/redis';
import { address, until } from '../support.js';
import { rest } from './rest.js';

/** Starts a server of the test's own, and answers what it prints until it is ready. */
async function start(t, ...options) {
  const server = process.env.TORIL_SERVER ?? 'toril';
  const child = spawn(server, ['--port', '0', '--http-port', '0', ...options]);
  t.after(() => child.kill());
  let printed = '';
  child.stdout.on('data', (bytes) => (printed += bytes));
  await until(() => printed.includes('Ready to accept connections'));
  const [, url] = printed.match(/^UPSTASH_REDIS_REST_URL=(.*)$/m);
  const [, token] = printed.match(/^UPSTASH_REDIS_REST_TOKEN=(.*)$/m);
  return { printed, url, token };
}

async function assertServes(url, token) {
  const redis = new Redis({ url, token });
  assert.equal(await redis.set('key', 'value'), 'OK');
  assert.equal(await redis.get('key'), 'value');
}

test('start: the text holds the two lines of .env', async (t) => {
  const { url, token } = await start(t);
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.ok(token.length >= 32, 'one that nobody guesses');

  await assertServes(url, token);
  await assertServes(url.replace('127.0.0.1', 'localhost'), token);
  assert.notEqual((await start(t)).token, token, 'each server makes its own');
});

test('start: a token that was given is not told', async (t) => {
  const passed = await start(t, '--requirepass', 'the password');
  assert.equal(passed.token, '<your requirepass>');
  assert.ok(!passed.printed.includes('the password'));
  await assertServes(passed.url, 'the password');

  const given = await start(t, '--requirepass', 'the password', '--http-token', 'the-token');
  assert.equal(given.token, '<your http-token>');
  assert.ok(!given.printed.includes('the-token'));
  await assertServes(given.url, 'the-token');
  await assert.rejects(assertServes(given.url, 'the password'), /WRONGPASS/);
});

/** What a port answers to bytes that are meant for the other. */
async function answerTo(port, bytes) {
  const socket = connect(port, address.host);
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk));
  socket.on('error', () => {});
  socket.write(bytes);
  await until(() => answer.includes('\n'));
  socket.destroy();
  return answer;
}

test('ports: mixed up, each names the other', async () => {
  const httpPort = Number(new URL(rest.url).port);

  const toHttp = await answerTo(httpPort, '*1\r\n$4\r\nPING\r\n');
  assert.match(toHttp, new RegExp(`^-ERR .*${address.port}.*\r\n$`));
  const toResp = await answerTo(address.port, 'GET /get/foo HTTP/1.1\r\nHost: localhost\r\n\r\n');
  assert.match(toResp, /^HTTP\/1\.1 \d{3} /);
  assert.match(toResp, new RegExp(String(httpPort)));
});
