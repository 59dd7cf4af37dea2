// Tools that start a redis-server themselves and wait for what it prints: TORIL_SERVER names the
// program that they start in its place.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { RedisMemoryServer } from 'redis-memory-server';
import RedisServer from 'redis-server';

const program = process.env.TORIL_SERVER ?? 'redis-server';

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** The server on this port does its work. */
async function assertServes(port, password) {
  const redis = new Redis({ port, password, lazyConnect: true, retryStrategy: null });
  await redis.connect();
  assert.equal(await redis.set('key', 'value'), 'OK');
  assert.equal(await redis.get('key'), 'value');
  redis.disconnect();
}

async function assertRefuses(port) {
  const redis = new Redis({ port, lazyConnect: true, retryStrategy: null });
  redis.on('error', () => {});
  await assert.rejects(redis.connect());
}

test('redis-memory-server starts, serves and stops it', async () => {
  const server = await RedisMemoryServer.create({ binary: { systemBinary: program } });
  const port = await server.getPort();

  await assertServes(port);
  assert.equal(await server.stop(), true);
  await assertRefuses(port);
});

test('redis-memory-server runs two side by side', async () => {
  const options = { binary: { systemBinary: program } };
  const servers = await Promise.all([
    RedisMemoryServer.create(options),
    RedisMemoryServer.create(options),
  ]);

  const ports = await Promise.all(servers.map((server) => server.getPort()));
  assert.notEqual(ports[0], ports[1]);
  await Promise.all(ports.map((port) => assertServes(port)));
  await Promise.all(servers.map((server) => server.stop()));
});

test('redis-memory-server passes its arguments on', async () => {
  const args = ['--requirepass', 'secret'];
  const server = await RedisMemoryServer.create({
    binary: { systemBinary: program },
    instance: { args },
  });
  const port = await server.getPort();

  await assertServes(port, 'secret');
  const stranger = new Redis({ port, enableReadyCheck: false });
  await assert.rejects(stranger.get('key'), /^ReplyError: NOAUTH /);
  stranger.disconnect();
  await server.stop();
});

test('the redis-server package opens and closes it', async () => {
  const port = await freePort();
  const server = new RedisServer({ port, bin: program });

  await server.open();
  await assertServes(port);
  await server.close();
  await assertRefuses(port);
});

test('the redis-server package hears that the port is in use', async () => {
  const port = await freePort();
  const first = new RedisServer({ port, bin: program });
  await first.open();

  await assert.rejects(new RedisServer({ port, bin: program }).open(), /already in use/);
  await first.close();
});
